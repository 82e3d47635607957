//! The buckets of one limit as this gateway knows them: bounded, and forgetting any of them is safe.

use std::{collections::HashMap, num::NonZeroUsize};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::{
    name::Name,
    share::{Local, Pace, Share, Slot, Told, Trip},
};

/// Shares by name. A hot key is asked for by all workers: the lock is held for a look and a few additions.
#[derive(Debug)]
pub(super) struct Ledger {
    shards: Box<[Mutex<Shard>]>,
    /// Of each of a shard's two generations.
    most: usize,
    max_keys: NonZeroUsize,
}

/// Two generations: what is used moves to the young one; when that is full it becomes the old one, and what was not
/// used since is forgotten. As bounded as a list of the least recently used, without the list.
#[derive(Debug, Default)]
struct Shard {
    young: Generation,
    old: Generation,
}

type Generation = HashMap<u128, Share, RandomState>;

/// More than there are workers, so that two seldom meet.
const SHARDS: usize = 64;

impl Ledger {
    /// For about `max_keys` keys; each takes some 120 bytes while it is known.
    pub(super) fn new(max_keys: NonZeroUsize) -> Self {
        let shards = SHARDS.min(max_keys.get());
        let most = max_keys.get().div_ceil(2 * shards);
        Self { shards: (0..shards).map(|_| Mutex::default()).collect(), most, max_keys }
    }

    /// Whether it was made for so many keys.
    pub(super) fn is_for(&self, max_keys: NonZeroUsize) -> bool {
        self.max_keys == max_keys
    }

    /// Keys known.
    pub(super) fn len(&self) -> usize {
        let len = |shard: &Mutex<Shard>| {
            let shard = shard.lock();
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(len).sum()
    }

    /// Decides without asking, if that can be done; with `keep` it only looks.
    pub(super) fn take(&self, now: u64, name: Name, pace: Pace, cost: u32, most_ahead: u32, keep: bool) -> Local {
        let known = self.with(name, false, |share| share.take(now, pace, cost, most_ahead, keep));
        known.unwrap_or(Local::Ask { ahead: 0 })
    }

    /// Learns what the store said.
    pub(super) fn learn(&self, name: Name, pace: Pace, cost: u32, told: Told, trip: Trip) -> Slot {
        let slot = self.with(name, true, |share| share.learn(pace, cost, told, trip));
        slot.unwrap_or(Slot::empty(trip.sent))
    }

    /// Takes tokens back into what is held here; gives how much of the line, `None` if they are not of what is held.
    pub(super) fn give_back(&self, now: u64, name: Name, slot: Slot) -> Option<u64> {
        self.with(name, false, |share| share.give_back(now, slot)).flatten()
    }

    /// So much of the line, in nanoseconds, is on its way back to the store.
    pub(super) fn returned(&self, name: Name, back: u64) {
        self.with(name, false, |share| share.returned(back));
    }

    /// Whole tokens left and nanoseconds until the bucket is full, as far as is known here.
    pub(super) fn standing(&self, now: u64, name: Name, pace: Pace) -> (u32, u64) {
        let unknown = Share::default();
        self.with(name, false, |share| share.standing(now, pace)).unwrap_or_else(|| unknown.standing(now, pace))
    }

    /// Nanoseconds of the bucket's line that are held here and have not begun.
    pub(super) fn held(&self, now: u64, name: Name) -> u64 {
        self.with(name, false, |share| share.held(now)).unwrap_or(0)
    }

    /// Forgets the bucket; what was held of it counts as used.
    pub(super) fn forget(&self, name: Name) {
        let mut shard = self.shards[name.spread() % self.shards.len()].lock();
        shard.young.remove(&name.number());
        shard.old.remove(&name.number());
    }

    fn with<T>(&self, name: Name, make: bool, act: impl FnOnce(&mut Share) -> T) -> Option<T> {
        let mut shard = self.shards[name.spread() % self.shards.len()].lock();
        let shard = &mut *shard;
        if let Some(share) = shard.young.get_mut(&name.number()) {
            return Some(act(share));
        }
        let mut share = match shard.old.remove(&name.number()) {
            Some(share) => share,
            None if make => Share::default(),
            None => return None,
        };
        let done = act(&mut share);
        if shard.young.len() >= self.most {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(name.number(), share);
        Some(done)
    }
}
