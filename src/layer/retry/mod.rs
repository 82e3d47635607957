//! Retry: repeats a failed attempt when that is safe, useful and affordable;
//! otherwise notes why it does not.
//!
//! An attempt is repeated when the policy lists its outcome and
//!
//! * attempts are left, and the request's deadline leaves time for one, also
//!   after the wait that a `Retry-After` asks for,
//! * no server can have seen the failed attempt, or the policy lists the method
//!   and nothing was upgraded,
//! * the request body can be sent again from its beginning ([`Replay`]),
//! * the route's [`Budget`] holds a retry, if a server may have worked on the
//!   failed attempt.
//!
//! If one of these does not hold, the outcome of the last attempt is that of
//! the request, and the access line names the first one (`not_retried`). The
//! layer refuses nothing by itself. From the first attempt to the response head
//! it holds the part of the request body that has passed, up to `retry.buffer`
//! bytes.
//!
//! tower's `Retry` asks a `Policy` for a future that says whether to retry.
//! This one keeps the first attempt, which is the last one of nearly all
//! requests, in the future of the layer; what follows a failure is an ordinary
//! `async` function with a loop, and boxed. It also repeats bodies and passes
//! on whether a server may have seen any attempt.
//!
//! # Order
//!
//! The checks run in the order in which they are listed. The budget comes last,
//! since a retry that it allows is spent. Between two attempts the request
//! waits for a random time, from zero up to a base that doubles with each
//! attempt and ends at `max_backoff`. It does not wait where a pooled
//! connection was found closed, or where another server can be asked at once.
//!
//! After a response with `Retry-After`, it waits for that time first, also if
//! another server could be asked: what limits its clients or is overloaded is
//! rarely one server alone, and a server that asks for rest is soon left alone
//! by all requests (`cool_down` of its upstream). Envoy does the same
//! (`rate_limited_retry_back_off`).
//!
//! # Bounds
//!
//! A request makes at most `retry.attempts` attempts, the first one included.
//! All of them share the request's deadline. The budget bounds the retries of
//! the whole route; retries of attempts that no server has begun with are not
//! charged to it.
//!
//! # Cancellation
//!
//! The layer holds the attempt and the kept body, and both are dropped with its
//! future. A retry that is cancelled is counted with the outcome `client_gone`;
//! the budget does not get it back.

mod budget;
mod replay;
mod retries;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use http::{StatusCode, header};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

pub use self::budget::Budget;
use self::replay::Replay;
use crate::{
    call::{Call, Deadline, Exchange, Uploading, grpc},
    error::{Error, Failed, Seen},
    message::Response,
    policy::{Failures, Retry as Policy},
    retry_after::retry_after,
    runtime::worker,
};

/// Adds [`Retry`].
///
/// It belongs inside of concurrency limits, so that a permit covers all
/// attempts, and outside of the timeout of one attempt.
#[derive(Debug, Clone)]
pub struct RetryLayer {
    /// Which outcomes are retried, how often, and after which wait.
    policy: Arc<Policy>,
    /// Shared with the layers that earlier configurations have made for the
    /// route.
    budget: Arc<Budget>,
}

impl RetryLayer {
    /// Retries as `policy` says; `budget` is that of the route, over all
    /// workers and reloads.
    pub fn new(policy: &Policy, budget: &Arc<Budget>) -> Self {
        Self {
            policy: Arc::new(policy.clone()),
            budget: Arc::clone(budget),
        }
    }
}

impl<S: Clone> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry {
            shared: Arc::new(Shared {
                policy: Arc::clone(&self.policy),
                budget: Arc::clone(&self.budget),
                inner: inner.clone(),
            }),
            inner,
        }
    }
}

/// The parts of the layer that all requests of a route share.
#[derive(Debug)]
struct Shared<S> {
    /// The policy of the route.
    policy: Arc<Policy>,
    /// The budget of the route, over all workers and reloads.
    budget: Arc<Budget>,
    /// Cloned for each retry. In here, so that a request that needs none pays
    /// for no clone.
    inner: S,
}

