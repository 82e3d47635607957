//! Forward: the request as the upstream gets it, written straight from the request as received.
//!
//! Hop-by-hop fields and those that `Connection` names go out; `X-Forwarded-*`, `Forwarded`, `Via` and the request's id
//! come in, as do the route's own changes. Nothing is copied in between: the head is written once, into the bytes that
//! will leave. On the way back the route's changes to the answer are made.

mod forwarded;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderName, HeaderValue, Method, header};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::{
    answer_changes::AnswerChanges,
    key::{KeyPart, feed},
};
use crate::{
    body::Body,
    call::{Call, Exchange, MAX_FORWARDS_HEADER, Outgoing, REQUEST_ID_HEADER, grpc, max_forwards},
    http1::{self, Hops},
    limit::KeyBuilder,
    message::Response,
};

/// Trailers of one request; a body in chunks has no more of them.
const MOST_TRAILERS: usize = 32;

/// What a route changes in messages that pass.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The path.
    pub rewrite: Rewrite,
    /// Request fields that are set.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Request fields that are removed.
    pub remove: Vec<HeaderName>,
    /// The client's `Host` is sent up, not the server's name.
    pub preserve_host: bool,
    /// Trailers of requests go to services that speak HTTP/1, too.
    pub trailers_to_http1: bool,
    /// What changes on the way back.
    pub answer: AnswerChanges,
}

impl Changes {
    /// Whether the route sets or removes this request field: then its word counts, not the client's or the gateway's.
    #[inline]
    fn decides(&self, name: &HeaderName) -> bool {
        self.decides_any() && self.decides_this(name)
    }

    fn decides_this(&self, name: &HeaderName) -> bool {
        self.remove.contains(name) || self.set.iter().any(|(set, _)| set == name)
    }

    /// Whether the route sets or removes any request field.
    fn decides_any(&self) -> bool {
        !self.remove.is_empty() || !self.set.is_empty()
    }
}

/// What a server is chosen by, where requests with something in common go to one.
#[derive(Debug)]
pub struct HashKey {
    /// A key without parts.
    pub begun: KeyBuilder,
    /// What they have in common, at least one part.
    pub parts: Vec<KeyPart>,
}

impl HashKey {
    /// The hash of the request's key; nothing when a part of it is absent or empty.
    fn of(&self, exchange: &Exchange) -> Option<u64> {
        let fed = self
            .parts
            .iter()
            .try_fold(self.begun.clone(), |key, part| feed(key, part, exchange));
        fed.ok().map(|key| key.finish().hash())
    }
}

/// How a path changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rewrite {
    /// Byte for byte as received.
    #[default]
    None,
    /// A prefix of the normal form off, another one on; both without a trailing slash.
    Prefix {
        /// Off.
        strip: String,
        /// On.
        add: String,
    },
    /// A template with `{name}`s of the match.
    Template(String),
}

/// Adds [`Forward`].
#[derive(Debug, Clone)]
pub struct ForwardLayer {
    /// What changes on the way.
    pub changes: Arc<Changes>,
    /// What the upstream's server is chosen by, if it is by that.
    pub key: Option<Arc<HashKey>>,
}

impl<S> Layer<S> for ForwardLayer {
    type Service = Forward<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Forward {
            inner,
            changes: Arc::clone(&self.changes),
            key: self.key.clone(),
        }
    }
}

/// Turns calls into what is sent.
#[derive(Debug, Clone)]
pub struct Forward<S> {
    inner: S,
    changes: Arc<Changes>,
    key: Option<Arc<HashKey>>,
}

impl<S> Service<Call> for Forward<S>
where
    S: Service<Outgoing, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let Call {
            exchange,
            body,
            fresh,
            now,
            patience,
            linger,
            ..
        } = call;
        // A body that is here whole has no trailers.
        let trailers = if body.is_whole() {
            Box::default()
        } else {
            announced_trailers(&exchange, &self.changes)
        };
        let outgoing = Outgoing {
            trailers,
            trailers_to_http1: self.changes.trailers_to_http1,
            head: write_head(&exchange, &self.changes, &body, now),
            has_host: self.changes.preserve_host && !exchange.request.host.is_empty(),
            names_length: !matches!(
                exchange.request.method,
                Method::GET | Method::HEAD | Method::OPTIONS
            ) && (exchange
                .request
                .headers
                .contains_key(header::CONTENT_LENGTH)
                || matches!(
                    exchange.request.method,
                    Method::POST | Method::PUT | Method::PATCH
                )),
            // A connection that switches protocols is not given back: it may as well be a new one, which its server has
            // not closed unnoticed. Such a request is not tried again once it may have been seen.
            fresh: fresh || exchange.request.upgrade.is_some(),
            key: self.key.as_ref().and_then(|key| key.of(&exchange)),
            call: exchange,
            body,
            now,
            patience,
            linger,
        };
        ResponseFuture {
            inner: self.inner.call(outgoing),
            changes: Arc::clone(&self.changes),
        }
    }
}

