//! Retry: repeats a failed attempt when that is safe, useful and affordable;
//! otherwise notes why it does not.
//!
//! An attempt is repeated when the policy lists its outcome and
//!
//! * attempts are left, and the request's deadline leaves time for one,
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

mod budget;
mod policy;
mod replay;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt};

pub use self::budget::Budget;
use self::{
    policy::{Failure, FailureKind, Verdict},
    replay::Replay,
};
use crate::{
    body::Body,
    call::{Call, Deadline, Exchange, Uploading},
    error::{Failed, Seen},
    message::Response,
    policy::Retry as Policy,
    runtime::worker,
};

/// Adds [`Retry`].
#[derive(Debug, Clone)]
pub struct RetryLayer {
    policy: Arc<Policy>,
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

/// Repeats failed attempts.
#[derive(Debug, Clone)]
pub struct Retry<S> {
    /// Makes the first attempt.
    inner: S,
    shared: Arc<Shared<S>>,
}

#[derive(Debug)]
struct Shared<S> {
    policy: Arc<Policy>,
    budget: Arc<Budget>,
    /// Cloned for each retry. In here, so that a request that needs none pays
    /// for no clone.
    inner: S,
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
    type Future = ResponseFuture<S, S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let Shared { policy, budget, .. } = &*self.shared;
        budget.deposit(worker::current(), call.exchange.started);
        let retries = Retries {
            exchange: Arc::clone(&call.exchange),
            deadline: call.deadline,
            linger: call.linger,
            uploading: call.uploading.clone(),
            // Most requests have no body: nothing to keep, nothing to repeat.
            replay: (!call.body.is_empty() && policy.attempts.get() > 1)
                .then(|| Replay::new(std::mem::take(&mut call.body), policy.buffer)),
            shared: Arc::clone(&self.shared),
            made: 1,
            is_retrying: false,
            seen: Seen::No,
        };
        if let Some(replay) = &retries.replay {
            call.body = replay.body();
        }
        ResponseFuture {
            state: State::First {
                attempt: self.inner.call(call),
            },
            retries: Some(retries),
        }
    }
}

pin_project! {
    /// A request that is repeated until an attempt succeeds, or no further one
    /// may follow.
    pub struct ResponseFuture<S, F> {
        #[pin]
        state: State<F>,
        // Moved into the future of the retries when there is one.
        retries: Option<Retries<S>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        First { #[pin] attempt: F },
        Retrying { outcome: Pin<Box<dyn Future<Output = Result<Response, Failed>> + Send>> },
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let outcome = match this.state.as_mut().project() {
            StateProj::First { attempt } => ready!(attempt.poll(cx)),
            StateProj::Retrying { outcome } => return outcome.as_mut().poll(cx),
            StateProj::Over => return Poll::Pending,
        };
        let failure = match this.retries.as_mut().map(|retries| retries.judge(&outcome)) {
            None | Some(Verdict::Final) => return Poll::Ready(outcome),
            Some(Verdict::Retry(failure)) => failure,
        };
        // Drops the attempt, which gives the rest of the request body back to
        // be repeated.
        this.state.set(State::Over);
        let Some(mut retries) = this.retries.take() else {
            return Poll::Ready(outcome);
        };
        let Some(plan) = retries.plan(failure) else {
            return Poll::Ready(outcome);
        };
        drop(outcome);
        let mut outcome = Box::pin(retries.run(plan));
        let polled = outcome.as_mut().poll(cx);
        this.state.set(State::Retrying { outcome });
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
struct Retries<S> {
    exchange: Arc<Exchange>,
    deadline: Option<Deadline>,
    linger: Option<Duration>,
    uploading: Option<Arc<Uploading>>,
    replay: Option<Replay>,
    shared: Arc<Shared<S>>,
    /// Attempts made, the first one included.
    made: u32,
    /// A retry has begun and has no outcome yet.
    is_retrying: bool,
    /// Whether a server may have seen one of the attempts before the last.
    seen: Seen,
}

/// How the next attempt begins.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// The wait before it; `None` begins it at once.
    wait: Option<Duration>,
    /// It opens a new connection: the pooled one of the last attempt turned out
    /// to be closed.
    fresh: bool,
}

/// Why a failed attempt is not repeated although the policy lists its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    Attempts,
    Method,
    Upgrade,
    Body,
    Deadline,
    Budget,
}

impl Obstacle {
    /// The field `not_retried` of the access line.
    fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Method => "method",
            Self::Upgrade => "upgrade",
            Self::Body => "body",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
        }
    }

    /// The label `outcome` of the metric of retries; `None` where the last
    /// retry was counted as a failure already.
    fn outcome(self) -> Option<&'static str> {
        match self {
            Self::Attempts => None,
            Self::Upgrade => Some(Self::Method.as_str()),
            other => Some(other.as_str()),
        }
    }
}

