//! Attempt timeout: one try, from its beginning to its answer's head, and never beyond the request's deadline.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{
    alarm::Lent,
    call::{Call, Deadline},
    error::Error,
    message::Response,
};

/// Adds [`AttemptTimeout`].
#[derive(Debug, Clone, Copy)]
pub struct AttemptTimeoutLayer {
    /// Longest time for one attempt.
    pub attempt: Duration,
}

impl<S> Layer<S> for AttemptTimeoutLayer {
    type Service = AttemptTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AttemptTimeout { inner, attempt: self.attempt }
    }
}

/// Ends an attempt that takes too long, by dropping it.
#[derive(Debug, Clone)]
pub struct AttemptTimeout<S> {
    inner: S,
    attempt: Duration,
}

impl<S> Service<Call> for AttemptTimeout<S>
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
        let end = call.now + self.attempt;
        let deadline = call.deadline.filter(|deadline| deadline.at <= end);
        let end = deadline.map_or(end, |deadline| deadline.at);
        let alarm = Lent::until(end);
        // A request that queued, or was tried before, may have too little time left for any server.
        call.patience = (end >= call.now + self.attempt / 2).then_some(end);
        ResponseFuture { inner: self.inner.call(call), alarm, attempt: self.attempt, deadline }
    }
}

pin_project! {
    /// An attempt against the clock.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        alarm: Lent,
        attempt: Duration,
        // Set when the request's deadline comes before the end of the attempt.
        deadline: Option<Deadline>,
    }
}

impl<F: Future<Output = Result<Response, Error>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.inner.poll(cx) {
            return Poll::Ready(answer);
        }
        this.alarm.poll(cx).map(|()| {
            Err(match this.deadline {
                Some(deadline) => deadline.error(),
                None => Error::AttemptTimeout { after: *this.attempt },
            })
        })
    }
}
