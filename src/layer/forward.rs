//! Forward: the request as the upstream gets it, written straight from the request as received.
//!
//! Hop-by-hop fields and those that `Connection` names go out; `X-Forwarded-*`, `Forwarded`, `Via` and the request's id
//! come in, as do the route's own changes. Nothing is copied in between: the head is written once, into the bytes that
//! will leave. On the way back the route's changes to the answer are made.

use std::{
    fmt::Write as _,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};
use http::{HeaderName, HeaderValue, Method, header};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{
    call::{Call, Exchange, Outgoing, REQUEST_ID_HEADER},
    error::Error,
    http1,
    message::Response,
};

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
    /// Response fields that are set.
    pub set_in_answer: Vec<(HeaderName, HeaderValue)>,
    /// Response fields that are removed.
    pub remove_from_answer: Vec<HeaderName>,
}

impl Changes {
    /// Whether the route decides over this request field.
    fn decides(&self, name: &str) -> bool {
        self.remove.iter().any(|removed| removed == name) || self.set.iter().any(|(set, _)| set == name)
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
}

impl<S> Layer<S> for ForwardLayer {
    type Service = Forward<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Forward { inner, changes: Arc::clone(&self.changes) }
    }
}

/// Turns calls into what is sent.
#[derive(Debug, Clone)]
pub struct Forward<S> {
    inner: S,
    changes: Arc<Changes>,
}

impl<S> Service<Call> for Forward<S>
where
    S: Service<Outgoing, Response = Response, Error = Error>,
{
    type Response = Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let Call { exchange, body, fresh, .. } = call;
        let outgoing = Outgoing {
            head: write_head(&exchange, &self.changes),
            has_host: self.changes.preserve_host && !exchange.request.host.is_empty(),
            names_length: !matches!(exchange.request.method, Method::GET | Method::HEAD | Method::OPTIONS)
                && (exchange.request.headers.contains_key(header::CONTENT_LENGTH)
                    || matches!(exchange.request.method, Method::POST | Method::PUT | Method::PATCH)),
            call: exchange,
            body,
            fresh,
        };
        ResponseFuture { inner: self.inner.call(outgoing), changes: Arc::clone(&self.changes) }
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

impl<F: Future<Output = Result<Response, Error>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut answer = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut answer {
            let headers = response.headers_mut();
            for name in &this.changes.remove_from_answer {
                headers.remove(name);
            }
            for (name, value) in &this.changes.set_in_answer {
                headers.insert(name, value.clone());
            }
        }
        Poll::Ready(answer)
    }
}

/// Request line and fields, without framing.
fn write_head(exchange: &Exchange, changes: &Changes) -> BytesMut {
    let request = &exchange.request;
    let mut out = BytesMut::with_capacity(512 + request.headers.len() * 48);
    out.put_slice(request.method.as_str().as_bytes());
    out.put_u8(b' ');
    write_target(&mut out, exchange, &changes.rewrite);
    out.put_slice(b" HTTP/1.1\r\n");
    if changes.preserve_host
        && let Some(host) = host(exchange)
    {
        http1::write_field(&mut out, "host", host);
    }
    write_received(&mut out, exchange, changes);
    write_forwarded(&mut out, exchange, changes);
    if !changes.decides(header::VIA.as_str()) {
        write_via(&mut out, exchange);
    }
    if !changes.decides(REQUEST_ID_HEADER) {
        http1::write_field(&mut out, REQUEST_ID_HEADER, exchange.id.as_str().as_bytes());
    }
    for (name, value) in &changes.set {
        http1::write_field(&mut out, name.as_str(), value.as_bytes());
    }
    out
}

/// The host as the client named it, its port included.
fn host(exchange: &Exchange) -> Option<&[u8]> {
    let named = || exchange.request.headers.get(header::HOST).map(HeaderValue::as_bytes);
    exchange.request.target.authority().or_else(named).filter(|host| !host.is_empty())
}

