//! Buffer: reads a request body before the request goes on, and a response body
//! ahead of a slow client.
//!
//! gRPC calls, upgrades and event streams pass as they arrive, and so does
//! every response whose client keeps up. It refuses a request whose body breaks
//! off, is malformed or arrives too slowly, with the status that it would have
//! without a buffer. It holds up to `buffer` bytes of each body, to the end of
//! that body, within the memory that all bodies share ([`Memory`]); when that
//! is used up, bodies stream as they do without a buffer.
//!
//! tower's `Buffer` is something else: a queue of requests in front of a
//! service.
//!
//! # Order
//!
//! It belongs outside of concurrency limits and inside of the total timeout.
//! The time for the response stands still while the body is read, as it does
//! for a body that flows to a server.
//!
//! # Cancellation
//!
//! A client that leaves while its body is read drops what was read, and gives
//! the memory back. Nothing else is held then: neither a permit nor a
//! connection to a server.

mod ahead;
mod fill;
mod memory;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::header;
use pin_project_lite::pin_project;
use tower::{Layer, Service, ServiceExt};

pub use self::memory::Memory;
use self::{ahead::Ahead, fill::fill};
use super::{content::is_silent_by_nature, one_of::call_rarely};
use crate::{call::Call, error::Error, message::Response};

/// The buffers of a route's bodies.
#[derive(Debug)]
pub struct BufferPolicy {
    /// Bytes of a request body that are read before the request goes on; 0 is
    /// none.
    pub request: usize,
    /// Bytes of a response body that are read ahead of the client; 0 is none.
    pub response: usize,
    /// The memory that all bodies share.
    pub memory: Arc<Memory>,
}

/// Adds [`Buffer`].
///
/// It belongs outside of concurrency limits: a client that sends slowly then
/// holds no permit.
#[derive(Debug, Clone)]
pub struct BufferLayer {
    /// The buffers, at least one of which is not 0.
    pub policy: Arc<BufferPolicy>,
}

impl<S> Layer<S> for BufferLayer {
    type Service = Buffer<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Buffer {
            inner,
            policy: Arc::clone(&self.policy),
        }
    }
}

/// Buffers bodies.
#[derive(Debug, Clone)]
pub struct Buffer<S> {
    inner: S,
    policy: Arc<BufferPolicy>,
}

impl<S> Service<Call> for Buffer<S>
where
    S: Service<Call, Response = Response, Future: Send> + Clone + Send + 'static,
    S::Error: From<Error> + Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Error>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(never)]
    fn call(&mut self, call: Call) -> Self::Future {
        let request = &call.exchange.request;
        let is_streamed = call.exchange.grpc.is_some() || request.upgrade.is_some();
        if is_streamed || self.policy.request == 0 || call.body.is_whole() {
            return ResponseFuture::Passing {
                inner: self.inner.call(call),
                policy: (!is_streamed).then(|| Arc::clone(&self.policy)),
            };
        }
        let filled = filled(call, Arc::clone(&self.policy), self.inner.clone());
        ResponseFuture::Filling {
            filling: Box::pin(filled),
        }
    }
}

/// Reads the request body, then calls `inner`.
async fn filled<S>(
    mut call: Call,
    policy: Arc<BufferPolicy>,
    mut inner: S,
) -> Result<Response, S::Error>
where
    S: Service<Call, Response = Response>,
    S::Error: From<Error>,
{
    fill(&mut call, policy.request, &policy.memory).await?;
    let mut response = call_rarely(inner.ready().await?, call).await?;
    policy.read_ahead(&mut response);
    Ok(response)
}

pin_project! {
    /// A request whose body is read, or that has gone on.
    #[project = State]
    pub enum ResponseFuture<F, E> {
        /// The request body is read. Boxed, as most requests have none.
        Filling { filling: Pin<Box<dyn Future<Output = Result<Response, E>> + Send>> },
        /// The request has gone on. Its response is read ahead by the policy,
        /// if there is one.
        Passing { #[pin] inner: F, policy: Option<Arc<BufferPolicy>> },
    }
}

impl<F, E> Future for ResponseFuture<F, E>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = F::Output;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            State::Filling { filling } => filling.as_mut().poll(cx),
            State::Passing {
                inner,
                policy: None,
            } => inner.poll(cx),
            State::Passing {
                inner,
                policy: Some(policy),
            } => {
                let mut result = ready!(inner.poll(cx));
                if let Ok(response) = &mut result {
                    policy.read_ahead(response);
                }
                Poll::Ready(result)
            }
        }
    }
}

impl<F, E> std::fmt::Debug for ResponseFuture<F, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Filling { .. } => "Filling",
            Self::Passing { .. } => "Passing",
        })
    }
}

impl BufferPolicy {
    /// Has the body of a response read ahead of its client, unless it is in
    /// memory already, a tunnel, or a stream that pauses by its nature.
    ///
    /// The guards of the body move with it, and are dropped when the server has
    /// sent everything.
    fn read_ahead(&self, response: &mut Response) {
        let body = &mut response.body;
        if self.response == 0 || body.is_whole() || body.is_tunnel() {
            return;
        }
        let kind = response.fields.get(&header::CONTENT_TYPE);
        if !kind.is_some_and(is_silent_by_nature) {
            Ahead::around(body, self.response, &self.memory);
        }
    }
}
