//! Many limits, many requests, few calls: decides as much as possible here, and
//! asks the store for the rest.
//!
//! A decision looks first, without taking anything. If any limit is known to
//! refuse, the request is refused without a call. If all tokens are held here,
//! they are taken. Otherwise one call asks for the missing ones, and the tokens
//! that are held here are taken before it is sent, so that nobody else uses
//! them meanwhile.
//!
//! # One decision, step by step
//!
//! 1. `look` asks each bucket's share what is possible, and takes nothing.
//! 2. One refusal that is known here refuses the request, without a call.
//! 3. If each ask has its tokens here, `take_held` takes them. Another worker
//!    may be faster in between, and then the decision begins again.
//! 4. While the circuit of the store is open, `on_error` decides
//!    (`Store::alone`). While only that of a node is open, `on_error` decides
//!    about the keys of this node (`Store::decide_in_parts`).
//! 5. Otherwise the future of `ask_in_time` joins the batch of each hot key, or
//!    calls the store.
//!
//! Steps 1 to 4 run inside of `decide`, which never waits. Only the future of
//! step 5 does.
//!
//! # Why tokens are taken before the call
//!
//! A request with two limits may hold the tokens of one here, and need a call
//! for the other. The held ones are taken before the call is sent, so that they
//! are still there when the reply admits. If the reply refuses, or no reply
//! comes, they are given back.
//!
//! # Bounds
//!
//! The timeout of the store bounds each wait, including that for a batch and
//! for a connection. A permit of the client bounds the number of requests that
//! wait, for each worker. The loops repeat only after another request has made
//! progress: it took the tokens first, or it ended its batch.
//!
//! # Cancellation
//!
//! Dropping the future ends its batch, or takes back its wish for tokens, and
//! frees its permit. Tokens count as used if the call has taken them at the
//! store, or if they were taken here.

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;
use tokio::time::Instant;

use super::{
    Store,
    admission::{
        Needs, Refused, SharedAdmission, StoreDecision, StoreOutcome, TakenSlots, admitted,
    },
    ask::{Asks, SharedAsk},
    batch::BatchRole,
    call::{TICK, TimedReply},
    client::StoreClient,
    name::Name,
    parts::Away,
    script::QuestionKind,
    share::{Local, ShareSlot},
};
use crate::limit::{Clock, Refusal};

/// The time and the slots of a reply, and the asks that no node answered:
/// none, or a mark for each ask.
///
/// The time is that of this process's clock in nanoseconds, at which the held
/// tokens were taken. `Err` is a refusal by the limits, either known here or by
/// the store.
type Answered = Result<(u64, TakenSlots, Away), Refusal>;

impl Store {
    /// Takes the tokens of all `asks` or of none. Waits for nothing itself: a
    /// decision that needs the store is returned as a future.
    ///
    /// Without asks the request is admitted, and nothing is counted. The
    /// metrics count each decision that needed no call as saved, by a lease or
    /// by a known refusal, and each one that an open circuit decides as `open`.
    pub fn decide(self: &Arc<Self>, mut asks: Asks) -> StoreDecision {
        if asks.is_empty() {
            return StoreDecision::Made(Ok(SharedAdmission::free()));
        }
        loop {
            let now = Clock.now().as_nanos();
            let needs = match self.look(now, &mut asks) {
                Ok(needs) => needs,
                Err(refusal) => {
                    self.metrics.saved("refusal");
                    return StoreDecision::Made(Err(Refused::Limits(refusal)));
                }
            };
            if needs.iter().any(Option::is_some) {
                if self.whole.circuit.is_open() {
                    self.metrics.failed("open");
                    return StoreDecision::Made(self.alone(asks));
                }
                if let Some(away) = self.away(&asks, &needs) {
                    return self.decide_in_parts(asks, &away);
                }
                return StoreDecision::Pending(Box::pin(Arc::clone(self).ask_in_time(asks)));
            }
            if let Some(slots) = self.take_held(now, &asks, &needs) {
                self.metrics.saved("lease");
                return StoreDecision::Made(Ok(admitted(now, asks, slots)));
            }
        }
    }

