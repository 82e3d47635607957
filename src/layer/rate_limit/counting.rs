//! Limits that count answers: looked up before, taken when the answer's status is known.
//!
//! Only an answer counts that the upstream gave, or the route itself where it has none. What the gateway says in its
//! stead (a cap, a timeout, a failed connect) says nothing of the client. A client that leaves before its answer learns
//! nothing from it, and is charged nothing.

use http::StatusCode;
use smallvec::SmallVec;

use super::{LimitPolicy, decision::Asked};
use crate::{
    call::{Exchange, Nearest},
    limit::{Now, Quota},
};

/// Statuses of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Those within any of these ranges, each from its first to its last.
    pub fn new(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        Self(ranges.into_iter().collect())
    }

    pub(super) fn holds(&self, status: StatusCode) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16()))
    }
}

/// Questions that were looked up, to be charged when the answer is known.
pub(super) type Counted = SmallVec<[Asked; 2]>;

/// Charges those whose limit counts this status.
pub(super) fn charge(
    counted: &[Asked],
    (limits, temporary): (&[LimitPolicy], &[Quota]),
    (now, status): (Now, StatusCode),
    exchange: &Exchange,
) {
    for asked in counted {
        let counts = limits[usize::from(asked.policy)].count.as_ref().is_some_and(|count| count.holds(status));
        if !counts || asked.cost == 0 {
            continue;
        }
        let ask = asked.ask(limits, temporary);
        let after = ask.limiter.owe(now, ask.key, ask.cost, ask.quota);
        if asked.is_live(limits) {
            note(exchange, asked.told(limits, after));
        }
    }
}

/// The access line tells what is left after the answer was counted.
fn note(exchange: &Exchange, after: Nearest) {
    let mut facts = exchange.facts.lock();
    if facts.limit.is_none_or(|nearest| nearest.index == after.index || after.remaining < nearest.remaining) {
        facts.limit = Some(after);
    }
}
