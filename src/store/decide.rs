//! Many limits, many requests, few calls: what is decided here, what is asked, and what happens when nobody answers.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use smallvec::SmallVec;
use tokio::time::Instant;

use super::{
    SharedLimit, Store,
    call::{Answer, TICK},
    lane::{Boarding, Lane},
    name::Name,
    parts::Away,
    script::Want,
    share::{Local, Pace, Slot},
};
use crate::limit::{self, Clock, Gcra, Key, Refusal, Standing};

/// What one shared limit is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    /// This limit.
    pub limit: Arc<SharedLimit>,
    /// For this bucket of the store...
    pub name: Name,
    /// ...which is this one where the gateway counts alone.
    pub key: Key,
    /// So many tokens; 0 always passes, and more than the burst never.
    pub cost: u32,
    /// Under these numbers instead of the limit's own.
    pub quota: Option<Gcra>,
    /// Most of what is taken comes back, as the answer does not count. Nothing is leased then: tokens that are held here
    /// could not go back to the store.
    pub is_lent: bool,
}

/// Limits that decide together.
pub type Asks = SmallVec<[Ask; 2]>;

/// A decision, made or being made.
#[expect(
    clippy::large_enum_variant,
    reason = "what is made at once is the usual case, and a box would cost an allocation"
)]
#[expect(missing_debug_implementations, reason = "a future has nothing to show")]
pub enum Decision {
    /// It needed no call.
    Made(Outcome),
    /// The store is asked; this takes no longer than the store's timeout.
    Pending(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

/// What came of it.
pub type Outcome = Result<Admission, Refused>;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Limits refuse.
    Limits(Refusal),
    /// The store does not answer, and `on_error` is `deny`.
    Unavailable {
        /// When it is worth coming back.
        retry_after: Duration,
    },
}

/// All limits have admitted. Dropping it keeps the tokens taken.
#[derive(Debug)]
#[must_use = "an admission that comes to nothing is to be refunded"]
pub struct Admission {
    how: How,
    /// In the order of the asks; `None` where nobody counted.
    standings: SmallVec<[Option<Standing>; 2]>,
}

#[derive(Debug)]
enum How {
    /// By the store, now or earlier.
    Shared(Asks, Slots),
    /// By this gateway alone.
    Alone(Asks, limit::Admission),
    /// Each limit in its own way, as some are on nodes that are away.
    Parts(Vec<Admission>),
    /// Nothing was taken.
    Free,
}

/// Slots taken and when, and the asks that nobody answered: none, or a mark for each ask.
type Answered = Result<(u64, Slots, Away), Refusal>;

/// What was taken, in the order of the asks.
pub(super) type Slots = SmallVec<[Slot; 2]>;

/// Tokens wanted ahead of each ask that the store must decide; `None` for those that can be decided here.
pub(super) type Needs = SmallVec<[Option<u32>; 2]>;

impl Ask {
    pub(super) fn gcra(&self) -> &Gcra {
        self.quota.as_ref().unwrap_or(self.limit.limiter.gcra())
    }

    pub(super) fn pace(&self) -> Pace {
        self.gcra().into()
    }

    /// Its key in the store.
    pub(super) fn store_key(&self) -> String {
        self.name.key(self.limit.limiter.name())
    }

    pub(super) fn alone(&self) -> limit::Ask<'_> {
        limit::Ask {
            limiter: &self.limit.limiter,
            key: self.key,
            cost: self.cost,
            quota: self.quota.as_ref(),
        }
    }

    /// How the bucket stands, as far as this gateway knows.
    fn standing(&self, now: u64) -> Standing {
        let (remaining, reset) = self.limit.ledger.standing(now, self.name, self.pace());
        Standing::known(self.gcra(), remaining, reset)
    }

    /// Asks the bucket that strangers share, which has the limit's own numbers; whoever may take more at once takes all of
    /// it. As in a full table of this gateway.
    fn become_stranger(&mut self) {
        let burst = self.limit.limiter.gcra().burst().get();
        (self.name, self.cost) = (
            Name::STRANGERS,
            if self.quota.is_some() {
                self.cost.min(burst)
            } else {
                self.cost
            },
        );
        self.quota = None;
        self.limit.limiter.note_overflow();
    }