impl<S> Retries<S> {
    /// Judges the outcome of the last attempt, and counts it if that was a
    /// retry.
    fn judge(&mut self, outcome: &Result<Response, Failed>) -> Verdict {
        let is_call = self.exchange.request.grpc.is_some();
        let policy = &*self.shared.policy;
        let verdict = policy::judge(policy, outcome, is_call);
        if self.is_retrying {
            self.is_retrying = false;
            let is_success = verdict == Verdict::Final && outcome.is_ok();
            self.count(if is_success { "success" } else { "failure" });
        }
        // Where retries are switched off, their absence is not worth a note.
        if policy.attempts.get() == 1 {
            return Verdict::Final;
        }
        verdict
    }

    /// Decides whether another attempt follows `failure`, and notes why if none
    /// does. The failed attempt is dropped by then.
    fn plan(&mut self, failure: Failure) -> Option<Plan> {
        let now = Instant::now();
        let fresh = failure.kind == FailureKind::Stale;
        let wait = if fresh || failure.has_alternative {
            None
        } else {
            Some(policy::backoff(&self.shared.policy, self.made + 1))
        };
        let obstacle = self
            .obstacle(failure, now + wait.unwrap_or_default())
            // Asked last, as a retry that the budget allows is spent.
            .or_else(|| self.unaffordable(failure, now));
        if let Some(obstacle) = obstacle {
            self.exchange.not_retried(obstacle.as_str());
            if let Some(outcome) = obstacle.outcome() {
                self.count(outcome);
            }
            return None;
        }
        self.made += 1;
        self.is_retrying = true;
        self.seen = self.seen.max(failure.seen);
        Some(Plan { wait, fresh })
    }

    /// Why no attempt that would begin at `begin` can follow `failure`, the
    /// budget aside.
    fn obstacle(&self, failure: Failure, begin: Instant) -> Option<Obstacle> {
        let (policy, request) = (&self.shared.policy, &self.exchange.request);
        let is_seen = failure.seen == Seen::Maybe;
        if self.made >= policy.attempts.get() {
            Some(Obstacle::Attempts)
        } else if is_seen && !policy.methods.contains(&request.method) {
            Some(Obstacle::Method)
        } else if is_seen && request.upgrade.is_some() {
            // Whatever the method says, the server may have begun something
            // that a second request would double.
            Some(Obstacle::Upgrade)
        } else if self.replay.as_ref().is_some_and(|body| !body.can_replay()) {
            Some(Obstacle::Body)
        } else if self.deadline().is_some_and(|deadline| begin >= deadline.at) {
            Some(Obstacle::Deadline)
        } else {
            None
        }
    }

    fn unaffordable(&self, failure: Failure, now: Instant) -> Option<Obstacle> {
        let is_charged = failure.kind == FailureKind::Served;
        (is_charged && !self.shared.budget.withdraw(now)).then_some(Obstacle::Budget)
    }

    fn count(&self, outcome: &'static str) {
        self.exchange.route.metrics.retried(outcome);
    }

    /// The deadline as of now, between two attempts.
    fn deadline(&self) -> Option<Deadline> {
        self.uploading
            .as_ref()
            .map_or(self.deadline, |uploading| uploading.deadline())
    }
}

impl<S> Retries<S>
where
    S: Service<Call, Response = Response, Error = Failed> + Clone,
{
    /// Makes the attempts that follow the first one, as long as
    /// [`plan`](Self::plan) allows.
    async fn run(mut self, mut plan: Plan) -> Result<Response, Failed> {
        loop {
            if let Some(wait) = plan.wait {
                sleep(wait).await;
            }
            let outcome = self.attempt(plan.fresh).await;
            if let Verdict::Retry(failure) = self.judge(&outcome)
                && let Some(next) = self.plan(failure)
            {
                plan = next;
                continue;
            }
            return outcome.map_err(|failed| Failed {
                seen: failed.seen.max(self.seen),
                ..failed
            });
        }
    }

    async fn attempt(&self, fresh: bool) -> Result<Response, Failed> {
        let mut inner = self.shared.inner.clone();
        let inner = inner.ready().await?;
        let call = Call {
            exchange: Arc::clone(&self.exchange),
            body: self.replay.as_ref().map_or_else(Body::empty, Replay::body),
            deadline: self.deadline,
            uploading: self.uploading.clone(),
            fresh,
            now: Instant::now(),
            attempt_deadline: None,
            linger: self.linger,
        };
        inner.call(call).await
    }
}

impl<S> Drop for Retries<S> {
    fn drop(&mut self) {
        if self.is_retrying {
            self.count("client_gone");
        }
    }
}
