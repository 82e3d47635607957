//! Retry: what failed is tried again when that is safe, useful and affordable; otherwise the failure says why it was not.

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
use tokio::time::{Instant, Sleep, sleep};
use tower::{Layer, Service};

pub use self::{
    budget::Budget,
    policy::{Conditions, RetryPolicy},
};
use self::{policy::Verdict, replay::Replay};
use crate::{
    body::Body,
    call::{Call, Deadline, Exchange, Uploading},
    error::Error,
    message::Response,
    runtime::worker,
};

/// Adds [`Retry`].
#[derive(Debug, Clone)]
pub struct RetryLayer {
    /// What is tried again, and how often.
    pub policy: Arc<RetryPolicy>,
    /// What it may cost the upstream.
    pub budget: Arc<Budget>,
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry {
            inner,
            policy: Arc::clone(&self.policy),
            budget: Arc::clone(&self.budget),
        }
    }
}

/// Tries again.
#[derive(Debug, Clone)]
pub struct Retry<S> {
    inner: S,
    policy: Arc<RetryPolicy>,
    budget: Arc<Budget>,
}

impl<S> Service<Call> for Retry<S>
where
    S: Service<Call, Response = Response, Error = Error> + Clone,
{
    type Response = Response;
    type Error = Error;
    type Future = ResponseFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        self.budget
            .deposit(worker::current(), call.exchange.started);
        let attempts = Attempts {
            exchange: Arc::clone(&call.exchange),
            deadline: call.deadline,
            linger: call.linger,
            uploading: call.uploading.clone(),
            policy: Arc::clone(&self.policy),
            budget: Arc::clone(&self.budget),
            made: 1,
            is_retrying: false,
            is_seen: false,
            // Most requests have no body: nothing to keep, nothing to replay.
            replay: (!call.body.is_empty() && self.policy.attempts > 1)
                .then(|| Replay::new(std::mem::take(&mut call.body), self.policy.buffer)),
        };
        if let Some(replay) = &attempts.replay {
            call.body = replay.body();
        }
        ResponseFuture {
            state: State::Trying {
                attempt: self.inner.call(call),
            },
            attempts,
            inner: self.inner.clone(),
        }
    }
}

/// The attempts of one call.
struct Attempts {
    exchange: Arc<Exchange>,
    deadline: Option<Deadline>,
    linger: Option<Duration>,
    uploading: Option<Arc<Uploading>>,
    policy: Arc<RetryPolicy>,
    budget: Arc<Budget>,
    made: u32,
    /// A retry has begun that has no outcome yet.
    is_retrying: bool,
    /// A server may have served one of them, but the last.
    is_seen: bool,
    replay: Option<Replay>,
}

impl Attempts {
    fn body(&self) -> Body {
        self.replay.as_ref().map_or_else(Body::empty, Replay::body)
    }

    /// Whether, after this outcome, another attempt follows: after what wait, and whether by a new connection.
    fn again(
        &mut self,
        outcome: &Result<Response, Error>,
    ) -> Option<(Option<Pin<Box<Sleep>>>, bool)> {
        let is_call = self.exchange.request.grpc.is_some();
        let judged = outcome
            .as_ref()
            .map(|response| policy::status(response, is_call));
        let verdict = self.policy.judge(&judged);
        if std::mem::take(&mut self.is_retrying) {
            let is_good = verdict == Verdict::Final && outcome.is_ok();
            self.count(if is_good { "success" } else { "failure" });
        }
        let Verdict::Again {
            is_unseen,
            is_charged,
            is_stale,
        } = verdict
        else {
            return None;
        };
        if self.policy.attempts == 1 {
            // Retries are switched off: that is no news.
            return None;
        }
        let now = Instant::now();
        // A server that was not asked need not be given time: another one is asked at once.
        let is_passed_over = is_unseen && self.exchange.facts.lock().has_other_server;
        let wait = (!is_stale && !is_passed_over).then(|| self.policy.wait(self.made + 1));
        let begin = now + wait.unwrap_or_default();
        if let Some(reason) = self
            .obstacle(is_unseen, begin)
            .or_else(|| self.unaffordable(is_charged, now))
        {
            self.exchange.facts.lock().not_retried = Some(reason);
            match reason {
                // Counted as the failure of the last retry.
                "attempts" => {}
                "upgrade" => self.count("method"),
                reason => self.count(reason),
            }
            return None;
        }
        self.made += 1;
        self.is_retrying = true;
        self.is_seen |= !outcome.as_ref().is_err_and(Error::served_nothing);
        Some((wait.map(|wait| Box::pin(sleep(wait))), is_stale))
    }

