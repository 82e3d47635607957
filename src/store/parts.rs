//! Requests whose limits are on several nodes of a cluster, some of which do
//! not respond: those limits are decided by `on_error` and the others by the
//! store, and all take their tokens or none does.
//!
//! # Two ways to a part
//!
//! * The circuit of a node is open before the call. `Store::decide_in_parts`
//!   decides about its keys at once, and asks the store about the others.
//! * A node did not respond during the call. `Store::complete` decides about
//!   its keys afterwards, when the tokens of the others are taken already.
//!
//! In both, a refusal by one part refunds the other one if it has taken tokens,
//! so that a refused request has no tokens of any limit. Refunds go the way the
//! tokens came: `SharedAdmission` remembers it for each part.
//!
//! # Names
//!
//! `theirs` are the asks of nodes that are away, `ours` the asks that the store
//! has decided or can decide. An `Away` has one mark for each ask, in the order
//! of all asks, and is the key by which both parts are put together again.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use smallvec::SmallVec;

use super::{
    Store,
    admission::{
        Needs, Refused, SharedAdmission, StoreDecision, StoreOutcome, TakenSlots, admitted,
    },
    ask::{Asks, SharedAsk},
};
use crate::{
    limit::{self, Clock, Refusal},
    policy::StoreOnError,
};

/// For each ask, whether the circuit of its node is open or the node has not
/// answered.
///
/// Empty if every node has responded, so that most calls make no marks.
pub(super) type Away = SmallVec<[bool; 2]>;

/// `Retry-After` while the store is unavailable. Its probes begin after 100 ms
/// and come every second or two when the store stays away.
const SOON: Duration = Duration::from_secs(1);