    fn take(&self, now: u64, most_ahead: u32, keep: bool) -> Local {
        let pace = self.pace();
        match self.cost {
            0 => Local::Taken(Slot::empty(now)),
            cost if pace.weight(cost) > pace.fill => Local::Refused(Duration::MAX),
            cost => self
                .limit
                .ledger
                .take(now, self.name, pace, cost, most_ahead, keep),
        }
    }
}

impl Store {
    /// Takes the tokens of all `asks`, or none.
    pub fn decide(self: &Arc<Self>, mut asks: Asks) -> Decision {
        if asks.is_empty() {
            return Decision::Made(Ok(Admission::free()));
        }
        loop {
            let now = Clock.now().as_nanos();
            let needs = match self.look(now, &mut asks) {
                Ok(needs) => needs,
                Err(refusal) => {
                    self.metrics.saved("refusal");
                    return Decision::Made(Err(Refused::Limits(refusal)));
                }
            };
            if needs.iter().any(Option::is_some) {
                if self.whole.circuit.is_open() {
                    self.metrics.failed("open");
                    return Decision::Made(self.alone(asks));
                }
                if let Some(away) = self.away(&asks, &needs) {
                    return self.decide_in_parts(asks, &away);
                }
                return Decision::Pending(Box::pin(Arc::clone(self).ask_in_time(asks)));
            }
            if let Some(slots) = self.take_held(now, &asks, &needs) {
                self.metrics.saved("lease");
                return Decision::Made(Ok(admitted(now, asks, slots)));
            }
        }
    }

    /// Which asks the store must decide, unless one is known to be refused.
    fn look(&self, now: u64, asks: &mut Asks) -> Result<Needs, Refusal> {
        let mut refusal: Option<Refusal> = None;
        let mut needs = Needs::new();
        for (index, ask) in asks.iter_mut().enumerate() {
            let mut local = ask.take(now, self.most_ahead(ask), true);
            if local == Local::Stranger {
                ask.become_stranger();
                local = ask.take(now, self.most_ahead(ask), true);
            }
            match local {
                Local::Taken(_) => needs.push(None),
                Local::Ask { ahead } => needs.push(Some(ahead)),
                // The strangers' own bucket always has a place.
                Local::Stranger => needs.push(Some(0)),
                Local::Refused(wait) => {
                    refusal = Some(Refusal::after(refusal, index, wait));
                }
            }
        }
        refusal.map_or(Ok(needs), Err)
    }

    fn most_ahead(&self, ask: &Ask) -> u32 {
        if ask.is_lent {
            0
        } else {
            self.settings.most_ahead(ask.pace().burst())
        }
    }

    /// Takes what is held here; nothing at all if others were faster. What the store decides has an empty slot.
    fn take_held(self: &Arc<Self>, now: u64, asks: &Asks, needs: &Needs) -> Option<Slots> {
        let mut slots = Slots::new();
        for (ask, need) in asks.iter().zip(needs) {
            match need {
                Some(_) => slots.push(Slot::empty(now)),
                None => match ask.take(now, 0, false) {
                    Local::Taken(slot) => slots.push(slot),
                    Local::Refused(_) | Local::Ask { .. } | Local::Stranger => {
                        self.give_back(now, asks, &slots);
                        return None;
                    }
                },
            }
        }
        Some(slots)
    }

