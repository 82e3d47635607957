//! `concurrency` of a route or an upstream.

use super::{
    super::{
        problem::{Code, Problem, Problems},
        syntax::key,
        units,
    },
    reader::Reader,
};
use crate::policy::{AdaptiveBounds, Bound, Concurrency};

/// The cap of a route or an upstream; `Some(None)` is none.
pub(super) fn concurrency(
    owner: Reader<'_>,
    problems: &mut Problems,
) -> Option<Option<Concurrency>> {
    if owner.entry("concurrency").is_none() {
        return Some(None);
    }
    let concurrency = owner.table("concurrency");
    let bound = bound(concurrency, problems);
    let (queue, queue_timeout) = (
        concurrency.count("queue"),
        concurrency.parsed("queue_timeout", units::duration),
    );
    if concurrency.is_broken("fair_by") {
        return None;
    }
    let fair_by = concurrency.list("fair_by", key::part);
    Some(Some(Concurrency {
        bound: bound?,
        queue: queue?,
        queue_timeout: queue_timeout?,
        fair_by,
    }))
}

fn bound(concurrency: Reader<'_>, problems: &mut Problems) -> Option<Bound> {
    match (
        concurrency.entry("max").is_some(),
        concurrency.entry("adaptive").is_some(),
    ) {
        (true, true) => {
            let message =
                "`max` and `adaptive` exclude each other: a cap is fixed or follows the latency";
            let problem = Problem::new(Code::Conflict, concurrency.place("adaptive"), message);
            let problem = problem.also(concurrency.place("max"), "the other");
            problems.report(
                problem
                    .help("keep one of the two; `adaptive = { min, max }` has a `max` of its own"),
            );
            None
        }
        (true, false) => concurrency.at_least_one("max").map(Bound::Fixed),
        (false, true) => adaptive(concurrency.table("adaptive"), problems),
        (false, false) => {
            if !concurrency.is_broken("max") && !problems.incomplete {
                problems.report(no_cap(concurrency));
            }
            None
        }
    }
}

fn adaptive(adaptive: Reader<'_>, problems: &mut Problems) -> Option<Bound> {
    let (min, max) = (adaptive.at_least_one("min")?, adaptive.at_least_one("max")?);
    if min > max {
        let message = format!("`min` is above `max`, which is {max}");
        let problem = Problem::new(Code::Conflict, adaptive.place("min"), message)
            .also(adaptive.place("max"), "here");
        problems.report(problem.help("the cap moves from `min` up to `max`"));
        return None;
    }
    Some(Bound::Adaptive(AdaptiveBounds { min, max }))
}

fn no_cap(concurrency: Reader<'_>) -> Problem {
    let (what, place) = match concurrency.entry("queue") {
        Some(_) => ("a queue without a cap", concurrency.place("queue")),
        None => ("`concurrency` without `max`", concurrency.at),
    };
    Problem::new(
        Code::MissingKey,
        place,
        format!("{what} never has anyone waiting"),
    )
    .help("add `max = N`: how many requests may be in flight; or `adaptive = { min = N, max = N }`")
}