    /// Why what failed cannot be tried again, by an attempt that would `begin` then.
    fn obstacle(&self, is_unseen: bool, begin: Instant) -> Option<&'static str> {
        if self.made >= self.policy.attempts {
            Some("attempts")
        } else if !is_unseen && !self.policy.methods.contains(&self.exchange.request.method) {
            Some("method")
        } else if !is_unseen && self.exchange.request.upgrade.is_some() {
            // Whatever its method says, the server may have begun something that a second request would double.
            Some("upgrade")
        } else if self
            .replay
            .as_ref()
            .is_some_and(|replay| !replay.can_replay())
        {
            Some("body")
        } else if self.deadline().is_some_and(|deadline| begin >= deadline.at) {
            Some("deadline")
        } else {
            None
        }
    }

    /// Asked last, as what it allows is spent.
    fn unaffordable(&self, is_charged: bool, now: Instant) -> Option<&'static str> {
        (is_charged && !self.budget.withdraw(now)).then_some("budget")
    }

    fn count(&self, outcome: &'static str) {
        self.exchange.route.metrics.retried(outcome);
    }

    /// The outcome of the last attempt as that of all.
    fn told(&self, outcome: Result<Response, Error>) -> Result<Response, Error> {
        if self.is_seen {
            outcome.map_err(Error::after_one_was_seen)
        } else {
            outcome
        }
    }

    fn call(&self, fresh: bool) -> Call {
        Call {
            exchange: Arc::clone(&self.exchange),
            body: self.body(),
            deadline: self.deadline,
            uploading: self.uploading.clone(),
            fresh,
            now: Instant::now(),
            patience: None,
            linger: self.linger,
        }
    }

    /// The deadline as of now, between two attempts.
    fn deadline(&self) -> Option<Deadline> {
        self.uploading
            .as_ref()
            .map_or(self.deadline, |uploading| uploading.deadline())
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        if self.is_retrying {
            self.count("client_gone");
        }
    }
}

pin_project! {
    /// A call that is tried until it succeeds or may not be tried again.
    pub struct ResponseFuture<S: Service<Call>> {
        #[pin]
        state: State<S::Future>,
        attempts: Attempts,
        inner: S,
    }
}

pin_project! {
    #[project = Step]
    enum State<F> {
        Trying { #[pin] attempt: F },
        /// Boxed, as it is rare and large.
        Waiting { wait: Pin<Box<Sleep>> },
        Between,
    }
}

impl<S> Future for ResponseFuture<S>
where
    S: Service<Call, Response = Response, Error = Error>,
{
    type Output = Result<Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let is_fresh = match this.state.as_mut().project() {
                Step::Waiting { wait } => {
                    ready!(wait.as_mut().poll(cx));
                    false
                }
                Step::Trying { attempt } => {
                    let outcome = ready!(attempt.poll(cx));
                    // Drops what is left of the attempt, which hands the rest of the body back.
                    this.state.set(State::Between);
                    match this.attempts.again(&outcome) {
                        None => return Poll::Ready(this.attempts.told(outcome)),
                        Some((Some(wait), _)) => {
                            this.state.set(State::Waiting { wait });
                            continue;
                        }
                        Some((None, is_fresh)) => is_fresh,
                    }
                }
                Step::Between => false,
            };
            let attempt = this.inner.call(this.attempts.call(is_fresh));
            this.state.set(State::Trying { attempt });
        }
    }
}

impl<S: Service<Call>> std::fmt::Debug for ResponseFuture<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("made", &self.attempts.made)
            .finish_non_exhaustive()
    }
}