pin_project! {
    /// An answer on its way back.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        changes: Arc<Changes>,
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut answer = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut answer {
            this.changes.answer.make_in(response);
        }
        Poll::Ready(answer)
    }
}

/// Request line and fields, without framing.
fn write_head(exchange: &Exchange, changes: &Changes, body: &Body, now: Instant) -> Vec<u8> {
    let (request, host) = (&exchange.request, host(exchange));
    let mut out = Vec::with_capacity(512 + request.headers.len() * 48);
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    write_target(&mut out, exchange, &changes.rewrite);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if changes.preserve_host
        && let Some(host) = host
    {
        http1::write_field(&mut out, "host", host);
    }
    // A body that is here whole need not be asked for: its client was, if it wanted to be.
    write_received(
        &mut out,
        exchange,
        changes,
        !body.is_empty() && body.is_whole(),
    );
    forwarded::write(&mut out, exchange, host.unwrap_or_default(), changes);
    if !changes.decides(&header::VIA) {
        write_via(&mut out, exchange);
    }
    if !changes.decides(&REQUEST_ID_HEADER) {
        http1::write_field(&mut out, REQUEST_ID_HEADER.as_str(), exchange.id.as_bytes());
    }
    // What is left of a call's time: it has waited here, perhaps been tried.
    if let Some(left) = request
        .grpc
        .and_then(|grpc| grpc.left(now - exchange.started))
    {
        http1::write_field(&mut out, grpc::TIMEOUT.as_str(), left.as_bytes());
    }
    for (name, value) in &changes.set {
        http1::write_field(&mut out, name.as_str(), value.as_bytes());
    }
    out
}

/// The host as the client named it, its port included.
fn host(exchange: &Exchange) -> Option<&[u8]> {
    let headers = &exchange.request.headers;
    // Mostly it is the first field.
    let first = headers
        .iter()
        .next()
        .filter(|(name, _)| *name == header::HOST)
        .map(|(_, value)| value);
    let named = || {
        first
            .or_else(|| headers.get(header::HOST))
            .map(HeaderValue::as_bytes)
    };
    exchange
        .request
        .target
        .authority()
        .or_else(named)
        .filter(|host| !host.is_empty())
}

fn write_target(out: &mut Vec<u8>, exchange: &Exchange, rewrite: &Rewrite) {
    let target = &exchange.request.target;
    match rewrite {
        Rewrite::None => {
            let (path, query) = target.to_forward();
            out.extend_from_slice(path);
            out.extend_from_slice(query);
            return;
        }
        // `OPTIONS *` asks about the server, not about a path.
        Rewrite::Prefix { .. } if target.path() == b"*" => out.push(b'*'),
        Rewrite::Prefix { strip, add } => {
            let path = target.normal_path();
            let rest = after_prefix(path, strip).unwrap_or(path);
            out.extend_from_slice(add.as_bytes());
            if !rest.starts_with(b"/") {
                out.push(b'/');
            }
            out.extend_from_slice(rest);
        }
        Rewrite::Template(template) => {
            out.extend_from_slice(super::fill(template, exchange).as_bytes())
        }
    }
    out.extend_from_slice(target.query_with_mark());
}

/// The path behind a prefix of whole segments, as routes match them: `/ord` is no prefix of `/orders`.
pub fn after_prefix<'p>(path: &'p [u8], prefix: &str) -> Option<&'p [u8]> {
    path.strip_prefix(prefix.as_bytes())
        .filter(|rest| matches!(rest, [] | [b'/', ..]))
}

/// The client's own fields, but for those of the hop and those that are written anew.
fn write_received(out: &mut Vec<u8>, exchange: &Exchange, changes: &Changes, is_asked_for: bool) {
    let request = &exchange.request;
    let hops = Hops::of(&request.headers, request.names_hops);
    let hops_left = max_forwards(request);
    let mut wants_trailers = false;
    let are_few = !hops.are_any() && !changes.decides_any() && !request.has_underscores;
    for (name, value) in &request.headers {
        if are_few && !may_be_held_back(name.as_str()) {
            http1::write_field(out, name.as_str(), value.as_bytes());
            continue;
        }
        if *name == header::TE {
            wants_trailers |= names(value, b"trailers");
        }
        let is_told_anew = (request.grpc.is_some() && *name == grpc::TIMEOUT)
            || (hops_left.is_some() && *name == MAX_FORWARDS_HEADER);
        if is_told_anew
            || (is_asked_for && *name == header::EXPECT)
            || ends_here(name, &hops, changes)
            || (request.has_underscores && ends_here(&with_hyphens(name), &hops, changes))
        {
            continue;
        }
        http1::write_field(out, name.as_str(), value.as_bytes());
    }
    if let Some(left) = hops_left {
        out.extend_from_slice(b"max-forwards: ");
        http1::write_number(out, left.saturating_sub(1));
        out.extend_from_slice(b"\r\n");
    }
    if let Some(protocols) = &request.upgrade {
        http1::write_field(out, "upgrade", protocols);
    }
    out.extend_from_slice(match (wants_trailers, request.upgrade.is_some()) {
        (false, false) => b"",
        (true, false) => b"te: trailers\r\nconnection: te\r\n",
        (false, true) => b"connection: upgrade\r\n",
        (true, true) => b"te: trailers\r\nconnection: te, upgrade\r\n",
    });
}