    /// By ask, the tokens that the store must be asked for.
    ///
    /// A key without room in the ledger is turned into the overflow bucket
    /// here, and then asked about again, so that the asks may differ after
    /// this. All asks are looked at even after a refusal: the refusal names
    /// every limit that refuses, and the longest wait.
    ///
    /// # Errors
    /// A limit is known to refuse.
    fn look(&self, now: u64, asks: &mut Asks) -> Result<Needs, Refusal> {
        let mut refusal: Option<Refusal> = None;
        let mut needs = Needs::new();
        for (index, ask) in asks.iter_mut().enumerate() {
            let mut local = ask.take(now, self.most_ahead(ask), true);
            if local == Local::Overflow {
                ask.turn_to_overflow();
                local = ask.take(now, self.most_ahead(ask), true);
            }
            match local {
                Local::Taken(_) => needs.push(None),
                Local::Ask { ahead } => needs.push(Some(ahead)),
                // There is always room for the overflow bucket.
                Local::Overflow => needs.push(Some(0)),
                Local::Refused(wait) => {
                    refusal = Some(Refusal::after(refusal, index, wait));
                }
            }
        }
        refusal.map_or(Ok(needs), Err)
    }

    /// The largest lease for the bucket of an ask, in tokens.
    ///
    /// 0 for a route most of whose tokens come back (`SharedAsk::is_returned`),
    /// since leased tokens cannot go back to the store.
    fn most_ahead(&self, ask: &SharedAsk) -> u32 {
        if ask.is_returned {
            0
        } else {
            self.settings.most_ahead(ask.gcra().burst().into())
        }
    }

    /// Takes the tokens that are held here; `None` and nothing at all if others
    /// were faster. The slot of an ask that the store decides stays empty.
    ///
    /// Others are other workers: the ledger is shared between them, and a look
    /// takes no lock that lasts until the tokens are taken. Slots that were
    /// taken before the one that is missing are given back.
    fn take_held(self: &Arc<Self>, now: u64, asks: &Asks, needs: &Needs) -> Option<TakenSlots> {
        let mut slots = TakenSlots::new();
        for (ask, need) in asks.iter().zip(needs) {
            match need {
                Some(_) => slots.push(ShareSlot::empty(now)),
                None => match ask.take(now, 0, false) {
                    Local::Taken(slot) => slots.push(slot),
                    Local::Refused(_) | Local::Ask { .. } | Local::Overflow => {
                        self.give_back(now, asks, &slots);
                        return None;
                    }
                },
            }
        }
        Some(slots)
    }

    /// Asks the store, for no longer than its timeout. Then `on_error` decides.
    ///
    /// Without a permit of the client the request does not wait at all:
    /// `on_error` decides, and the metrics count an `overload`. A timeout
    /// counts as a failure for the circuit of the whole, unless the call of a
    /// cluster's node has counted it already.
    async fn ask_in_time(self: Arc<Self>, mut asks: Asks) -> StoreOutcome {
        let deadline = Instant::now() + self.settings.timeout;
        let client = self.client();
        let Some(_permit) = client.permit() else {
            self.metrics.failed("overload");
            return self.alone(asks);
        };
        // Each node of a cluster has this deadline by itself, so that the
        // response of one is not lost by that of another.
        let end = if self.settings.is_cluster {
            deadline + TICK
        } else {
            deadline
        };
        match crate::runtime::timer::timeout_at(end, self.ask(client, &mut asks, deadline)).await {
            Ok(Some(Ok((now, slots, away)))) if away.is_empty() => Ok(admitted(now, asks, slots)),
            Ok(Some(Ok((now, slots, away)))) => self.complete(now, asks, slots, &away),
            Ok(Some(Err(refusal))) => Err(Refused::Limits(refusal)),
            Ok(None) => self.alone(asks),
            Err(_) => {
                self.metrics.failed("timeout");
                // With a connection a node was too slow, and the call of that
                // node has counted it.
                if !self.settings.is_cluster || !client.is_connected() {
                    self.timed_out(&self.whole);
                }
                self.alone(asks)
            }
        }
    }