/// Repeats failed attempts.
#[derive(Debug, Clone)]
pub struct Retry<S> {
    /// Makes the first attempt.
    inner: S,
    /// Used by retries, and to count requests.
    shared: Arc<Shared<S>>,
}

impl<S> Service<Call> for Retry<S>
where
    S: Service<Call, Response = Response, Error = Failed, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    type Response = Response;
    type Error = Failed;
    /// Boxed: it is moved through all layers further out, each of which would
    /// copy 200 bytes more. The box costs half of that.
    type Future = Pin<Box<ResponseFuture<S, S::Future>>>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.inner.poll_ready(cx)
    }

    #[inline(never)]
    fn call(&mut self, mut call: Call) -> Self::Future {
        self.shared
            .budget
            .deposit(worker::current(), call.exchange.started);
        let attempts = Attempts::new(&self.shared, &mut call);
        Box::pin(ResponseFuture {
            state: State::First {
                attempt: self.inner.call(call),
            },
            attempts: Some(attempts),
        })
    }
}

pin_project! {
    /// A request that is repeated until an attempt succeeds, or no further one
    /// may follow.
    pub struct ResponseFuture<S, F> {
        #[pin]
        state: State<F>,
        // Moved into the future of the retries if there is one.
        attempts: Option<Attempts<S>>,
    }
}

/// The outcome of the retries of a request.
type Retrying = Pin<Box<dyn Future<Output = Result<Response, Failed>> + Send>>;

pin_project! {
    /// The state of a request that has no final outcome yet.
    #[project = StateProj]
    enum State<F> {
        First { #[pin] attempt: F },
        Retrying { outcome: Retrying },
        /// The first attempt is dropped, and no retry has taken its place. A
        /// future that stays in this state has returned its outcome.
        Over,
    }
}

impl<S, F> Future for ResponseFuture<S, F>
where
    S: Service<Call, Response = Response, Error = Failed, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    F: Future<Output = Result<Response, Failed>>,
{
    type Output = Result<Response, Failed>;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let outcome = match this.state.as_mut().project() {
            StateProj::First { attempt } => ready!(attempt.poll(cx)),
            StateProj::Retrying { outcome } => return outcome.as_mut().poll(cx),
            StateProj::Over => return Poll::Pending,
        };
        let failure = match this.attempts {
            Some(attempts) => attempts.failure(&outcome),
            None => None,
        };
        let Some(failure) = failure else {
            return Poll::Ready(outcome);
        };
        // Drops the attempt, which gives the rest of the request body back to
        // be repeated.
        this.state.set(State::Over);
        let attempts = this.attempts.take();
        let Some(mut retries) = attempts.and_then(|attempts| attempts.follow(failure)) else {
            return Poll::Ready(outcome);
        };
        drop(outcome);
        let polled = retries.as_mut().poll(cx);
        this.state.set(State::Retrying { outcome: retries });
        polled
    }
}

impl<S, F> std::fmt::Debug for ResponseFuture<S, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Everything that the retries of a request need, and the state of its attempts
/// so far.
struct Attempts<S> {
    /// The request as received.
    exchange: Arc<Exchange>,
    /// The time by which the response must have begun.
    deadline: Option<Deadline>,
    /// As in each [`Call`].
    abandoned_timeout: Option<Duration>,
    /// Set if the body arrives in pieces: the deadline then moves.
    uploading: Option<Arc<Uploading>>,
    /// The body for the next attempt; `None` if there is no body. Boxed, since
    /// the future of every request has room for it and most have no body.
    replay: Option<Box<Replay>>,
    shared: Arc<Shared<S>>,
    /// Attempts made, the first one included.
    made: u32,
    /// A retry has begun and has no outcome yet.
    is_retrying: bool,
    /// Whether a server may have seen one of the attempts before the last.
    seen: Seen,
}

