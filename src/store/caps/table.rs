//! The keys of shared caps that have requests in flight here: state and
//! arithmetic only, without a call.
//!
//! # Why the gateways together never have one too many
//!
//! The store has a number of permits for each gateway and key. It grants a
//! larger number only if the sum over all gateways stays within the cap, in one
//! step. A gateway admits a request only within the number that it was granted,
//! and only while that surely lasts: it counts the lease from the sending, the
//! store from the receiving. A number that is about to become smaller counts
//! here as smaller from the moment at which the question is collected, before
//! the store hears of it.
//!
//! Questions hold whole numbers and not differences, so that a lost or repeated
//! call changes nothing. They are numbered, so that one that comes late does not
//! take the place of a later one.
//!
//! # Requests without a permit
//!
//! While the store does not answer, `on_error` may admit requests that it knows
//! nothing of, and a lease may end with requests in flight. They are in `held`,
//! and `held` is the `floor` of each question: the store counts them as soon as
//! it answers again, even beyond the cap, and grants no more until enough of
//! them have ended.
//!
//! # Bounds
//!
//! A key has an entry while requests of it are in flight or wait here, and
//! until the store has taken its permits back or the lease is over.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::{limit::Standing, store::name::Name};

/// How long permits count at the store without a word of their gateway. A
/// gateway that dies leaves its permits taken for so long at most. Several
/// renewals may be lost before it is over.
pub(super) const LEASE: Duration = Duration::from_secs(10);

/// The keys of this process with requests in flight under shared caps. Kept
/// over reloads, also of the store.
#[derive(Debug, Default)]
pub struct CapTable {
    /// The name of this process at the store.
    pub(super) gateway: GatewayId,
    state: Mutex<TableState>,
    /// Wakes the keeper when the store is to be told or asked.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct TableState {
    entries: HashMap<Name, CapEntry>,
    /// The keys whose `is_changed` is set, in that order.
    changed: VecDeque<Name>,
    /// The number of the last question.
    seq: u64,
}

/// One key.
#[derive(Debug)]
struct CapEntry {
    limit: Arc<str>,
    /// The cap, as of the last request.
    most: NonZeroU32,
    /// Requests in flight here.
    held: u32,
    /// Permits that the store has granted to this gateway.
    granted: u32,
    /// Permits that other gateways had then.
    others: u32,
    /// The moment until which they surely last, in nanoseconds.
    until: u64,
    /// Requests that wait for the store.
    waiting: VecDeque<oneshot::Sender<CapOutcome>>,
    /// Of these, the first so many are in the question that is on its way.
    asked: usize,
    /// Whether a question is on its way.
    is_asked: bool,
    /// Whether the store is to be asked or told.
    is_changed: bool,
}

/// A name that no other process has: random, as gateways do not know each
/// other.
#[derive(Debug)]
pub(in crate::store) struct GatewayId(pub(in crate::store) u64);

impl Default for GatewayId {
    fn default() -> Self {
        Self(rand::random())
    }
}

/// The right of a request to be in flight under a shared cap. Given back on
/// drop; the store hears of it with the next call.
#[derive(Debug)]
pub struct SharedPermit {
    table: Arc<CapTable>,
    name: Name,
}

impl Drop for SharedPermit {
    fn drop(&mut self) {
        self.table.release(self.name);
    }
}

/// The outcome of a wait for the store: a permit, and how the key stands then
/// over all gateways.
pub(super) type CapOutcome = Result<(SharedPermit, Standing), CapRefused>;

/// Why the store gave no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CapRefused {
    /// All permits of the key are taken.
    Full,
    /// The store does not answer.
    Unavailable,
}

/// The decision about one request, if it is possible without a call.
pub(super) enum CapDecision {
    /// A permit that was granted before is free.
    Granted(SharedPermit, Standing),
    /// The store is asked.
    Waiting(oneshot::Receiver<CapOutcome>),
}

/// The reply of the store about one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct CapReply {
    /// Permits of this gateway from now on.
    pub(in crate::store) granted: u32,
    /// Permits of all others.
    pub(in crate::store) others: u32,
}

