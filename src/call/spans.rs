//! The spans of a request that is recorded: one for itself and one for each
//! attempt, by the semantic conventions of OpenTelemetry for HTTP.
//!
//! They are made once, at the end of the exchange, from its notes. Attributes of
//! the gateway's own have the name of the field in the access line, after
//! `tidegate.`.
//!
//! # Secrets
//!
//! A query is shown as access lines mask it, also where these show it in full.
//! Neither keys nor ids of clients are attributes.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode, Version};
use tokio::time::Instant;

use super::{
    exchange::{Exchange, TracedRoute},
    facts::Facts,
    target::UNREADABLE,
    trace::{AttemptNote, AttemptOutcome, Recording},
};
use crate::{
    message::FieldName,
    traces::{EncodedSpan, SpanHead, SpanKind, SpanParent, TraceParent},
};

/// Bytes of a text that a client chose, in an attribute.
const LONGEST: usize = 2048;

/// Bytes of the longest `tracestate` that a span has (Trace Context, 3.3.1.5).
const LONGEST_STATE: usize = 512;

/// Members of a `tracestate` (Trace Context, 3.3.1.1).
const MOST_MEMBERS: usize = 32;

/// An exchange that has ended, while its spans are made.
pub(super) struct Spans<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) recording: &'a Recording,
    /// Itself as a parent.
    pub(super) parent: TraceParent,
    pub(super) facts: &'a Facts,
    /// The status in the access line.
    pub(super) status: u16,
    pub(super) now: Instant,
}

