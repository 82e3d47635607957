//! `concurrency` of a route or an upstream.

use super::super::{
    field::{Field, Given},
    problem::{Code, Problem, Problems},
    source::Span,
    wire::routes::{self as wire, Adaptive},
};
use crate::policy::{AdaptiveBounds, Bound, Concurrency};

/// The cap of a route or an upstream; `Some(None)` is none.
pub(super) fn concurrency(
    entry: &Option<Field<wire::Concurrency>>,
    problems: &mut Problems,
) -> Option<Option<Concurrency>> {
    let Some(field) = entry else {
        return Some(None);
    };
    let concurrency = field.value()?;
    let bound = bound(concurrency, field.at(), problems);
    if concurrency.fair_by.is_broken() {
        return None;
    }
    Some(Some(Concurrency {
        bound: bound?,
        queue: concurrency.queue.read()?,
        queue_timeout: concurrency.queue_timeout.read()?,
        fair_by: concurrency.fair_by.read().unwrap_or_default(),
    }))
}

fn bound(concurrency: &wire::Concurrency, at: Span, problems: &mut Problems) -> Option<Bound> {
    match (&concurrency.max, &concurrency.adaptive) {
        (Some(max), Some(adaptive)) => {
            let message =
                "`max` and `adaptive` exclude each other: a cap is fixed or follows the latency";
            let problem = Problem::new(Code::Conflict, adaptive.place(at), message)
                .also(max.place(at), "the other");
            problems.report(
                problem
                    .help("keep one of the two; `adaptive = { min, max }` has a `max` of its own"),
            );
            None
        }
        (Some(max), None) => max.read().map(Bound::Fixed),
        (None, Some(adaptive)) => self::adaptive(adaptive.value()?, at, problems),
        (None, None) => {
            if !problems.incomplete {
                problems.report(no_cap(concurrency, at));
            }
            None
        }
    }
}

fn adaptive(adaptive: &Adaptive, at: Span, problems: &mut Problems) -> Option<Bound> {
    let (min, max) = (adaptive.min.read()?, adaptive.max.read()?);
    if min > max {
        let message = format!("`min` is above `max`, which is {max}");
        let problem = Problem::new(Code::Conflict, adaptive.min.place(at), message)
            .also(adaptive.max.place(at), "here");
        problems.report(problem.help("the cap moves from `min` up to `max`"));
        return None;
    }
    Some(Bound::Adaptive(AdaptiveBounds { min, max }))
}

fn no_cap(concurrency: &wire::Concurrency, at: Span) -> Problem {
    let what = match concurrency.queue.entry() {
        Some(_) => "a queue without a cap",
        None => "`concurrency` without `max`",
    };
    Problem::new(
        Code::MissingKey,
        concurrency.queue.place(at),
        format!("{what} never has anyone waiting"),
    )
    .help("add `max = N`: how many requests may be in flight; or `adaptive = { min = N, max = N }`")
}
