//! `concurrency` of a route or an upstream.

use super::{
    super::{
        model::Concurrency,
        problem::{Code, Problem, Problems},
        syntax::key,
        units,
    },
    reader::Reader,
};

/// The cap of a route or an upstream; `Some(None)` is none.
pub(super) fn concurrency(owner: Reader<'_>, problems: &mut Problems) -> Option<Option<Concurrency>> {
    if owner.entry("concurrency").is_none() {
        return Some(None);
    }
    let concurrency = owner.table("concurrency");
    if concurrency.entry("max").is_none() && !concurrency.is_broken("max") && !problems.incomplete {
        problems.report(no_cap(concurrency));
    }
    let (max, queue) = (concurrency.at_least_one("max"), concurrency.count("queue"));
    let queue_timeout = concurrency.parsed("queue_timeout", units::duration);
    if concurrency.is_broken("fair_by") {
        return None;
    }
    let fair_by = concurrency.list("fair_by", key::part);
    Some(Some(Concurrency { max: max?, queue: queue?, queue_timeout: queue_timeout?, fair_by }))
}

fn no_cap(concurrency: Reader<'_>) -> Problem {
    let (what, place) = match concurrency.entry("queue") {
        Some(_) => ("a queue without a cap", concurrency.place("queue")),
        None => ("`concurrency` without `max`", concurrency.at),
    };
    Problem::new(Code::MissingKey, place, format!("{what} never has anyone waiting"))
        .help("add `max = N`: how many requests may be in flight")
}