/// Whether a field of this name is not passed on: it ends at this hop, is written anew, or is decided by the route.
fn ends_here(name: &HeaderName, hops: &Hops<'_>, changes: &Changes) -> bool {
    is_ours(name) || hops.names(name.as_str()) || changes.decides(name)
}

/// The name that services which know CGI or WSGI make of one with `_`.
fn with_hyphens(name: &HeaderName) -> HeaderName {
    let hyphens = name.as_str().replace('_', "-");
    HeaderName::try_from(hyphens).unwrap_or_else(|_| name.clone())
}

fn names(value: &HeaderValue, wanted: &[u8]) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
}

/// Whether a field could be one that is not passed on as it is, as far as its length and first letter tell: they tell nearly
/// all others from those that are, for less than the comparisons with each name take.
fn may_be_held_back(name: &str) -> bool {
    let first = name.as_bytes().first().copied().unwrap_or_default();
    match name.len() {
        2 | 17 => matches!(first, b't' | b'x'),
        3 => first == b'v',
        4 => first == b'h',
        6 => first == b'e',
        7 => matches!(first, b't' | b'u'),
        9 => first == b'f',
        10 => matches!(first, b'c' | b'k'),
        12 => matches!(first, b'g' | b'm' | b'x'),
        14 => matches!(first, b'c' | b'h'),
        15 => first == b'x',
        16 => matches!(first, b'p' | b'x'),
        18 | 19 | 25 => first == b'p',
        _ => false,
    }
}

/// Fields that end here or are written anew.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::HOST | header::CONTENT_LENGTH | header::TRAILER | header::VIA
    ) || http1::hop_by_hop(name.as_str().as_bytes())
        || forwarded::writes(name)
        || *name == REQUEST_ID_HEADER
}

/// Trailers that `Trailer` announces and that may pass. A service may read a trailer as a field of the head, so that what
/// may not stand there under this name may not trail either.
fn announced_trailers(exchange: &Exchange, changes: &Changes) -> Box<[HeaderName]> {
    let request = &exchange.request;
    let hops = Hops::of(&request.headers, request.names_hops);
    let lines = request.headers.get_all(header::TRAILER).iter();
    let members = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    // Bounded before each is looked at: what a client announces without end costs no more than that.
    let members = members
        .filter(|member| !member.is_empty())
        .take(MOST_TRAILERS);
    let may_pass = |name: &HeaderName| {
        let text = name.as_str().as_bytes();
        let is_own = *name == grpc::TIMEOUT || http1::is_claim(text) || text.contains(&b'_');
        !is_own && http1::may_trail(name) && !ends_here(name, &hops, changes)
    };
    members
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(may_pass)
        .collect()
}

/// Appends this hop to `Via` (RFC 9110, 7.6.3).
fn write_via(out: &mut Vec<u8>, exchange: &Exchange) {
    out.extend_from_slice(b"via: ");
    if exchange.request.has_via {
        for value in exchange.request.headers.get_all(header::VIA) {
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(match exchange.request.version {
        http::Version::HTTP_10 => b"1.0 tidegate\r\n",
        http::Version::HTTP_2 => b"2.0 tidegate\r\n",
        _ => b"1.1 tidegate\r\n",
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_that_is_held_back_is_taken_for_another() {
        let ours = [
            header::HOST,
            header::CONTENT_LENGTH,
            header::TRAILER,
            header::VIA,
            header::FORWARDED,
            header::EXPECT,
            header::TE,
            REQUEST_ID_HEADER,
            MAX_FORWARDS_HEADER,
            grpc::TIMEOUT,
            HeaderName::from_static("x-forwarded-for"),
            HeaderName::from_static("x-forwarded-proto"),
            HeaderName::from_static("x-forwarded-host"),
        ];
        let hops = http1::HOP_BY_HOP.map(|name| HeaderName::from_bytes(name).unwrap());
        for name in ours.iter().chain(&hops) {
            assert!(may_be_held_back(name.as_str()), "{name}");
        }
        for name in [
            "user-agent",
            "accept",
            "accept-encoding",
            "cookie",
            "authorization",
            "content-type",
            "sec-fetch-site",
        ] {
            assert!(!may_be_held_back(name), "{name}");
        }
    }
}
