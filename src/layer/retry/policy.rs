//! Which outcomes are tried again: a pure decision, one reason a refusal.

use std::time::Duration;

use http::{Method, StatusCode};
use rand::RngExt;

use crate::{call::grpc, error::Error, message::Response};

/// A route's retries.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// What is tried again.
    pub on: Conditions,
    /// Methods that are tried again when the request may have been seen.
    pub methods: Vec<Method>,
    /// First wait; doubles.
    pub backoff: Duration,
    /// Longest wait.
    pub max_backoff: Duration,
    /// Bytes of a body kept for a replay.
    pub buffer: usize,
}

/// Outcomes that are tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// No connection, or a kept one that was closed before any byte of the answer.
    pub connect: bool,
    /// A connection that broke before any byte of the answer.
    pub reset: bool,
    /// An attempt that ran out of time.
    pub timeout: bool,
    /// Answers with these statuses.
    pub statuses: Vec<StatusCode>,
}

/// What an attempt's outcome means to a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An end, good or bad: nothing to try again.
    Final,
    /// To be tried again.
    Again {
        /// Certainly never seen by a server: safe for every method.
        is_unseen: bool,
        /// Charged to the budget.
        is_charged: bool,
        /// A kept connection was closed: the next try opens one, at once.
        is_stale: bool,
    },
}

/// What an answer counts as: that of a gRPC call that failed at once (its status is in the head, not behind messages) as
/// the HTTP status that means the same.
pub(super) fn status(response: &Response, is_call: bool) -> StatusCode {
    let code = if is_call {
        response.fields.get(&grpc::STATUS)
    } else {
        None
    };
    code.and_then(grpc::status_for).unwrap_or(response.status)
}

impl RetryPolicy {
    pub(super) fn judge(&self, outcome: &Result<StatusCode, &Error>) -> Verdict {
        let again = |applies: bool, is_unseen: bool, is_charged: bool, is_stale: bool| {
            if applies {
                Verdict::Again {
                    is_unseen,
                    is_charged,
                    is_stale,
                }
            } else {
                Verdict::Final
            }
        };
        match outcome {
            Ok(status) => again(self.on.statuses.contains(status), false, true, false),
            Err(Error::ConnectFailed { .. } | Error::Unbegun { .. }) => {
                again(self.on.connect, true, false, false)
            }
            Err(Error::Stale { written, .. }) => again(self.on.connect, !written, false, true),
            Err(Error::Reset { is_begun, .. }) => {
                again(self.on.reset && !is_begun, false, true, false)
            }
            Err(Error::AttemptTimeout { .. }) => again(self.on.timeout, false, true, false),
            Err(_) => Verdict::Final,
        }
    }

    /// The wait before attempt `attempt` (2 is the first retry): anything up to the doubled base, so that clients that
    /// failed together do not come back together ("full jitter", Brooker, AWS Architecture Blog, 2015).
    pub(super) fn wait(&self, attempt: u32) -> Duration {
        let doubled = self
            .backoff
            .saturating_mul(1 << (attempt.saturating_sub(2)).min(30));
        doubled.min(self.max_backoff).mul_f64(rand::rng().random())
    }
}