    /// Asks for the tokens that are not held here, or waits for a request that
    /// asks for the same. `None` if the store does not answer.
    ///
    /// Only an ask that wants tokens ahead makes its key a hot one, for which
    /// requests form a batch. A follower looks again after its leader, and
    /// finds its tokens here if the lease suffices. A leader adds to its own
    /// wish the tokens that its followers want.
    async fn ask(
        self: &Arc<Self>,
        client: &StoreClient,
        asks: &mut Asks,
        deadline: Instant,
    ) -> Option<Answered> {
        loop {
            let now = Clock.now().as_nanos();
            let mut needs = match self.look(now, asks) {
                Ok(needs) => needs,
                Err(refusal) => return Some(Err(refusal)),
            };
            let mut hot: SmallVec<[(Name, u32); 2]> = SmallVec::new();
            for (ask, need) in asks.iter().zip(&needs) {
                if let Some(1..) = need {
                    hot.push((ask.name, ask.cost));
                }
            }
            let leader = match client.batches.join(&hot) {
                BatchRole::Follower(follower) => {
                    follower.completed().await;
                    continue;
                }
                BatchRole::Leader(leader) => leader,
            };
            let mut wanted = leader.wanted.iter();
            for need in &mut needs {
                if let Some(ahead @ 1..) = need
                    && let Some(wanted) = wanted.next()
                {
                    *ahead = ahead.saturating_add(*wanted);
                }
            }
            let Some(slots) = self.take_held(now, asks, &needs) else {
                continue;
            };
            if needs.iter().all(Option::is_none) {
                // The tokens came while it waited.
                return Some(Ok((now, slots, Away::new())));
            }
            return self.ask_now(client, asks, &needs, slots, deadline).await;
        }
    }

    /// Makes the call, and learns from its replies.
    ///
    /// Each ask with a need takes the next reply, in the order of the asks. A
    /// missing reply marks the ask as away; only nodes of a cluster can be
    /// missing one by one. A refusal returns the tokens that the other asks
    /// have taken.
    async fn ask_now(
        self: &Arc<Self>,
        client: &StoreClient,
        asks: &Asks,
        needs: &Needs,
        mut slots: TakenSlots,
        deadline: Instant,
    ) -> Option<Answered> {
        let mut wants = Vec::with_capacity(asks.len());
        for (ask, need) in asks.iter().zip(needs) {
            if let Some(ahead) = need {
                wants.push((ask, QuestionKind::Take(ask.cost), *ahead));
            }
        }
        let replies = self.call(client, &wants, deadline).await;
        let now = Clock.now().as_nanos();
        if replies.is_empty() {
            self.give_back(now, asks, &slots);
            return None;
        }
        let mut refusal: Option<Refusal> = None;
        let mut away = Away::new();
        let mut replies = replies.into_iter();
        for (index, (ask, slot)) in asks.iter().zip(&mut slots).enumerate() {
            if needs[index].is_none() {
                continue;
            }
            let Some(reply) = replies.next() else {
                continue;
            };
            let Some(TimedReply { reply, trip }) = reply else {
                away.resize(asks.len(), false);
                away[index] = true;
                continue;
            };
            *slot = ask
                .limit
                .ledger
                .learn(ask.name, *ask.gcra(), ask.cost, reply, trip);
            let gcra = *ask.gcra();
            let missing = (reply.before + gcra.weight(ask.cost)).saturating_sub(gcra.fill());
            if !reply.admitted && missing > 0 {
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

    /// Returns tokens without waiting: with leases to what is held here, else
    /// to the store. With leases, nothing is returned to the store: that would
    /// shift the TAT under leases that other gateways hold. Tokens that cannot
    /// be held here any more come back with time alone.
    pub(super) fn give_back(self: &Arc<Self>, now: u64, asks: &Asks, slots: &[ShareSlot]) {
        for (ask, slot) in asks.iter().zip(slots) {
            let back = slot.rest(now, 0);
            if self.most_ahead(ask) > 0 {
                ask.limit.ledger.give_back(now, ask.name, *slot);
            } else if back > 0 && slot.since > 0 {
                ask.limit.ledger.returned(ask.name, back);
                self.spawn_call(
                    ask.clone(),
                    QuestionKind::GiveBack {
                        back,
                        since: slot.since,
                        reach: slot.reach,
                    },
                );
            }
        }
    }
}
