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
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Method, Version};
use opentelemetry::{
    InstrumentationScope, KeyValue, Value,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::SpanData;
use tokio::time::Instant;

use super::{
    exchange::{Exchange, TracedRoute},
    facts::Facts,
    target::UNREADABLE,
    trace::{AttemptNote, AttemptOutcome, Recording},
};
use crate::{message::FieldName, traces::TraceParent};

/// Bytes of a text that a client chose, in an attribute.
const LONGEST: usize = 2048;

/// Bytes of the longest `tracestate` that a span has (Trace Context, 3.3.1.5).
const LONGEST_STATE: usize = 512;

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
    /// Makes the spans and puts them into the queue of the exporter.
    #[cold]
    #[inline(never)]
    pub(super) fn export(self) {
        let attempts = std::mem::take(&mut *self.recording.attempts.lock());
        let wall = SystemTime::now();
        let at = |moment: Instant| wall - (self.now.saturating_duration_since(moment));
        let mut spans = Vec::with_capacity(1 + attempts.len());
        spans.push(self.of_request(at(self.exchange.started), wall));
        for (index, attempt) in attempts.iter().enumerate() {
            spans.push(self.of_attempt(index, attempt, at(attempt.begun), at(attempt.ended)));
        }
        self.recording.exporter.offer(spans);
    }

    /// The span of the request.
    fn of_request(&self, start_time: SystemTime, end_time: SystemTime) -> SpanData {
        let (exchange, facts) = (self.exchange, self.facts);
        let mut attributes = Attributes::with_room(32);
        self.add_request(&mut attributes);
        self.add_decision(&mut attributes);
        if facts.status.is_some() {
            attributes.add("http.response.status_code", i64::from(self.status));
        }
        let is_error = self.status >= 500 || facts.broke.is_some();
        let reason = facts.reason.filter(|_| is_error || facts.status.is_none());
        match reason {
            Some(reason) => attributes.add("error.type", reason),
            None if is_error => attributes.add("error.type", self.status.to_string()),
            None => {}
        }
        let route = traced(exchange).and_then(|route| route.path.as_deref());
        let name = match (method(&exchange.request.method), route) {
            (method, Some(route)) => format!("{} {route}", method.unwrap_or("HTTP")),
            (method, None) => method.unwrap_or("HTTP").to_owned(),
        };
        let (_, span_id) = self.parent.ids();
        let caller = self.recording.caller.map(|caller| caller.ids().1);
        SpanData {
            parent_span_id: caller.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: caller.is_some(),
            span_kind: SpanKind::Server,
            status: status_of(is_error, reason),
            ..self.span(span_id, name, start_time, end_time, attributes)
        }
    }

    /// Adds the attributes of the conventions that the request has from its
    /// begin.
    fn add_request(&self, to: &mut Attributes) {
        let exchange = self.exchange;
        let (head, target, origin) = (&exchange.request, &exchange.target, &exchange.origin);
        add_method(to, &head.method);
        let path = target.path();
        if path != UNREADABLE.as_bytes() {
            to.add_text("url.path", path);
        }
        let query = target.query().filter(|query| !query.is_empty());
        if let (Some(query), Some(route)) = (query, traced(exchange))
            && let Some(query) = route.query.shown(query)
        {
            to.add_text("url.query", &query);
        }
        to.add(
            "url.scheme",
            if origin.tls.is_some() {
                "https"
            } else {
                "http"
            },
        );
        if let Some(route) = traced(exchange).and_then(|route| route.path.clone()) {
            to.add("http.route", route);
        }
        if !exchange.host.is_empty() {
            to.add("server.address", Arc::clone(&exchange.host));
        }
        to.add("client.address", exchange.client.ip.to_string());
        to.add("network.peer.address", origin.peer_ip().to_owned());
        to.add("network.peer.port", i64::from(origin.peer.port()));
        to.add(
            "network.protocol.version",
            match head.version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                _ => "1.1",
            },
        );
        if let Some(agent) = head.headers.known(FieldName::UserAgent).next() {
            to.add_text("user_agent.original", agent);
        }
        let request_id = exchange.id.as_bytes();
        to.add_text("tidegate.request_id", request_id);
        to.add("tidegate.listener", origin.listener.name().to_owned());
        if let Some(name) = &exchange.route.name {
            to.add("tidegate.route", Arc::clone(name));
        }
    }

    /// Adds the gateway's own attributes about what it has decided.
    fn add_decision(&self, to: &mut Attributes) {
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
            text.inspect(|text| to.add(key, Arc::clone(text)));
        }
        upstream.inspect(|upstream| to.add("tidegate.upstream", (*upstream).to_owned()));
        facts
            .reason
            .inspect(|reason| to.add("tidegate.reason", *reason));
        facts
            .not_retried
            .inspect(|reason| to.add("tidegate.not_retried", *reason));
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
            number.inspect(|number| to.add(key, *number));
        }
        for (key, wait) in [
            ("tidegate.delay_ms", facts.delay),
            ("tidegate.queue_ms", facts.queue),
        ] {
            wait.inspect(|wait| to.add(key, milliseconds(*wait)));
        }
        to.add("http.request.body.size", facts.bytes_in as i64);
        to.add("http.response.body.size", facts.bytes_out as i64);
    }

    /// The span of an attempt, which has this index.
    fn of_attempt(
        &self,
        index: usize,
        attempt: &AttemptNote,
        start_time: SystemTime,
        end_time: SystemTime,
    ) -> SpanData {
        let method_sent = &self.exchange.request.method;
        let mut attributes = Attributes::with_room(10);
        add_method(&mut attributes, method_sent);
        let url = attempt.server.url();
        if let Some((host, port)) = address(url) {
            attributes.add("server.address", host.to_owned());
            port.inspect(|port| attributes.add("server.port", i64::from(*port)));
        }
        self.add_url(&mut attributes, url, &attempt.target);
        if index > 0 {
            attributes.add("http.request.resend_count", index as i64);
        }
        attributes.add("tidegate.upstream", attempt.server.name().to_owned());
        let (is_error, reason) = match attempt.outcome {
            AttemptOutcome::Responded(status) => {
                attributes.add("http.response.status_code", i64::from(status.as_u16()));
                (status.as_u16() >= 400, None)
            }
            AttemptOutcome::Failed(reason) => (true, Some(reason)),
        };
        match (attempt.outcome, reason) {
            (_, Some(reason)) => attributes.add("error.type", reason),
            (AttemptOutcome::Responded(status), _) if is_error => {
                attributes.add("error.type", status.as_str().to_owned());
            }
            _ => {}
        }
        let name = method(method_sent).unwrap_or("HTTP").to_owned();
        let (_, request) = self.parent.ids();
        SpanData {
            parent_span_id: request,
            parent_span_is_remote: false,
            span_kind: SpanKind::Client,
            status: status_of(is_error, reason),
            ..self.span(
                attempt.span_id.into(),
                name,
                start_time,
                end_time,
                attributes,
            )
        }
    }

    /// Adds the URL of an attempt, with a query as the route shows it.
    fn add_url(&self, to: &mut Attributes, server: &str, target: &[u8]) {
        let query = target.iter().position(|byte| *byte == b'?');
        let (path, query) = target.split_at(query.unwrap_or(target.len()));
        let mut url = [server.as_bytes(), path].concat();
        if let (Some(query), Some(route)) = (query.get(1..), traced(self.exchange))
            && let Some(query) = route.query.shown(query)
        {
            url.push(b'?');
            url.extend_from_slice(&query);
        }
        to.add_text("url.full", &url);
    }

    /// A span with everything that all spans of the trace have in common.
    fn span(
        &self,
        span_id: SpanId,
        name: String,
        start_time: SystemTime,
        end_time: SystemTime,
        attributes: Attributes,
    ) -> SpanData {
        let trace_id: TraceId = self.parent.ids().0;
        let flags = TraceFlags::new(self.parent.flags());
        SpanData {
            span_context: SpanContext::new(trace_id, span_id, flags, false, self.state()),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time,
            end_time,
            attributes: attributes.0,
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("tidegate")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }

    /// The `tracestate` of the caller; empty without one, and for one that is
    /// malformed or too long.
    fn state(&self) -> TraceState {
        let headers = &self.exchange.request.headers;
        let lines: Vec<_> = headers.known(FieldName::TraceState).collect();
        let text = lines.join(&b","[..]);
        let text = std::str::from_utf8(&text).ok();
        let text =
            text.filter(|text| self.recording.caller.is_some() && text.len() <= LONGEST_STATE);
        text.and_then(|text| TraceState::from_str(text).ok())
            .unwrap_or_default()
    }
}

