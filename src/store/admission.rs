//! The outcome of a decision, and the tokens that an admission has taken.
//!
//! A [`SharedAdmission`] knows how its tokens were taken, so that they can be
//! returned in the same way: to the lease that is held here, to the bucket in
//! the store, or to the buckets of this gateway.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use smallvec::SmallVec;

use super::{
    Store,
    ask::{Asks, SharedAsk},
    share::ShareSlot,
};
use crate::limit::{self, Clock, Now, Refusal, Standing};

/// A decision that is made or being made.
#[expect(
    clippy::large_enum_variant,
    reason = "most decisions are made at once, and a box would cost an allocation"
)]
#[expect(missing_debug_implementations, reason = "a future has nothing to show")]
pub enum StoreDecision {
    /// The decision, which needed no call.
    Made(StoreOutcome),
    /// The call of the store is in flight. It takes no longer than the timeout
    /// of the store. Dropping the future leaves tokens that the call takes as
    /// used.
    Pending(Pin<Box<dyn Future<Output = StoreOutcome> + Send>>),
}

/// The outcome of a decision.
pub type StoreOutcome = Result<SharedAdmission, Refused>;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The limits refuse it.
    Limits(Refusal),
    /// The store does not respond, and `on_error` is `deny`.
    Unavailable {
        /// The time after which a retry makes sense.
        retry_after: Duration,
    },
}

/// The admission by all limits. Dropping it keeps the tokens taken.
#[derive(Debug)]
#[must_use = "an admission that comes to nothing is to be refunded"]
pub struct SharedAdmission {
    /// How the tokens were taken, which decides how they are returned.
    how: How,
    /// The state of each bucket in the order of the asks; `None` where nothing
    /// was counted.
    standings: SmallVec<[Option<Standing>; 2]>,
}

/// How the tokens were taken.
#[derive(Debug)]
enum How {
    /// The store has admitted, now or earlier.
    Shared(Asks, TakenSlots),
    /// This gateway has admitted alone.
    Alone(Asks, limit::Admission),
    /// Each limit has admitted in its own way, as some are on nodes whose
    /// circuit is open.
    Parts(Vec<SharedAdmission>),
    /// Nothing was taken.
    Free,
}

/// The tokens that were taken, in the order of the asks.
pub(super) type TakenSlots = SmallVec<[ShareSlot; 2]>;

/// By ask: the number of tokens to take ahead, if the store must decide; `None`
/// if it can be decided here.
pub(super) type Needs = SmallVec<[Option<u32>; 2]>;

/// The admission by the store, at `now`.
pub(super) fn admitted(now: u64, asks: Asks, slots: TakenSlots) -> SharedAdmission {
    let standings = asks.iter().map(|ask| Some(ask.standing(now))).collect();
    SharedAdmission {
        how: How::Shared(asks, slots),
        standings,
    }
}

impl SharedAdmission {
    /// An admission that took nothing.
    pub(super) fn free() -> Self {
        Self {
            how: How::Free,
            standings: SmallVec::new(),
        }
    }

    /// The admission by this gateway alone.
    pub(super) fn alone(asks: Asks, admission: limit::Admission) -> Self {
        let standings = admission.standings().map(Some).collect();
        Self {
            how: How::Alone(asks, admission),
            standings,
        }
    }

    /// An admission of one part for each ask.
    pub(super) fn of_parts(parts: Vec<Self>) -> Self {
        let mut standings = SmallVec::with_capacity(parts.len());
        for part in &parts {
            standings.push(part.standings().next().flatten());
        }
        Self {
            how: How::Parts(parts),
            standings,
        }
    }

    /// The state of each bucket after this request, in the order of the asks,
    /// as far as this gateway knows; `None` where nothing was counted.
    pub fn standings(&self) -> impl Iterator<Item = Option<Standing>> {
        self.standings.iter().copied()
    }

