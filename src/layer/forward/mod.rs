//! Forward: turns a call into the request that is sent to a server.
//!
//! The head is written once, into the bytes that will leave, straight from the
//! request as received. Fields of the hop and those that `Connection` names are
//! left out; `X-Forwarded-*`, `Forwarded`, `Via` and the request's id are
//! added, and the route's own changes are made. On the way back the route's
//! changes to the response header are made.
//!
//! * `head` writes the request line and the fields.
//! * `hops` is the account of the hops before this one.
//! * `prefix` tells services the prefix that the path has lost.
//! * `locations` maps locations and cookies of the service back.
//! * `credentials` leaves out what services are not to get.
//!
//! It refuses nothing and holds nothing. tower has no such layer; tower-http's
//! `SetRequestHeader` and its like change a header map, one field for each
//! layer.
//!
//! # Order
//!
//! It is the innermost layer: each attempt passes through it, so that the head
//! of a retry states the time that a gRPC call has left by then. Behind it the
//! upstream chooses a server and completes the head for the protocol of that
//! server.
//!
//! # Trust
//!
//! The fields by which the gateway speaks of itself and of the client replace
//! those received: a client cannot write `X-Forwarded-For` or the request's id
//! in its stead. A client that names them in `Connection` only removes its own.

mod credentials;
mod head;
mod hops;
mod locations;
mod prefix;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderName, Method};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

pub use self::{credentials::HiddenCredentials, locations::Locations};
use super::{key, response_changes};
use crate::{
    call::{AttemptSpan, Call, Exchange, Outgoing, grpc},
    error::Failed,
    http1::{self, Hops},
    limit::KeyBuilder,
    message::{FieldName, RequestHead, Response},
    policy::{HeaderChanges, KeyPart, RequestChanges},
};

/// Trailers of one request that are announced; a body in chunks has no more of
/// them.
///
/// Later names in the list are ignored.
const MOST_TRAILERS: usize = 32;

/// How the requests of a route are written for a server of one upstream.
#[derive(Debug)]
pub struct ForwardPolicy {
    /// The route's changes in requests. They have the last word: a field that
    /// they set or remove is neither passed on nor added.
    pub request: RequestChanges,
    /// The route's changes in the header of responses. Applied to responses of
    /// the upstream. A response that the gateway makes itself does not pass
    /// through here.
    pub response: HeaderChanges,
    /// How locations and cookies of the upstream are mapped back, before the
    /// changes; `None` if they are passed on.
    pub locations: Option<Locations>,
    /// The key that the server is chosen by; `None` unless the upstream's
    /// balance asks for one.
    pub key: Option<HashKey>,
    /// Credentials that services do not get.
    pub hidden: HiddenCredentials,
}

/// The key that a server is chosen by, so that requests with the same key go to
/// the same server.
#[derive(Debug)]
pub struct HashKey {
    /// A key without parts. Cloned for each request, which then adds the parts.
    pub begun: KeyBuilder,
    /// The parts of the key, at least one. All of them have to be present for
    /// the key to count.
    pub parts: Vec<KeyPart>,
}

impl HashKey {
    /// The hash of a request's key; `None` if a part of it is absent or empty,
    /// so that the server is chosen as without a key.
    fn of(&self, exchange: &Exchange) -> Option<u64> {
        let mut builder = self.begun.clone();
        let mut parts = self.parts.iter();
        let has_all = parts.all(|part| key::add(&mut builder, part, exchange));
        has_all.then(|| builder.finish().hash())
    }
}

/// Adds [`Forward`].
#[derive(Debug, Clone)]
pub struct ForwardLayer {
    /// How requests are written.
    pub policy: Arc<ForwardPolicy>,
}

impl<S> Layer<S> for ForwardLayer {
    type Service = Forward<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Forward {
            inner,
            policy: Arc::clone(&self.policy),
        }
    }
}

/// Turns calls into requests to a server.
#[derive(Debug, Clone)]
pub struct Forward<S> {
    inner: S,
    policy: Arc<ForwardPolicy>,
}

impl<S> Service<Call> for Forward<S>
where
    S: Service<Outgoing, Response = Response, Error = Failed>,
{
    type Response = Response;
    type Error = Failed;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, mut call: Call) -> Self::Future {
        let (policy, exchange) = (&*self.policy, &call.exchange);
        // A connection that switches protocols is not given back to the pool:
        // it may as well be a new one, which its server has not closed
        // unnoticed. Such a request is not retried once a server may have seen
        // it.
        call.new_connection |= exchange.request.upgrade.is_some();
        let changes = !policy.response.is_empty() || policy.locations.is_some();
        let changing = changes.then(|| (Arc::clone(&self.policy), Arc::clone(exchange)));
        let mut span = AttemptSpan::begin(&call);
        let head = head::write(
            &call,
            &policy.request,
            &policy.hidden,
            span.as_deref().map(AttemptSpan::id),
        );
        if let Some(span) = &mut span {
            span.sends(&head);
        }
        let outgoing = Outgoing {
            head,
            has_host: policy.request.preserve_host && !exchange.host.is_empty(),
            names_length: names_length(&exchange.request),
            trailers: if call.body.is_whole() {
                Box::default()
            } else {
                announced_trailers(exchange, &policy.request)
            },
            trailers_to_http1: policy.request.passes_trailers,
            key: policy.key.as_ref().and_then(|key| key.of(exchange)),
            call,
        };
        ResponseFuture {
            inner: self.inner.call(outgoing),
            changing,
            span,
        }
    }
}

/// Whether an empty body is announced with a length of 0. Some servers send
/// 411 to a POST without one (RFC 9110, 8.6).
fn names_length(request: &RequestHead) -> bool {
    match request.method {
        Method::GET | Method::HEAD | Method::OPTIONS => false,
        Method::POST | Method::PUT | Method::PATCH => true,
        _ => request.headers.has(FieldName::ContentLength),
    }
}

/// The trailers that `Trailer` announces and that may pass. A server may read a
/// trailer as a header field, so that a name that may not stand in the header
/// may not trail either.
///
/// Empty if the client announces none. The names stand in the order of the
/// client.
fn announced_trailers(exchange: &Exchange, changes: &RequestChanges) -> Box<[HeaderName]> {
    let request = &exchange.request;
    let hops = Hops::of(&request.headers, request.names_hops);
    let lines = request.headers.known(FieldName::Trailer);
    let members = lines
        .flat_map(|line| line.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    // Bounded before any is looked at, so that an endless list costs no more
    // than a short one.
    let members = members
        .filter(|member| !member.is_empty())
        .take(MOST_TRAILERS);
    let may_pass = |name: &HeaderName| {
        let text = name.as_str().as_bytes();
        let is_own = *name == grpc::TIMEOUT || http1::is_claim(text) || text.contains(&b'_');
        !is_own && http1::may_trail(name) && !head::ends_here(text, &hops, changes)
    };
    members
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(may_pass)
        .collect()
}

pin_project! {
    /// Waits for the response and makes the route's changes in its header.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        // `None` if the route changes no responses, or has changed this one.
        changing: Option<(Arc<ForwardPolicy>, Arc<Exchange>)>,
        // Set if the request is recorded.
        span: Option<Box<AttemptSpan>>,
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, Failed>>,
{
    type Output = F::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
        if let Some(span) = this.span.take() {
            span.end(&result);
        }
        if let Some((policy, exchange)) = this.changing.take()
            && let Ok(response) = &mut result
        {
            if let Some(locations) = &policy.locations {
                locations.apply(response, &exchange);
            }
            response_changes::apply(&policy.response, response, &exchange);
        }
        Poll::Ready(result)
    }
}