/// A question to the store about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct CapQuestion {
    pub(in crate::store) name: Name,
    pub(in crate::store) limit: Arc<str>,
    /// Requests in flight here.
    pub(in crate::store) floor: u32,
    /// The same, and those that wait.
    pub(in crate::store) want: u32,
    pub(in crate::store) most: NonZeroU32,
    pub(in crate::store) seq: u64,
}

impl CapQuestion {
    /// The key in the store.
    pub(in crate::store) fn store_key(&self) -> String {
        self.name.cap_key(&self.limit)
    }
}

impl CapTable {
    /// Gives a permit of this key that was granted before and is free, or asks
    /// the store for one.
    pub(super) fn acquire(
        self: &Arc<Self>,
        now: u64,
        name: Name,
        limit: &Arc<str>,
        most: NonZeroU32,
    ) -> CapDecision {
        let mut state = self.state.lock();
        let entry = state.entry(name, limit, most);
        if entry.waiting.is_empty() && entry.has_free(now) && entry.held < most.get() {
            entry.held += 1;
            return CapDecision::Granted(self.permit(name), entry.standing());
        }
        let (sender, receiver) = oneshot::channel();
        entry.waiting.push_back(sender);
        state.note_changed(name);
        drop(state);
        self.changed.notify_one();
        CapDecision::Waiting(receiver)
    }

    /// Counts a request that is admitted without the store.
    pub(super) fn admit_alone(
        self: &Arc<Self>,
        name: Name,
        limit: &Arc<str>,
        most: NonZeroU32,
    ) -> SharedPermit {
        let mut state = self.state.lock();
        let entry = state.entry(name, limit, most);
        entry.held = entry.held.saturating_add(1);
        state.note_changed(name);
        drop(state);
        self.changed.notify_one();
        self.permit(name)
    }

    fn permit(self: &Arc<Self>, name: Name) -> SharedPermit {
        SharedPermit {
            table: Arc::clone(self),
            name,
        }
    }

    /// Counts one request less. The store hears of it with the next call.
    fn release(&self, name: Name) {
        let mut state = self.state.lock();
        if let Some(entry) = state.entries.get_mut(&name) {
            entry.held = entry.held.saturating_sub(1);
            state.note_changed(name);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The questions about at most `most` keys that have changed. Empty if none
    /// has.
    pub(super) fn collect(&self, most: usize) -> Vec<CapQuestion> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut questions = Vec::new();
        while questions.len() < most
            && let Some(name) = state.changed.pop_front()
        {
            if let Some(entry) = state.entries.get_mut(&name) {
                state.seq += 1;
                questions.push(entry.question(name, state.seq));
            }
        }
        questions
    }

    /// Has all keys asked about that have permits at the store or requests that
    /// wait, and forgets those of which nothing is left.
    pub(super) fn renew(&self, now: u64) {
        let mut state = self.state.lock();
        state.entries.retain(|_, entry| !entry.is_over(now));
        let names: Vec<Name> = state.entries.keys().copied().collect();
        for name in names {
            state.note_changed(name);
        }
    }

    /// Whether there is nothing to renew.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().entries.is_empty()
    }

    /// Takes over the reply to a question that was sent at `sent`, and admits
    /// or refuses the requests that it was asked for.
    pub(super) fn learn(self: &Arc<Self>, sent: u64, question: &CapQuestion, reply: CapReply) {
        let mut told = Vec::new();
        let mut state = self.state.lock();
        let name = question.name;
        if let Some(entry) = state.entries.get_mut(&name) {
            entry.is_asked = false;
            (entry.granted, entry.others) = (reply.granted, reply.others);
            entry.until = sent.saturating_add(LEASE.as_nanos() as u64);
            for _ in 0..std::mem::take(&mut entry.asked) {
                let Some(sender) = entry.waiting.pop_front() else {
                    break;
                };
                if sender.is_closed() {
                    continue;
                }
                if entry.held < entry.granted {
                    entry.held += 1;
                    told.push((sender, Ok((self.permit(name), entry.standing()))));
                } else {
                    told.push((sender, Err(CapRefused::Full)));
                }
            }
            if entry.held != entry.granted || !entry.waiting.is_empty() {
                state.note_changed(name);
            } else if entry.is_over(sent) {
                state.entries.remove(&name);
            }
        }
        drop(state);
        self.tell(told);
    }

