//! Limits that count answers: their tokens are taken together with all others, and come back when the answer does not
//! count. So requests that are under way at the same time are bounded by the burst.
//!
//! Only an answer counts that the upstream gave, or the route itself where it has none. An answer that the gateway makes in
//! its stead (a cap, a timeout, a failed connect) says nothing of the client. A client that leaves before its answer has used
//! its tokens once the request was sent to a server, since what became of it there is not known; before that they come back.

use std::sync::Arc;

use http::StatusCode;
use smallvec::SmallVec;

use super::{LimitPolicy, decision::Asked};
use crate::{
    call::{Exchange, Nearest},
    limit::{self, Clock, Gcra, Now},
    store::{self, Store},
};

/// Statuses of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Those within any of these ranges, each from its first to its last.
    pub fn new(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        Self(ranges.into_iter().collect())
    }

    fn holds(&self, status: StatusCode) -> bool {
        self.0
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&status.as_u16()))
    }
}

/// Tokens of limits that count answers, until the answer is known. Dropped before that, because the client left, it gives
/// them back unless the request was sent to a server.
#[derive(Debug)]
pub(super) struct Counted {
    limits: Arc<[LimitPolicy]>,
    exchange: Arc<Exchange>,
    local: SmallVec<[(Asked, limit::Admission); 2]>,
    shared: SmallVec<[(Asked, store::Admission); 1]>,
    store: Option<Arc<Store>>,
    /// Of the limits that do not count answers, the one nearest to its end.
    others: Option<Nearest>,
}

impl Counted {
    /// Nothing yet.
    pub(super) fn new(limits: &Arc<[LimitPolicy]>, exchange: &Arc<Exchange>) -> Self {
        Self {
            limits: Arc::clone(limits),
            exchange: Arc::clone(exchange),
            local: SmallVec::new(),
            shared: SmallVec::new(),
            store: None,
            others: None,
        }
    }

    /// One limit of this gateway has taken these.
    pub(super) fn add(&mut self, asked: Asked, admission: limit::Admission) {
        self.local.push((asked, admission));
    }

    /// One limit in the store has taken these.
    pub(super) fn add_shared(
        &mut self,
        store: &Arc<Store>,
        asked: Asked,
        admission: store::Admission,
    ) {
        self.store.get_or_insert_with(|| Arc::clone(store));
        self.shared.push((asked, admission));
    }

    /// A limit that does not count answers stands like this.
    pub(super) fn note_other(&mut self, other: Option<Nearest>) {
        self.others = nearer(self.others, other);
    }

    /// The answer is known: what it does not count for comes back. `temporary` are the request's numbers for a while.
    pub(super) fn answered(mut self, temporary: &[Gcra], status: StatusCode) {
        let limits = Arc::clone(&self.limits);
        let counts = |asked: &Asked| {
            let count = limits[usize::from(asked.policy)].count.as_ref();
            count.is_some_and(|count| count.holds(status))
        };
        let is_live = |asked: &Asked| asked.is_live(&limits);
        let told: SmallVec<[Asked; 2]> = self
            .local
            .iter()
            .map(|(asked, _)| *asked)
            .filter(is_live)
            .collect();
        let comes_back = self
            .local
            .iter()
            .map(|(asked, _)| asked)
            .chain(self.shared.iter().map(|(asked, _)| asked));
        let changes = comes_back
            .filter(|asked| is_live(asked))
            .any(|asked| !counts(asked));
        // Tokens that count stay taken.
        self.local.retain(|(asked, _)| !counts(asked));
        let now = Clock.now();
        let mut nearest = self.others;
        let (kept, back): (SmallVec<[_; 1]>, _) =
            self.shared.drain(..).partition(|(asked, _)| counts(asked));
        self.shared = back;
        for (asked, admission) in kept {
            let state = admission.standings().next().flatten();
            let state = state.filter(|_| is_live(&asked));
            nearest = nearer(nearest, state.map(|state| asked.told(&limits, state)));
        }
        for (asked, state) in self.give_back(now) {
            nearest = nearer(
                nearest,
                Some(asked.told(&limits, state)).filter(|_| is_live(&asked)),
            );
        }
        for asked in told {
            let ask = asked.ask(&limits, temporary);
            nearest = nearer(
                nearest,
                Some(asked.told(&limits, ask.limiter.standing(now, ask.key, ask.quota))),
            );
        }
        // The answer and the access line tell what is left now.
        if changes {
            self.exchange.facts.lock().limit = nearest;
        }
    }

    /// Everything comes back; tells how those in the store stand then.
    pub(super) fn give_back(&mut self, now: Now) -> SmallVec<[(Asked, limit::Standing); 1]> {
        let limits = &self.limits;
        for (asked, admission) in self.local.drain(..) {
            admission.refund(now, [asked.ask(limits, &[]).limiter]);
        }
        let Some(store) = &self.store else {
            return SmallVec::new();
        };
        let back = self
            .shared
            .drain(..)
            .filter_map(|(asked, admission)| Some((asked, admission.refund(store)?)));
        back.collect()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.exchange.is_sent.is_set() {
            let _told_to_nobody = self.give_back(Clock.now());
        }
    }
}

/// The one with the fewest tokens left; of equals the one that takes longest to fill, then the first.
fn nearer(one: Option<Nearest>, other: Option<Nearest>) -> Option<Nearest> {
    let rank = |of: &Nearest| (of.remaining, std::cmp::Reverse(of.reset));
    match (one, other) {
        (Some(one), Some(other)) if rank(&other) >= rank(&one) => Some(one),
        (one, other) => other.or(one),
    }
}
