//! Limits of one request that lie on different nodes of a cluster, of which some are away: those go by `on_error`, the
//! store decides the others, and all take or none.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use smallvec::SmallVec;

use super::{
    Store,
    decide::{Admission, Ask, Asks, Decision, Needs, Outcome, Refused, Slots, admitted},
};
use crate::{
    limit::{self, Clock, Refusal},
    policy::StoreOnError,
};

/// Whether each ask is on a node that is left alone or has not answered.
pub(super) type Away = SmallVec<[bool; 2]>;

/// When to come back to a gateway whose store is away: it is looked for more often than that.
const SOON: Duration = Duration::from_secs(1);

impl Store {
    /// What `on_error` says.
    pub(super) fn alone(&self, asks: Asks) -> Outcome {
        match self.settings.on_error {
            StoreOnError::Allow => Ok(Admission::free()),
            StoreOnError::Deny => Err(Refused::Unavailable { retry_after: SOON }),
            StoreOnError::Local => {
                let alone: SmallVec<[limit::Ask<'_>; 2]> = asks.iter().map(Ask::alone).collect();
                let admission = limit::decide(Clock.now(), &alone).map_err(Refused::Limits)?;
                drop(alone);
                Ok(Admission::alone(asks, admission))
            }
        }
    }

    /// Decides by `on_error` about those that nobody answered for, after the store has admitted the others.
    pub(super) fn complete(
        self: &Arc<Self>,
        now: u64,
        asks: Asks,
        slots: Slots,
        away: &Away,
    ) -> Outcome {
        let (theirs, ours) = split(asks, away);
        let ours_slots = slots
            .into_iter()
            .zip(away)
            .filter(|(_, is_away)| !**is_away)
            .map(|(slot, _)| slot)
            .collect();
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

    /// Which of the asks that need a call are on nodes that are left alone; `None` where none is.
    pub(super) fn away(&self, asks: &Asks, needs: &Needs) -> Option<Away> {
        if !self.settings.is_cluster {
            return None;
        }
        let nodes = self.nodes.load();
        let nodes = nodes.as_ref().filter(|nodes| nodes.is_any_open())?;
        let is_away = |ask: &Ask| nodes.of(&ask.store_key()).circuit.is_open();
        let away: Away = asks
            .iter()
            .zip(needs)
            .map(|(ask, need)| need.is_some() && is_away(ask))
            .collect();
        away.contains(&true).then_some(away)
    }

    /// Decides without asking about those that are `away`.
    pub(super) fn decide_in_parts(self: &Arc<Self>, asks: Asks, away: &Away) -> Decision {
        self.metrics.failed("open");
        let (theirs, ours) = split(asks, away);
        let alone = match self.alone(theirs) {
            Ok(alone) => alone,
            Err(refused) => return Decision::Made(Err(placed(refused, away, true))),
        };
        if ours.is_empty() {
            return Decision::Made(Ok(alone));
        }
        let (store, away) = (Arc::clone(self), away.clone());
        match self.decide(ours) {
            Decision::Made(outcome) => Decision::Made(store.join(alone, outcome, &away)),
            Decision::Pending(outcome) => Decision::Pending(pending(store, alone, outcome, away)),
        }
    }

    /// One admission of two parts; of what went by `on_error` nothing stays taken where the store refuses.
    fn join(self: &Arc<Self>, alone: Admission, by_store: Outcome, away: &Away) -> Outcome {
        match by_store {
            Ok(by_store) => Ok(joined(alone, by_store, away)),
            Err(refused) => {
                alone.refund(self);
                Err(placed(refused, away, false))
            }
        }
    }
}

/// A future of its own type: a decision of the rest may itself be in parts.
fn pending(
    store: Arc<Store>,
    alone: Admission,
    outcome: Pin<Box<dyn Future<Output = Outcome> + Send>>,
    away: Away,
) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
    Box::pin(async move {
        let outcome = outcome.await;
        store.join(alone, outcome, &away)
    })
}

/// The asks that are away, and the others.
fn split(asks: Asks, away: &Away) -> (Asks, Asks) {
    let (mut theirs, mut ours) = (Asks::new(), Asks::new());
    asks.into_iter().zip(away).for_each(|(ask, is_away)| {
        if *is_away {
            theirs.push(ask)
        } else {
            ours.push(ask)
        }
    });
    (theirs, ours)
}

/// An admission of all asks, in their order.
fn joined(alone: Admission, by_store: Admission, away: &Away) -> Admission {
    let (mut alone, mut by_store) = (alone.take_apart(), by_store.take_apart());
    let mut part = |is_away: &bool| {
        if *is_away {
            alone.next()
        } else {
            by_store.next()
        }
    };
    // Where nobody counts there are no parts.
    Admission::of_parts(
        away.iter()
            .map(|is_away| part(is_away).unwrap_or_else(Admission::free))
            .collect(),
    )
}

/// A refusal by a part, with the places of all.
fn placed(refused: Refused, away: &Away, is_away: bool) -> Refused {
    let Refused::Limits(refusal) = refused else {
        return refused;
    };
    let places: SmallVec<[usize; 2]> = (0..away.len())
        .filter(|place| away[*place] == is_away)
        .collect();
    let place = |index: usize| places.get(index).copied().unwrap_or(index);
    // Places count here alone: which one waits longest is known already.
    let refused = refusal
        .indices()
        .map(|index| Refusal::by(place(index), refusal.retry_after).refused);
    let refused = refused.fold(0, |all, one| all | one);
    Refused::Limits(Refusal {
        index: place(refusal.index),
        refused,
        ..refusal
    })
}