    /// Notes that a question has no reply: nobody knows whether the store heard
    /// it. The requests that it was asked for go by `on_error`.
    pub(super) fn failed(&self, question: &CapQuestion) {
        let mut told = Vec::new();
        let mut state = self.state.lock();
        if let Some(entry) = state.entries.get_mut(&question.name) {
            entry.is_asked = false;
            let asked = std::mem::take(&mut entry.asked).min(entry.waiting.len());
            let asked = entry.waiting.drain(..asked);
            told.extend(asked.map(|sender| (sender, Err(CapRefused::Unavailable))));
            state.note_changed(question.name);
        }
        drop(state);
        self.tell(told);
    }

    /// Tells requests how they were decided. One that has left gives its permit
    /// back here, which takes the lock.
    fn tell(&self, told: Vec<(oneshot::Sender<CapOutcome>, CapOutcome)>) {
        for (sender, outcome) in told {
            drop(sender.send(outcome));
        }
    }
}

impl TableState {
    /// The entry of a key, made if there is none.
    fn entry(&mut self, name: Name, limit: &Arc<str>, most: NonZeroU32) -> &mut CapEntry {
        let entry = self.entries.entry(name);
        let entry = entry.or_insert_with(|| CapEntry {
            limit: Arc::clone(limit),
            most,
            held: 0,
            granted: 0,
            others: 0,
            until: 0,
            waiting: VecDeque::new(),
            asked: 0,
            is_asked: false,
            is_changed: false,
        });
        entry.most = most;
        entry
    }

    /// Has the store asked about a key.
    fn note_changed(&mut self, name: Name) {
        if let Some(entry) = self.entries.get_mut(&name)
            && !entry.is_changed
        {
            entry.is_changed = true;
            self.changed.push_back(name);
        }
    }
}

impl CapEntry {
    /// Whether a permit is granted and not held, and surely lasts at `now`.
    fn has_free(&self, now: u64) -> bool {
        self.held < self.granted && now < self.until
    }

    /// The question about this key. Permits that it does not want count as
    /// returned from now on.
    fn question(&mut self, name: Name, seq: u64) -> CapQuestion {
        self.waiting.retain(|sender| !sender.is_closed());
        self.asked = self.waiting.len();
        (self.is_changed, self.is_asked) = (false, true);
        let waiting = u32::try_from(self.asked).unwrap_or(u32::MAX);
        let want = self.held.saturating_add(waiting);
        self.granted = self.granted.min(want);
        CapQuestion {
            name,
            limit: Arc::clone(&self.limit),
            floor: self.held,
            want,
            most: self.most,
            seq,
        }
    }

    /// How the key stands over all gateways, as far as is known here.
    fn standing(&self) -> Standing {
        Standing::in_flight(self.most, self.held.saturating_add(self.others))
    }

    /// Whether nothing of it is left, here or at the store.
    fn is_over(&self, now: u64) -> bool {
        let is_idle = self.held == 0 && self.waiting.iter().all(oneshot::Sender::is_closed);
        let is_settled = self.granted == 0 && !self.is_changed && !self.is_asked;
        is_idle && (is_settled || now >= self.until)
    }
}

#[cfg(test)]
impl CapTable {
    /// Requests in flight of a key, and the permits that it was granted.
    pub(super) fn of(&self, name: Name) -> (u32, u32) {
        let state = self.state.lock();
        let entry = state.entries.get(&name);
        entry.map_or((0, 0), |entry| (entry.held, entry.granted))
    }

    /// Keys with an entry.
    pub(super) fn len(&self) -> usize {
        self.state.lock().entries.len()
    }
}
