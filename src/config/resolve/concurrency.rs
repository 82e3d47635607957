//! `concurrency` of a route or an upstream: a bound on requests in flight, and
//! the queue in front of it.
//!
//! The bound is either fixed (`max`) or follows the measured latency between
//! two others (`adaptive`). One of the two is required as soon as anything else
//! in the table is given: a queue without a bound never fills. A route may
//! inherit the queue from `[defaults]` and have the bound itself; `defaults`
//! drops an inherited queue that stays without one.
//!
//! Routes and upstreams have the same table, and this module resolves it for
//! both. The two limits are independent: a request takes a permit of its route
//! and one of its upstream.

use super::checks::{GivenKey, exclude};
use crate::config::{
    field::Given,
    problem::{Code, Problem, Problems},
    source::Span,
    wire::routes::{self as wire, Adaptive},
};
use crate::policy::{AdaptiveBounds, Bound, Concurrency};

/// The concurrency limit of a route or an upstream, whose table stands at `at`.
///
/// Without `fair_by` the key is empty, and the queue takes no turns. `None`
/// after a mistake in any key.
pub(super) fn concurrency(
    concurrency: &wire::Concurrency,
    at: Span,
    problems: &mut Problems,
) -> Option<Concurrency> {
    Some(Concurrency {
        bound: bound(concurrency, at, problems)?,
        queue: concurrency.queue.read()?,
        queue_timeout: concurrency.queue_timeout.read()?,
        fair_by: concurrency.fair_by.optional()?.unwrap_or_default(),
    })
}

/// The bound itself. `at` is the place of the table.
///
/// A table whose only keys are about the queue is a mistake, reported at the
/// queue if there is one.
fn bound(concurrency: &wire::Concurrency, at: Span, problems: &mut Problems) -> Option<Bound> {
    let (max, adaptive) = (&concurrency.max, &concurrency.adaptive);
    let keys = [
        GivenKey::given("max", max),
        GivenKey::given("adaptive", adaptive),
    ];
    let reason = ": a cap is fixed or follows the latency";
    let help = "keep one of the two; `adaptive = { min, max }` has a `max` of its own";
    if exclude(&keys, reason, help, problems) {
        return None;
    }
    if let Some(max) = max {
        return max.read().map(Bound::Fixed);
    }
    if let Some(adaptive) = adaptive {
        return self::adaptive(adaptive.value()?, problems);
    }
    // A part of the file that could not be read may have the bound.
    if !problems.incomplete {
        let subject = match concurrency.queue.is_present() {
            true => "a queue without a cap",
            false => "`concurrency` without `max`",
        };
        let message = format!("{subject} never has anyone waiting");
        let help = "add `max = N`: how many requests may be in flight; or `adaptive = { min = N, max = N }`";
        problems.error(Code::MissingKey, concurrency.queue.place(at), message, help);
    }
    None
}

/// A bound that moves. `min` and `max` may be equal, which fixes it.
///
/// Both are numbers of requests in flight, in all workers together.
fn adaptive(adaptive: &Adaptive, problems: &mut Problems) -> Option<Bound> {
    let (min, max) = (adaptive.min.read()?, adaptive.max.read()?);
    if min > max {
        let message = format!("`min` is above `max`, which is {max}");
        let problem = Problem::new(Code::Conflict, adaptive.min.at(), message);
        let problem = problem.also(adaptive.max.at(), "here");
        problems.report(problem.help("the cap moves from `min` up to `max`"));
        return None;
    }
    Some(Bound::Adaptive(AdaptiveBounds { min, max }))
}