    /// Takes the admission apart, into one for each ask in their order. None
    /// for an admission that counted nothing.
    pub fn take_apart(self) -> impl Iterator<Item = Self> {
        let mut parts: SmallVec<[Self; 2]> = SmallVec::new();
        match self.how {
            How::Parts(admissions) => parts = SmallVec::from_vec(admissions),
            How::Free => {}
            How::Alone(asks, mut admission) => {
                let taken = asks.into_iter().zip(admission.take_apart());
                for ((ask, taken), standing) in taken.zip(self.standings) {
                    parts.push(Self {
                        how: How::Alone(Asks::from_iter([ask]), taken),
                        standings: SmallVec::from_iter([standing]),
                    });
                }
            }
            How::Shared(asks, slots) => {
                let taken = asks.into_iter().zip(slots);
                for ((ask, slot), standing) in taken.zip(self.standings) {
                    parts.push(Self {
                        how: How::Shared(Asks::from_iter([ask]), TakenSlots::from_iter([slot])),
                        standings: SmallVec::from_iter([standing]),
                    });
                }
            }
        }
        parts.into_iter()
    }

    /// Returns the tokens, for a request that was refused further in. Tokens
    /// that have come back with time are not returned twice. Returns the state
    /// of the first bucket then, as far as this gateway knows.
    pub fn refund(self, store: &Arc<Store>) -> Option<Standing> {
        let now = Clock.now();
        match self.how {
            How::Free => None,
            How::Parts(parts) => {
                let standings = parts.into_iter().map(|part| part.refund(store));
                standings.fold(None, Option::or)
            }
            How::Alone(asks, admission) => {
                admission.refund(now, asks.iter().map(|ask| &ask.limit.limiter));
                Some(asks.first()?.alone_standing(now))
            }
            How::Shared(asks, slots) => {
                store.give_back(now.as_nanos(), &asks, &slots);
                Some(asks.first()?.standing(now.as_nanos()))
            }
        }
    }

    /// Returns `unused` tokens of each bucket, at most those that were taken.
    /// Returns the state of the first bucket then.
    pub fn refund_part(mut self, store: &Arc<Store>, unused: u32) -> Option<Standing> {
        let now = Clock.now();
        match self.how {
            How::Free => None,
            How::Parts(parts) => {
                let standings = parts
                    .into_iter()
                    .map(|part| part.refund_part(store, unused));
                standings.fold(None, Option::or)
            }
            How::Alone(asks, admission) => {
                let limiters = asks.iter().map(|ask| &ask.limit.limiter);
                admission.refund_part(now, limiters, unused);
                Some(asks.first()?.alone_standing(now))
            }
            How::Shared(asks, mut slots) => {
                for (ask, slot) in asks.iter().zip(&mut slots) {
                    *slot = slot.last(ask.gcra().weight(unused));
                }
                self.how = How::Shared(asks, slots);
                self.refund(store)
            }
        }
    }

    /// Takes `tokens` more from each bucket, whether they are there or not,
    /// without waiting.
    pub fn owe(&self, store: &Arc<Store>, tokens: u64) {
        match &self.how {
            How::Free => {}
            How::Parts(parts) => parts.iter().for_each(|part| part.owe(store, tokens)),
            How::Alone(asks, admission) => {
                admission.owe(Clock.now(), asks.iter().map(SharedAsk::alone), tokens);
            }
            How::Shared(asks, _) => asks.iter().for_each(|ask| store.owe(ask, tokens)),
        }
    }

    /// The present state of the first bucket, as far as this gateway knows.
    pub fn standing(&self, now: Now) -> Option<Standing> {
        match &self.how {
            How::Free => None,
            How::Parts(parts) => parts.iter().find_map(|part| part.standing(now)),
            How::Alone(asks, _) => Some(asks.first()?.alone_standing(now)),
            How::Shared(asks, _) => Some(asks.first()?.standing(now.as_nanos())),
        }
    }
}