impl Store {
    /// Decides all `asks` by `on_error`.
    ///
    /// `allow` admits without counting, `deny` refuses with a time to retry,
    /// and `local` lets the buckets of this gateway decide, each with the full
    /// quota. With `local`, several gateways together may then admit a multiple
    /// of it until the store is back.
    pub(super) fn alone(&self, asks: Asks) -> StoreOutcome {
        match self.settings.on_error {
            StoreOnError::Allow => Ok(SharedAdmission::free()),
            StoreOnError::Deny => Err(Refused::Unavailable { retry_after: SOON }),
            StoreOnError::Local => {
                let alone: SmallVec<[limit::Ask<'_>; 2]> =
                    asks.iter().map(SharedAsk::alone).collect();
                let admission = limit::decide(Clock.now(), &alone).map_err(Refused::Limits)?;
                drop(alone);
                Ok(SharedAdmission::alone(asks, admission))
            }
        }
    }

    /// Decides by `on_error` about the asks without a reply, after the store
    /// has admitted the others. If they refuse, the tokens of the others are
    /// returned.
    ///
    /// `slots` has one entry for each ask, of which those that are away are
    /// empty.
    pub(super) fn complete(
        self: &Arc<Self>,
        now: u64,
        asks: Asks,
        slots: TakenSlots,
        away: &Away,
    ) -> StoreOutcome {
        let (theirs, ours) = split(asks, away);
        let mut ours_slots = TakenSlots::new();
        for (slot, is_away) in slots.into_iter().zip(away) {
            if !is_away {
                ours_slots.push(slot);
            }
        }
        let alone = self.alone(theirs);
        let by_store = admitted(now, ours, ours_slots);
        match alone {
            Ok(alone) => Ok(joined(alone, by_store, away)),
            Err(refused) => {
                by_store.refund(self);
                Err(placed(refused, away, true))
            }
        }
    }

    /// Marks the asks that need a call of a node whose circuit is open; `None`
    /// if there are none.
    ///
    /// Always `None` for a single server, whose circuit is that of the whole.
    /// An ask that needs no call is never away, even if its node is: its tokens
    /// are held here.
    pub(super) fn away(&self, asks: &Asks, needs: &Needs) -> Option<Away> {
        if !self.settings.is_cluster {
            return None;
        }
        let nodes = self.nodes.load();
        let nodes = nodes.as_ref()?;
        if !nodes.is_any_open() {
            return None;
        }
        let mut away = Away::new();
        for (ask, need) in asks.iter().zip(needs) {
            away.push(need.is_some() && nodes.of(&ask.store_key()).circuit.is_open());
        }
        away.contains(&true).then_some(away)
    }

    /// Decides by `on_error` about the asks that are `away`, and with the store
    /// about the others.
    ///
    /// The part without a call goes first, because it costs nothing to take
    /// back if it refuses. The rest is decided like any request, and may find
    /// that another node is away.
    pub(super) fn decide_in_parts(self: &Arc<Self>, asks: Asks, away: &Away) -> StoreDecision {
        self.metrics.failed("open");
        let (theirs, ours) = split(asks, away);
        let alone = match self.alone(theirs) {
            Ok(alone) => alone,
            Err(refused) => return StoreDecision::Made(Err(placed(refused, away, true))),
        };
        if ours.is_empty() {
            return StoreDecision::Made(Ok(alone));
        }
        let store = Arc::clone(self);
        let away = away.clone();
        match self.decide(ours) {
            StoreDecision::Made(outcome) => StoreDecision::Made(store.join(alone, outcome, &away)),
            StoreDecision::Pending(outcome) => {
                StoreDecision::Pending(pending(store, alone, outcome, away))
            }
        }
    }

    /// Joins the decisions of both parts. If the store refuses, the tokens of
    /// the other part are returned.
    fn join(
        self: &Arc<Self>,
        alone: SharedAdmission,
        by_store: StoreOutcome,
        away: &Away,
    ) -> StoreOutcome {
        match by_store {
            Ok(by_store) => Ok(joined(alone, by_store, away)),
            Err(refused) => {
                alone.refund(self);
                Err(placed(refused, away, false))
            }
        }
    }
}

/// Waits for the store and joins. The future is boxed, because the decision of
/// the rest may itself be in parts.
fn pending(
    store: Arc<Store>,
    alone: SharedAdmission,
    outcome: Pin<Box<dyn Future<Output = StoreOutcome> + Send>>,
    away: Away,
) -> Pin<Box<dyn Future<Output = StoreOutcome> + Send>> {
    Box::pin(async move {
        let outcome = outcome.await;
        store.join(alone, outcome, &away)
    })
}

/// Splits asks into those that are away and the others.
fn split(asks: Asks, away: &Away) -> (Asks, Asks) {
    let mut theirs = Asks::new();
    let mut ours = Asks::new();
    for (ask, is_away) in asks.into_iter().zip(away) {
        if *is_away {
            theirs.push(ask);
        } else {
            ours.push(ask);
        }
    }
    (theirs, ours)
}

/// Joins two admissions into one, in the order of the asks.
///
/// Each part keeps its own way of taking and returning tokens. An ask of a part
/// that counted nothing becomes a free admission, so that the number of parts
/// is that of the asks.
fn joined(alone: SharedAdmission, by_store: SharedAdmission, away: &Away) -> SharedAdmission {
    let mut alone = alone.take_apart();
    let mut by_store = by_store.take_apart();
    let mut parts = Vec::with_capacity(away.len());
    for is_away in away {
        let part = if *is_away {
            alone.next()
        } else {
            by_store.next()
        };
        // An admission that counted nothing has no parts.
        parts.push(part.unwrap_or_else(SharedAdmission::free));
    }
    SharedAdmission::of_parts(parts)
}

/// Translates the indices of a refusal by one part into those of all asks.
///
/// A refusal for want of the store has no index and stays as it is.
fn placed(refused: Refused, away: &Away, is_away: bool) -> Refused {
    let Refused::Limits(refusal) = refused else {
        return refused;
    };
    // Only the indices change: the limit that waits longest is known already.
    let mut refused = 0;
    for index in refusal.indices() {
        let index = index_among_all(index, away, is_away);
        refused |= Refusal::by(index, refusal.retry_after).refused;
    }
    Refused::Limits(Refusal {
        index: index_among_all(refusal.index, away, is_away),
        refused,
        ..refusal
    })
}

/// The index among all asks of the ask at `index` of the part that is away, or
/// of the other part.
fn index_among_all(index: usize, away: &Away, is_away: bool) -> usize {
    let mut of_part = (0..away.len()).filter(|at| away[*at] == is_away);
    of_part.nth(index).unwrap_or(index)
}