/// The facts about the route that spans show.
fn traced(exchange: &Exchange) -> Option<&TracedRoute> {
    exchange.route.traced.as_deref()
}

/// Attributes of a span.
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn with_room(room: usize) -> Self {
        Self(Vec::with_capacity(room))
    }

    fn add(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.push(KeyValue::new(key, value));
    }

    /// Adds a text that a client chose, cut if it is long.
    fn add_text(&mut self, key: &'static str, text: &[u8]) {
        let text = String::from_utf8_lossy(&text[..text.len().min(LONGEST)]);
        self.add(key, text.into_owned());
    }
}

/// Adds the method, which is `_OTHER` if HTTP does not define it.
fn add_method(to: &mut Attributes, sent: &Method) {
    match method(sent) {
        Some(known) => to.add("http.request.method", known),
        None => {
            to.add("http.request.method", "_OTHER");
            if sent.as_str() != UNREADABLE {
                to.add_text("http.request.method_original", sent.as_str().as_bytes());
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

/// The status of a span. A status of HTTP describes itself.
fn status_of(is_error: bool, reason: Option<&'static str>) -> Status {
    match is_error {
        true => Status::error(reason.unwrap_or_default()),
        false => Status::Unset,
    }
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
    fn methods_that_http_does_not_define_are_other() {
        let shown = |sent: &[u8]| method(&Method::from_bytes(sent).unwrap());
        assert_eq!(shown(b"PATCH"), Some("PATCH"));
        assert_eq!(shown(b"patch"), None);
        assert_eq!(shown(b"PROPFIND"), None);
    }
}