impl<S> Attempts<S> {
    /// The attempts of a request of which the first one begins. They keep its
    /// body if it can be needed again.
    fn new(shared: &Arc<Shared<S>>, call: &mut Call) -> Self {
        let policy = &shared.policy;
        // Most requests have no body: nothing to keep, nothing to repeat.
        let replay = if call.body.is_empty() || policy.attempts.get() == 1 {
            None
        } else {
            let body = std::mem::take(&mut call.body);
            let replay = Replay::new(body, policy.buffer);
            call.body = replay.body();
            Some(Box::new(replay))
        };
        Self {
            exchange: Arc::clone(&call.exchange),
            deadline: call.deadline,
            abandoned_timeout: call.abandoned_timeout,
            uploading: call.uploading.clone(),
            replay,
            shared: Arc::clone(shared),
            made: 1,
            is_retrying: false,
            seen: Seen::No,
        }
    }

    /// The failure that the policy retries, if the outcome of the last attempt
    /// is one.
    fn failure(&self, outcome: &Result<Response, Failed>) -> Option<RetryFailure> {
        let policy = &*self.shared.policy;
        // Where retries are switched off, their absence is not worth a note.
        if policy.attempts.get() == 1 {
            return None;
        }
        let is_call = self.exchange.grpc.is_some();
        match outcome {
            Ok(response) if policy.on.statuses.contains(status(response, is_call)) => {
                Some(of_response(response))
            }
            Ok(_) => None,
            Err(failed) => of_error(&policy.on, failed),
        }
    }
}

/// The failure of an attempt with this response, which the policy retries.
#[cold]
fn of_response(response: &Response) -> RetryFailure {
    let value = response.fields.get(&header::RETRY_AFTER);
    RetryFailure {
        seen: Seen::Maybe,
        has_alternative: false,
        after: value.and_then(|value| retry_after(value, SystemTime::now())),
        kind: FailureKind::Served,
    }
}

/// A failed attempt that the policy retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RetryFailure {
    /// Whether a server may have seen the attempt. One that none has seen is
    /// safe to repeat with every method.
    seen: Seen,
    /// Whether the retry can go to another server, which needs no time to
    /// recover.
    has_alternative: bool,
    /// The time for which the response asks to be left alone (`Retry-After`).
    after: Option<Duration>,
    kind: FailureKind,
}

/// The kinds of failures, by the cost of a retry and by its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureKind {
    /// No server began with the request: the retry adds no load and is not
    /// charged to the budget.
    Unprocessed,
    /// A pooled connection turned out to be closed. The retry opens a new one,
    /// at once, and is not charged.
    Stale,
    /// A server worked on the request, or may have: the retry is charged to the
    /// budget.
    Served,
}

/// The failure that the policy retries, if an attempt that ended with this
/// error is one.
fn of_error(on: &Failures, failed: &Failed) -> Option<RetryFailure> {
    let kind = match failed.error {
        Error::ConnectFailed { .. } | Error::Unprocessed { .. } if on.connect => {
            FailureKind::Unprocessed
        }
        Error::Stale { .. } if on.connect => FailureKind::Stale,
        Error::Reset {
            is_begun: false, ..
        } if on.reset => FailureKind::Served,
        Error::AttemptTimeout { .. } if on.timeout => FailureKind::Served,
        _ => return None,
    };
    Some(RetryFailure {
        seen: failed.seen,
        has_alternative: failed.has_alternative,
        after: None,
        kind,
    })
}

/// The status that a response counts as. A gRPC call that fails at once has its
/// own status in the head and not behind messages; it counts as the HTTP status
/// of the same meaning.
fn status(response: &Response, is_call: bool) -> StatusCode {
    let code = if is_call {
        response.fields.get(&grpc::STATUS)
    } else {
        None
    };
    code.and_then(grpc::status_for).unwrap_or(response.status)
}
