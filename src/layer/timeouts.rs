//! Deadline: when an answer must have begun, and how its bodies are paced.
//!
//! The deadline is a value that travels with the call, not a timer: whatever waits (the queue of the cap, an attempt, a
//! back-off) waits no longer than it, so that a request arms one timer at a time. It begins with the request's head.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{
    body::Pace,
    call::{Call, Deadline},
    error::Error,
    message::Response,
};

/// Adds [`Timeouts`].
#[derive(Debug, Clone, Copy)]
pub struct TimeoutsLayer {
    /// From the request's head to the answer's head.
    pub total: Duration,
    /// Longest silence once bodies flow.
    pub idle: Duration,
    /// The whole exchange.
    pub body: Option<Duration>,
}

impl<S> Layer<S> for TimeoutsLayer {
    type Service = Timeouts<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeouts { inner, bounds: *self }
    }
}

/// Gives calls a deadline and their bodies a pace.
#[derive(Debug, Clone)]
pub struct Timeouts<S> {
    inner: S,
    bounds: TimeoutsLayer,
}

impl<S> Service<Call> for Timeouts<S>
where
    S: Service<Call, Response = Response, Error = Error>,
{
    type Response = Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let TimeoutsLayer { total, idle, body } = self.bounds;
        let started = call.exchange.started;
        // A call's own bound, where it is the shorter one.
        let asked = call.exchange.request.grpc.and_then(|grpc| grpc.timeout);
        let total = asked.map_or(total, |asked| asked.min(total));
        let pace = Pace { idle, end: body.map(|body| started + body) };
        call.deadline = Some(Deadline { at: started + total, total });
        call.body.pace = Some(pace);
        ResponseFuture { inner: self.inner.call(call), pace }
    }
}

pin_project! {
    /// Paces the body of the answer.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        pace: Pace,
    }
}

impl<F: Future<Output = Result<Response, Error>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut answer = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut answer {
            response.body.pace = Some(*this.pace);
        }
        Poll::Ready(answer)
    }
}
