//! Which outcomes of an attempt are retried, and after how long: pure
//! decisions.

use std::time::Duration;

use http::StatusCode;
use rand::RngExt;

use crate::{
    call::grpc,
    error::{Error, Failed, Seen},
    message::Response,
    policy,
};

/// A failed attempt that the policy retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    /// Whether a server may have seen the attempt. One that none has seen is
    /// safe to repeat with every method.
    pub(super) seen: Seen,
    /// Whether the retry can go to another server, which needs no time to
    /// recover.
    pub(super) has_alternative: bool,
    pub(super) kind: FailureKind,
}

/// The kinds of failures, by the cost of a retry and by its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
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

/// The failure that `policy` retries, if the outcome of an attempt is one. The
/// request is a gRPC call if `is_call`.
pub(super) fn failure(
    policy: &policy::Retry,
    outcome: &Result<Response, Failed>,
    is_call: bool,
) -> Option<Failure> {
    match outcome {
        Ok(response) if policy.on.statuses.contains(&status(response, is_call)) => Some(Failure {
            seen: Seen::Maybe,
            has_alternative: false,
            kind: FailureKind::Served,
        }),
        Ok(_) => None,
        Err(failed) => of_error(&policy.on, failed),
    }
}

fn of_error(on: &policy::RetryOn, failed: &Failed) -> Option<Failure> {
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
    Some(Failure {
        seen: failed.seen,
        has_alternative: failed.has_alternative,
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

/// The wait before attempt `attempt`, of which 2 is the first retry. It is
/// drawn from zero up to the doubled base, so that clients that failed together
/// do not come back together ("full jitter", Brooker, AWS Architecture Blog, 2015).
pub(super) fn backoff(policy: &policy::Retry, attempt: u32) -> Duration {
    let doubled = policy
        .backoff
        .saturating_mul(1 << (attempt.saturating_sub(2)).min(30));
    doubled
        .min(policy.max_backoff)
        .mul_f64(rand::rng().random())
}