    /// Asks the store, for no longer than its timeout.
    async fn ask_in_time(self: Arc<Self>, mut asks: Asks) -> Outcome {
        let deadline = Instant::now() + self.settings.timeout;
        let lane = self.lane();
        let Some(_place) = lane.enter() else {
            self.metrics.failed("overload");
            return self.alone(asks);
        };
        // Of a cluster each node has this deadline by itself; its answers are not lost by that of another.
        let end = if self.settings.is_cluster {
            deadline + TICK
        } else {
            deadline
        };
        match crate::runtime::timer::timeout_at(end, self.ask(lane, &mut asks, deadline)).await {
            Ok(Some(Ok((now, slots, away)))) if away.is_empty() => Ok(admitted(now, asks, slots)),
            Ok(Some(Ok((now, slots, away)))) => self.complete(now, asks, slots, &away),
            Ok(Some(Err(refusal))) => Err(Refused::Limits(refusal)),
            Ok(None) => self.alone(asks),
            Err(_) => {
                self.metrics.failed("timeout");
                // With a connection it is a node that is too slow, and whoever asked it has counted that.
                if !self.settings.is_cluster || !lane.is_connected() {
                    self.failed(&self.whole, || self.too_slow());
                }
                self.alone(asks)
            }
        }
    }

    /// Asks for what is not held here, or waits for those who ask for the same. `None`: the store does not answer.
    async fn ask(
        self: &Arc<Self>,
        lane: &Lane,
        asks: &mut Asks,
        deadline: Instant,
    ) -> Option<Answered> {
        loop {
            let now = Clock.now().as_nanos();
            let mut needs = match self.look(now, asks) {
                Ok(needs) => needs,
                Err(refusal) => return Some(Err(refusal)),
            };
            let hot: SmallVec<[(Name, u32); 2]> = asks
                .iter()
                .zip(&needs)
                .filter(|(_, need)| need.is_some_and(|ahead| ahead > 0))
                .map(|(ask, _)| (ask.name, ask.cost))
                .collect();
            let asking = match lane.flights.board(&hot) {
                Boarding::Wait(waiting) => {
                    waiting.landed().await;
                    continue;
                }
                Boarding::Ask(asking) => asking,
            };
            let hot_needs = needs
                .iter_mut()
                .filter_map(Option::as_mut)
                .filter(|ahead| **ahead > 0);
            hot_needs
                .zip(&asking.wanted)
                .for_each(|(ahead, wanted)| *ahead = ahead.saturating_add(*wanted));
            let Some(slots) = self.take_held(now, asks, &needs) else {
                continue;
            };
            if needs.iter().all(Option::is_none) {
                return Some(Ok((now, slots, Away::new()))); // what it waited for has come
            }
            return self.ask_now(lane, asks, &needs, (slots, deadline)).await;
        }
    }

    async fn ask_now(
        self: &Arc<Self>,
        lane: &Lane,
        asks: &Asks,
        needs: &Needs,
        (mut slots, deadline): (Slots, Instant),
    ) -> Option<Answered> {
        let wants: Vec<_> = asks
            .iter()
            .zip(needs)
            .filter_map(|(ask, need)| Some((ask, (*need)?)))
            .map(|(ask, ahead)| (ask, Want::Take(ask.cost), ahead))
            .collect();
        let answers = self.call(lane, &wants, deadline).await;
        let now = Clock.now().as_nanos();
        if answers.is_empty() {
            self.give_back(now, asks, &slots);
            return None;
        }
        let (mut refusal, mut away): (Option<Refusal>, _) = (None, Away::new());
        let mut answers = answers.into_iter();
        for (index, (ask, slot)) in asks.iter().zip(&mut slots).enumerate() {
            let Some(answer) = needs[index].and_then(|_| answers.next()) else {
                continue;
            };
            let Some(Answer { told, trip }) = answer else {
                away.resize(asks.len(), false);
                away[index] = true;
                continue;
            };
            *slot = ask
                .limit
                .ledger
                .learn(ask.name, ask.pace(), ask.cost, told, trip);
            let pace = ask.pace();
            let missing = (told.before + pace.weight(ask.cost)).saturating_sub(pace.fill);
            if !told.admitted && missing > 0 {
                let wait = Duration::from_nanos(missing);
                refusal = Some(Refusal::after(refusal, index, wait));
            }
        }
        if let Some(refusal) = refusal {
            self.give_back(now, asks, &slots);
            return Some(Err(refusal));
        }
        Some(Ok((now, slots, away)))
    }