impl Spans<'_> {
    /// Writes the spans and puts them into the queue of the exporter.
    #[cold]
    #[inline(never)]
    pub(super) fn export(self) {
        let attempts = std::mem::take(&mut *self.recording.attempts.lock());
        let wall = SystemTime::now();
        let at = |moment: Instant| wall - (self.now.saturating_duration_since(moment));
        let state = self.state();
        let (trace_id, span_id) = self.parent.ids();
        let common = SpanHead {
            trace_id,
            span_id,
            parent: None,
            flags: self.parent.flags(),
            state: &state,
            name: "",
            kind: SpanKind::Server,
            begun: at(self.exchange.started),
            ended: wall,
            error: None,
        };
        let mut spans = Vec::with_capacity(1 + attempts.len());
        spans.push(self.of_request(&common));
        for (index, attempt) in attempts.iter().enumerate() {
            let begun = at(attempt.begun);
            let ended = at(attempt.ended);
            spans.push(self.of_attempt(
                index,
                attempt,
                &SpanHead {
                    begun,
                    ended,
                    ..common
                },
            ));
        }
        self.recording.exporter.offer(spans);
    }

    /// The span of the request. `common` has its ids and its times.
    fn of_request(&self, common: &SpanHead<'_>) -> EncodedSpan {
        let (exchange, facts) = (self.exchange, self.facts);
        let is_error = self.status >= 500 || facts.broke.is_some();
        let reason = facts.reason.filter(|_| is_error || facts.status.is_none());
        let route = traced(exchange).and_then(|route| route.path.as_deref());
        let name = match (method(&exchange.request.method), route) {
            (method, Some(route)) => format!("{} {route}", method.unwrap_or("HTTP")).into(),
            (method, None) => Cow::Borrowed(method.unwrap_or("HTTP")),
        };
        let caller = self.recording.caller.map(|caller| SpanParent {
            span_id: caller.ids().1,
            is_remote: true,
        });
        let mut span = EncodedSpan::new(&SpanHead {
            parent: caller,
            name: &name,
            error: is_error.then_some(reason.unwrap_or_default()),
            ..*common
        });
        self.add_request(&mut span);
        self.add_decision(&mut span);
        if facts.status.is_some() {
            span.whole("http.response.status_code", self.status.into());
        }
        match reason {
            Some(reason) => span.text("error.type", reason),
            None if is_error => span.text("error.type", &self.status.to_string()),
            None => {}
        }
        span
    }

    /// Adds the attributes of the conventions that the request has from its
    /// begin.
    fn add_request(&self, to: &mut EncodedSpan) {
        let exchange = self.exchange;
        let (head, target, origin) = (&exchange.request, &exchange.target, &exchange.origin);
        add_method(to, &head.method);
        let path = target.path();
        if path != UNREADABLE.as_bytes() {
            add_bytes(to, "url.path", path);
        }
        let query = target.query().filter(|query| !query.is_empty());
        if let (Some(query), Some(route)) = (query, traced(exchange))
            && let Some(query) = route.query.shown(query)
        {
            add_bytes(to, "url.query", &query);
        }
        let scheme = match origin.tls {
            Some(_) => "https",
            None => "http",
        };
        to.text("url.scheme", scheme);
        if let Some(route) = traced(exchange).and_then(|route| route.path.as_deref()) {
            to.text("http.route", route);
        }
        if !exchange.host.is_empty() {
            to.text("server.address", &exchange.host);
        }
        to.text("client.address", &exchange.client.ip.to_string());
        to.text("network.peer.address", origin.peer_ip());
        to.whole("network.peer.port", origin.peer.port().into());
        let version = match head.version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        };
        to.text("network.protocol.version", version);
        if let Some(agent) = head.headers.known(FieldName::UserAgent).next() {
            add_bytes(to, "user_agent.original", agent);
        }
        let request_id = exchange.id.as_bytes();
        add_bytes(to, "tidegate.request_id", request_id);
        to.text("tidegate.listener", origin.listener.name());
        if let Some(name) = &exchange.route.name {
            to.text("tidegate.route", name);
        }
    }

    /// Adds the gateway's own attributes about what it has decided.
    fn add_decision(&self, to: &mut EncodedSpan) {
        let (facts, limits) = (self.facts, &self.exchange.route.limits);
        let identified = self.exchange.identified.get();
        let identity = identified.map(|client| &client.identity);
        let first_of = |bits: u64| limits.get(bits.trailing_zeros() as usize);
        let nearest = facts.limits.nearest.and_then(|near| limits.get(near.limit));
        let limit = nearest.or_else(|| first_of(facts.limits.refused));
        let upstream = facts.server.as_ref().map(|server| server.name());
        let upstream = upstream.or(facts.unserved.as_deref());
        let texts = [
            (
                "tidegate.identity",
                identity.or(facts.unidentified_by.as_ref()),
            ),
            ("tidegate.limit", limit),
            ("tidegate.shadow", first_of(facts.limits.shadow_refused)),
        ];
        for (key, text) in texts {
            text.inspect(|text| to.text(key, text));
        }
        upstream.inspect(|upstream| to.text("tidegate.upstream", upstream));
        facts
            .reason
            .inspect(|reason| to.text("tidegate.reason", reason));
        facts
            .not_retried
            .inspect(|reason| to.text("tidegate.not_retried", reason));
        let numbers = [
            (
                "tidegate.attempts",
                Some(facts.attempts.into()).filter(|count| *count > 0),
            ),
            ("tidegate.grpc_status", facts.grpc_status.map(Into::into)),
            (
                "tidegate.cost",
                facts
                    .cost
                    .map(|cost| i64::try_from(cost).unwrap_or(i64::MAX)),
            ),
        ];
        for (key, number) in numbers {
            number.inspect(|number| to.whole(key, *number));
        }
        for (key, wait) in [
            ("tidegate.delay_ms", facts.delay),
            ("tidegate.queue_ms", facts.queue),
        ] {
            wait.inspect(|wait| to.decimal(key, milliseconds(*wait)));
        }
        to.whole("http.request.body.size", facts.bytes_in as i64);
        to.whole("http.response.body.size", facts.bytes_out as i64);
    }

    /// The span of an attempt, which has this index. `common` has the ids of the
    /// request's span, and the times of the attempt.
    fn of_attempt(
        &self,
        index: usize,
        attempt: &AttemptNote,
        common: &SpanHead<'_>,
    ) -> EncodedSpan {
        let method_sent = &self.exchange.request.method;
        let (status, is_error, reason) = match attempt.outcome {
            AttemptOutcome::Responded(status) => (Some(status), status.as_u16() >= 400, None),
            AttemptOutcome::Failed(reason) => (None, true, Some(reason)),
        };
        let mut span = EncodedSpan::new(&SpanHead {
            span_id: attempt.span_id,
            parent: Some(SpanParent {
                span_id: common.span_id,
                is_remote: false,
            }),
            name: method(method_sent).unwrap_or("HTTP"),
            kind: SpanKind::Client,
            error: is_error.then_some(reason.unwrap_or_default()),
            ..*common
        });
        add_method(&mut span, method_sent);
        let url = attempt.server.url();
        if let Some((host, port)) = address(url) {
            span.text("server.address", host);
            port.inspect(|port| span.whole("server.port", (*port).into()));
        }
        self.add_url(&mut span, url, &attempt.target);
        if index > 0 {
            span.whole("http.request.resend_count", index as i64);
        }
        span.text("tidegate.upstream", attempt.server.name());
        if let Some(status) = status {
            span.whole("http.response.status_code", status.as_u16().into());
        }
        let error = reason.or(status.as_ref().map(StatusCode::as_str));
        if let Some(error) = error.filter(|_| is_error) {
            span.text("error.type", error);
        }
        span
    }

    /// Adds the URL of an attempt, with a query as the route shows it.
    fn add_url(&self, to: &mut EncodedSpan, server: &str, target: &[u8]) {
        let query = target.iter().position(|byte| *byte == b'?');
        let (path, query) = target.split_at(query.unwrap_or(target.len()));
        let mut url = [server.as_bytes(), path].concat();
        if let (Some(query), Some(route)) = (query.get(1..), traced(self.exchange))
            && let Some(query) = route.query.shown(query)
        {
            url.push(b'?');
            url.extend_from_slice(&query);
        }
        add_bytes(to, "url.full", &url);
    }

    /// The `tracestate` of the caller; empty without one, and for one that is
    /// malformed or too long.
    fn state(&self) -> String {
        let headers = &self.exchange.request.headers;
        let lines: Vec<_> = headers.known(FieldName::TraceState).collect();
        if self.recording.caller.is_none() || lines.is_empty() {
            return String::new();
        }
        let text = String::from_utf8(lines.join(&b","[..])).ok();
        text.filter(|text| text.len() <= LONGEST_STATE && is_state(text))
            .unwrap_or_default()
    }
}

