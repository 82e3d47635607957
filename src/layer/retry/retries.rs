//! The retries of a request: whether another attempt may follow a failed one,
//! after which wait, and the attempt itself.
//!
//! Nearly all requests end with their first attempt and never come here.

use std::{sync::Arc, time::Duration};

use rand::RngExt;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};

use super::{Attempts, FailureKind, RetryFailure, Retrying};
use crate::{
    body::Body,
    call::Call,
    error::{Failed, Seen},
    layer::one_of::call_rarely,
    message::Response,
    policy::Retry as Policy,
};

/// The longest wait of a request that has no deadline at the moment, because
/// its body flows.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How the next attempt begins.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// The wait before it; `None` begins it at once.
    wait: Option<Duration>,
    /// It opens a new connection: the pooled one of the last attempt turned out
    /// to be closed.
    new_connection: bool,
}

/// Why a failed attempt is not repeated although the policy lists its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// As many attempts as the policy allows were made.
    Attempts,
    /// A server may have seen the attempt, and the policy does not list the
    /// method.
    Method,
    /// A server may have seen the attempt, which asked for another protocol.
    Upgrade,
    /// The body cannot be sent again from its beginning.
    Body,
    /// The next attempt would not begin before the request's deadline.
    Deadline,
    /// It would begin before the deadline, but for the `Retry-After` of the
    /// response.
    RetryAfter,
    /// The budget of the route holds no retry.
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
            Self::RetryAfter => "retry_after",
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

impl<S> Attempts<S> {
    /// Decides whether another attempt follows `failure`, and notes why if none
    /// does. The failed attempt is dropped by then.
    fn plan(&mut self, failure: RetryFailure) -> Option<Plan> {
        let now = Instant::now();
        let new_connection = failure.kind == FailureKind::Stale;
        let wait = if new_connection || failure.has_alternative {
            None
        } else {
            let asked = failure.after.unwrap_or_default();
            // Requests that were refused together do not come back together.
            Some(asked.saturating_add(backoff(&self.shared.policy, self.made + 1)))
        };
        let obstacle = self
            .obstacle(failure, now, wait.unwrap_or_default())
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
        Some(Plan {
            wait,
            new_connection,
        })
    }

    /// Why no attempt can follow `failure` after this `wait`, the budget aside.
    fn obstacle(&self, failure: RetryFailure, now: Instant, wait: Duration) -> Option<Obstacle> {
        let (policy, request) = (&self.shared.policy, &self.exchange.request);
        let is_seen = failure.seen == Seen::Maybe;
        if self.made >= policy.attempts.get() {
            Some(Obstacle::Attempts)
        } else if is_seen && !policy.methods.contains(&request.method) {
            Some(Obstacle::Method)
        } else if is_seen && request.upgrade.is_some() {
            // The server may have begun something that a second request would
            // double, whatever the method says.
            Some(Obstacle::Upgrade)
        } else if self.replay.as_ref().is_some_and(|body| !body.can_replay()) {
            Some(Obstacle::Body)
        } else if wait >= self.time_left(now) {
            Some(match failure.after {
                Some(_) => Obstacle::RetryAfter,
                None => Obstacle::Deadline,
            })
        } else {
            None
        }
    }

    /// Why the budget does not allow a retry now. One that it allows is spent.
    fn unaffordable(&self, failure: RetryFailure, now: Instant) -> Option<Obstacle> {
        let is_charged = failure.kind == FailureKind::Served;
        (is_charged && !self.shared.budget.withdraw(now)).then_some(Obstacle::Budget)
    }

    /// Adds to the metric of retries.
    fn count(&self, outcome: &'static str) {
        self.exchange.route.metrics.retried(outcome);
    }

    /// The time from `now` to the deadline, between two attempts. Without one,
    /// no wait is longer than [`LONGEST_WAIT`].
    fn time_left(&self, now: Instant) -> Duration {
        let deadline = match &self.uploading {
            Some(uploading) => uploading.deadline(),
            None => self.deadline,
        };
        deadline.map_or(LONGEST_WAIT, |deadline| {
            deadline.at.saturating_duration_since(now)
        })
    }
}

impl<S> Attempts<S>
where
    S: Service<Call, Response = Response, Error = Failed, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    /// The attempts that follow a `failure` of the first one; `None` if none
    /// does. The failed attempt is dropped by then.
    pub(super) fn follow(mut self, failure: RetryFailure) -> Option<Retrying> {
        let plan = self.plan(failure)?;
        Some(Box::pin(self.run(plan)))
    }

    /// Makes the attempts that follow the first one, as long as
    /// [`plan`](Self::plan) allows.
    async fn run(mut self, mut plan: Plan) -> Result<Response, Failed> {
        loop {
            if let Some(wait) = plan.wait {
                sleep(wait).await;
            }
            let begun = Instant::now();
            let outcome = self.attempt(begun, plan.new_connection).await;
            self.is_retrying = false;
            let failure = self.failure(&outcome);
            let is_success = failure.is_none() && outcome.is_ok();
            self.count(if is_success { "success" } else { "failure" });
            if let Some(failure) = failure
                && let Some(next) = self.plan(failure)
            {
                plan = next;
                continue;
            }
            // Set here only, at the end of all attempts.
            let _ = self.exchange.progress.last_of_several.set(begun.elapsed());
            return outcome.map_err(|failed| Failed {
                seen: failed.seen.max(self.seen),
                ..failed
            });
        }
    }

    /// Makes an attempt that begins `now`.
    async fn attempt(&self, now: Instant, new_connection: bool) -> Result<Response, Failed> {
        let mut inner = self.shared.inner.clone();
        let inner = inner.ready().await?;
        let body = match &self.replay {
            Some(replay) => replay.body(),
            None => Body::empty(),
        };
        let call = Call {
            deadline: self.deadline,
            uploading: self.uploading.clone(),
            new_connection,
            abandoned_timeout: self.abandoned_timeout,
            ..Call::new(Arc::clone(&self.exchange), body, now)
        };
        call_rarely(inner, call).await
    }
}

impl<S> Drop for Attempts<S> {
    fn drop(&mut self) {
        if self.is_retrying {
            self.count("client_gone");
        }
    }
}

/// The wait before attempt `attempt`, of which 2 is the first retry. It is
/// drawn from zero up to the doubled base, so that clients that failed together
/// do not come back together ("full jitter", Brooker, AWS Architecture Blog,
/// 2015).
fn backoff(policy: &Policy, attempt: u32) -> Duration {
    let doubled = policy
        .backoff
        .saturating_mul(1 << (attempt.saturating_sub(2)).min(30));
    doubled
        .min(policy.max_backoff)
        .mul_f64(rand::rng().random())
}