    /// Gives tokens back, without waiting: where there are leases to what is held here, else to the store. With leases
    /// nothing goes to the store: it would move up what other gateways hold, who would use it after its begin. What
    /// cannot be held here any more comes back with time alone.
    pub(super) fn give_back(self: &Arc<Self>, now: u64, asks: &Asks, slots: &[Slot]) {
        for (ask, slot) in asks.iter().zip(slots) {
            let back = slot.rest(now, 0);
            if self.most_ahead(ask) > 0 {
                ask.limit.ledger.give_back(now, ask.name, *slot);
            } else if back > 0 && slot.since > 0 {
                ask.limit.ledger.returned(ask.name, back);
                self.errand(
                    ask.clone(),
                    Want::GiveBack {
                        back,
                        since: slot.since,
                        reach: slot.reach,
                    },
                );
            }
        }
    }
}

pub(super) fn admitted(now: u64, asks: Asks, slots: Slots) -> Admission {
    let standings = asks.iter().map(|ask| Some(ask.standing(now))).collect();
    Admission {
        how: How::Shared(asks, slots),
        standings,
    }
}

impl Admission {
    pub(super) fn free() -> Self {
        Self {
            how: How::Free,
            standings: SmallVec::new(),
        }
    }

    pub(super) fn alone(asks: Asks, admission: limit::Admission) -> Self {
        let standings = admission.standings().map(Some).collect();
        Self {
            how: How::Alone(asks, admission),
            standings,
        }
    }

    /// Of one for each ask.
    pub(super) fn of_parts(parts: Vec<Self>) -> Self {
        let standing = |part: &Self| part.standings().next().flatten();
        Self {
            standings: parts.iter().map(standing).collect(),
            how: How::Parts(parts),
        }
    }

    /// How each limit stands after this request, in the order of the asks, as far as this gateway knows; nothing where
    /// nobody counted.
    pub fn standings(&self) -> impl Iterator<Item = Option<Standing>> {
        self.standings.iter().copied()
    }

    /// The part of each ask, in their order: an admission of its own for each.
    pub fn take_apart(self) -> impl Iterator<Item = Self> {
        let one = |ask: Ask| Asks::from_iter([ask]);
        let parts: SmallVec<[How; 2]> = match self.how {
            How::Parts(parts) => return SmallVec::<[Self; 2]>::from_vec(parts).into_iter(),
            How::Free => SmallVec::new(), // nobody counted
            How::Alone(asks, mut admission) => asks
                .into_iter()
                .map(one)
                .zip(admission.take_apart())
                .map(|(ask, taken)| How::Alone(ask, taken))
                .collect(),
            How::Shared(asks, slots) => {
                let slots = slots.into_iter().map(|slot| Slots::from_iter([slot]));
                asks.into_iter()
                    .map(one)
                    .zip(slots)
                    .map(|(ask, slot)| How::Shared(ask, slot))
                    .collect()
            }
        };
        let part = |(how, standing)| Self {
            how,
            standings: SmallVec::from_iter([standing]),
        };
        parts
            .into_iter()
            .zip(self.standings)
            .map(part)
            .collect::<SmallVec<_>>()
            .into_iter()
    }

    /// Gives back what was taken, for a request that was refused further in; what came back by itself meanwhile is not
    /// given twice. Tells how the first bucket stands then, as far as this gateway knows.
    pub fn refund(self, store: &Arc<Store>) -> Option<Standing> {
        let now = Clock.now();
        match self.how {
            How::Free => None,
            How::Parts(parts) => parts
                .into_iter()
                .map(|part| part.refund(store))
                .fold(None, Option::or),
            How::Alone(asks, admission) => {
                admission.refund(now, asks.iter().map(|ask| &ask.limit.limiter));
                let ask = asks.first()?;
                Some(ask.limit.limiter.standing(now, ask.key, ask.quota.as_ref()))
            }
            How::Shared(asks, slots) => {
                store.give_back(now.as_nanos(), &asks, &slots);
                Some(asks.first()?.standing(now.as_nanos()))
            }
        }
    }
}