/// Whether a text is a `tracestate`: members `key=value`, none of them twice
/// (Trace Context, 3.3.1).
fn is_state(text: &str) -> bool {
    let members = text.split(',').map(str::trim).filter(|one| !one.is_empty());
    let mut keys = Vec::new();
    for member in members {
        let Some((key, value)) = member.split_once('=') else {
            return false;
        };
        let is_of_key =
            |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
        let is_of_value = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
        let is_sound = (1..=256).contains(&key.len())
            && (1..=256).contains(&value.len())
            && key.bytes().all(is_of_key)
            && value.bytes().all(is_of_value);
        if !is_sound || keys.contains(&key) {
            return false;
        }
        keys.push(key);
    }
    keys.len() <= MOST_MEMBERS
}

/// The facts about the route that spans show.
fn traced(exchange: &Exchange) -> Option<&TracedRoute> {
    exchange.route.traced.as_deref()
}

/// Adds a text that a client chose, cut if it is long.
fn add_bytes(to: &mut EncodedSpan, key: &'static str, text: &[u8]) {
    let text = &text[..text.len().min(LONGEST)];
    to.text(key, &String::from_utf8_lossy(text));
}

/// Adds the method, which is `_OTHER` if HTTP does not define it.
fn add_method(to: &mut EncodedSpan, sent: &Method) {
    match method(sent) {
        Some(known) => to.text("http.request.method", known),
        None => {
            to.text("http.request.method", "_OTHER");
            if sent.as_str() != UNREADABLE {
                add_bytes(to, "http.request.method_original", sent.as_str().as_bytes());
            }
        }
    }
}

/// The method, if HTTP defines it (RFC 9110 and RFC 5789).
fn method(sent: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    KNOWN.into_iter().find(|known| *known == sent.as_str())
}

/// The host and the port of a server, by its URL. The path of a socket has no
/// port.
fn address(url: &str) -> Option<(&str, Option<u16>)> {
    if let Some(path) = url.strip_prefix("unix:") {
        return Some((path, None));
    }
    let (scheme, authority) = url.split_once("://")?;
    let usual = if scheme == "https" { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, usual),
    };
    Some((host.trim_matches(['[', ']']), Some(port)))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_host_and_port() {
        for (url, host, port) in [
            ("http://10.0.0.1:9001", "10.0.0.1", Some(9001)),
            ("http://app.internal", "app.internal", Some(80)),
            ("https://app.internal", "app.internal", Some(443)),
            ("https://[2001:db8::1]:8443", "2001:db8::1", Some(8443)),
            ("http://[::1]", "::1", Some(80)),
            ("unix:/run/app.sock", "/run/app.sock", None),
        ] {
            assert_eq!(address(url), Some((host, port)), "{url}");
        }
    }

    #[test]
    fn a_state_is_kept_if_all_of_its_members_are_sound() {
        let full = (0..32).map(|index| format!("k{index}=v"));
        let full = full.collect::<Vec<_>>().join(",");
        for sound in [
            "a=1",
            "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE",
            "t@v=1,,b= 2",
            &full,
        ] {
            assert!(is_state(sound), "{sound}");
        }
        let many = format!("{full},one=more");
        for broken in [
            "a", "=1", "a=", "A=1", "a=1=2", "a=1,a=2", "a=\u{e9}", &many,
        ] {
            assert!(!is_state(broken), "{broken}");
        }
    }

    #[test]
    fn methods_that_http_does_not_define_are_other() {
        let shown = |sent: &[u8]| method(&Method::from_bytes(sent).unwrap());
        assert_eq!(shown(b"PATCH"), Some("PATCH"));
        assert_eq!(shown(b"patch"), None);
        assert_eq!(shown(b"PROPFIND"), None);
    }
}