fn write_target(out: &mut BytesMut, exchange: &Exchange, rewrite: &Rewrite) {
    let target = &exchange.request.target;
    match rewrite {
        Rewrite::None => {
            let (path, query) = target.to_forward();
            out.put_slice(path);
            out.put_slice(query);
            return;
        }
        Rewrite::Prefix { strip, add } => {
            let path = target.normal_path();
            let rest = path.strip_prefix(strip.as_bytes()).unwrap_or(path);
            out.put_slice(add.as_bytes());
            if !rest.starts_with(b"/") {
                out.put_u8(b'/');
            }
            out.put_slice(rest);
        }
        Rewrite::Template(template) => out.put_slice(super::fill(template, exchange).as_bytes()),
    }
    out.put_slice(target.query_with_mark());
}

/// The client's own fields, but for those of the hop and those that are written anew.
fn write_received(out: &mut BytesMut, exchange: &Exchange, changes: &Changes) {
    let headers = &exchange.request.headers;
    let named = headers.contains_key(header::CONNECTION);
    for (name, value) in headers {
        let is_ours = matches!(*name, header::HOST | header::CONTENT_LENGTH | header::VIA | header::FORWARDED)
            || http1::hop_by_hop(name)
            || is_forwarding(name)
            || (named && http1::is_named(headers, name));
        if !is_ours && !changes.decides(name.as_str()) {
            http1::write_field(out, name.as_str(), value.as_bytes());
        }
    }
    let wants_trailers = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    };
    if headers.get_all(header::TE).iter().any(wants_trailers) {
        out.put_slice(b"te: trailers\r\nconnection: te\r\n");
    }
}

/// Fields that say where a request came from, in no registry but everywhere.
fn is_forwarding(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-")
        && matches!(name, "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | REQUEST_ID_HEADER)
}

/// `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded` (RFC 7239). What the peer says of earlier hops is passed on only
/// if it is a trusted proxy: anybody else could claim anything. The route's own word counts more.
fn write_forwarded(out: &mut BytesMut, exchange: &Exchange, changes: &Changes) {
    let headers = &exchange.request.headers;
    let said =
        |name: &'static str| exchange.client.peer_is_trusted.then(|| headers.get_all(name)).into_iter().flatten();
    let peer = exchange.origin.peer.ip().to_canonical();
    let mut list = |name: &'static str, own: &dyn Fn(&mut BytesMut)| {
        if changes.decides(name) {
            return;
        }
        out.put_slice(name.as_bytes());
        out.put_slice(b": ");
        for value in said(name) {
            out.put_slice(value.as_bytes());
            out.put_slice(b", ");
        }
        own(out);
        out.put_slice(b"\r\n");
    };
    list("x-forwarded-for", &|out| write_address(out, peer));
    list("forwarded", &|out| write_element(out, exchange, peer));
    let mut once = |name: &'static str, own: &[u8]| {
        let value = said(name).next().map_or(own, HeaderValue::as_bytes);
        if !value.is_empty() && !changes.decides(name) {
            http1::write_field(out, name, value);
        }
    };
    once("x-forwarded-proto", b"http");
    once("x-forwarded-host", host(exchange).unwrap_or_default());
}

fn write_address(out: &mut BytesMut, address: IpAddr) {
    // Writing to a buffer cannot fail.
    let _ = write!(out, "{address}");
}

/// This hop as an element of `Forwarded`: quoted where the grammar of a token does not allow it.
fn write_element(out: &mut BytesMut, exchange: &Exchange, peer: IpAddr) {
    let _ = match peer {
        IpAddr::V4(peer) => write!(out, "for={peer}"),
        IpAddr::V6(peer) => write!(out, "for=\"[{peer}]\""),
    };
    if let Some(host) = host(exchange) {
        out.put_slice(b";host=\"");
        out.put_slice(host);
        out.put_u8(b'"');
    }
    out.put_slice(b";proto=http");
}

/// Appends this hop to `Via` (RFC 9110, 7.6.3).
fn write_via(out: &mut BytesMut, exchange: &Exchange) {
    out.put_slice(b"via: ");
    for value in exchange.request.headers.get_all(header::VIA) {
        out.put_slice(value.as_bytes());
        out.put_slice(b", ");
    }
    let is_old = exchange.request.version == http::Version::HTTP_10;
    out.put_slice(if is_old { b"1.0 tidegate\r\n" } else { b"1.1 tidegate\r\n" });
}
