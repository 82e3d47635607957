//! The buckets of one limit as this gateway knows them: bounded, and none that
//! is in debt is forgotten. So the gateway fills the store with no more keys
//! than the limit may have. When there is no room, all further keys share the
//! *overflow bucket*.
//!
//! # Concurrency
//!
//! Shares are spread over shards by bits of their name, each behind a lock. All
//! workers ask for a hot key, so a lock is held for a look-up and a few
//! additions only, and never across a call.
//!
//! # Bounds
//!
//! At most `max_keys` shares, and the overflow bucket besides. A new key that
//! finds the ledger full sweeps: shares whose debt is over are forgotten, at
//! most some 4,096 at a look and each shard once a second. So a flood of new
//! keys costs each of them a bounded search, and once every shard was swept,
//! hardly any.
//!
//! # Reloads
//!
//! The ledger outlives the configuration as long as `max_keys` stays
//! (`SharedLimit::new`). A share that was learnt under another quota is
//! forgotten when it is next used.

use std::{
    collections::{HashMap, hash_map::Entry},
    num::NonZeroUsize,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};

use super::{
    name::Name,
    share::{BucketShare, Local, MOMENT, Reply, ShareSlot, Trip},
};
use crate::limit::Gcra;

/// The shares of one limit, by name.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The shares, by bits of their names.
    shards: Box<[Mutex<LedgerShard>]>,
    /// Keys in all shards, without the overflow bucket; never above
    /// `max_keys`.
    keys: AtomicUsize,
    /// The most keys, without the overflow bucket.
    max_keys: NonZeroUsize,
}

/// A part of the shares.
///
/// Its lock is held while it is swept, too.
#[derive(Debug, Default)]
struct LedgerShard {
    /// The share of each key, by the number of its name.
    shares: HashMap<u128, BucketShare, RandomState>,
    /// The time of its last sweep; 0 for never.
    swept: u64,
}

/// More than there are workers, so that two of them seldom meet.
///
/// A limit with fewer keys has one shard for each of them.
const SHARDS: usize = 64;

/// Keys that one new key may look at in the search for one whose debt is over;
/// more by at most a shard. That takes a few microseconds, and each shard is
/// searched at most once a second.
const MOST_LOOKED_AT: usize = 4096;

impl Ledger {
    /// A ledger of at most `max_keys` keys; each takes some 120 bytes while it
    /// is known.
    pub(super) fn new(max_keys: NonZeroUsize) -> Self {
        let shards = SHARDS.min(max_keys.get());
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            keys: AtomicUsize::new(0),
            max_keys,
        }
    }

    /// Whether it was made for this number of keys.
    pub(super) fn is_for(&self, max_keys: NonZeroUsize) -> bool {
        self.max_keys == max_keys
    }

    /// The number of keys that are known.
    pub(super) fn len(&self) -> usize {
        self.keys.load(Relaxed)
    }

    /// Decides without a call if that is possible; with `keep` it only looks. A
    /// key that is asked for has a slot from then on, if there is room.
    ///
    /// `Ask` with nothing ahead is the outcome for a new key: its first request
    /// asks for its own tokens only, and a key that is seldom asked for leases
    /// nothing.
    pub(super) fn take(
        &self,
        now: u64,
        name: Name,
        gcra: Gcra,
        cost: u32,
        most_ahead: u32,
        keep: bool,
    ) -> Local {
        match self.with(name, |share| share.take(now, gcra, cost, most_ahead, keep)) {
            Some(local) => local,
            None if self.enter(now, name, BucketShare::expected(gcra, now)) => {
                Local::Ask { ahead: 0 }
            }
            None => Local::Overflow,
        }
    }

    /// Takes over the reply of the store about one bucket. Returns the slot of
    /// the request that asked.
    ///
    /// The share may have been forgotten while the call was in flight; it is
    /// then entered again, if there is room. Without room the slot is still
    /// right, and only the knowledge is lost.
    pub(super) fn learn(
        &self,
        name: Name,
        gcra: Gcra,
        cost: u32,
        reply: Reply,
        trip: Trip,
    ) -> ShareSlot {
        if let Some(slot) = self.with(name, |share| share.learn(gcra, cost, reply, trip)) {
            return slot;
        }
        let mut share = BucketShare::default();
        let slot = share.learn(gcra, cost, reply, trip);
        self.enter(trip.received, name, share);
        slot
    }

    /// Takes tokens back into the lease that is held here. Returns the
    /// nanoseconds that came back; `None` if the slot does not belong to this
    /// lease.
    pub(super) fn give_back(&self, now: u64, name: Name, slot: ShareSlot) -> Option<u64> {
        self.with(name, |share| share.give_back(now, slot))
            .flatten()
    }

    /// Notes that `back` nanoseconds of a bucket are on their way back to the
    /// store.
    pub(super) fn returned(&self, name: Name, back: u64) {
        self.with(name, |share| share.returned(back));
    }

    /// Takes `nanos` of a bucket, whether they are there or not. Returns how many
    /// the store is to be told of now, see [`BucketShare::owe`]. Of a key that is
    /// not known, and for which there is no room, it is told of all.
    pub(super) fn owe(&self, now: u64, name: Name, gcra: Gcra, nanos: u64) -> u64 {
        let owed = self.with(name, |share| share.owe(now, gcra, nanos));
        owed.unwrap_or_else(|| {
            let mut share = BucketShare::default();
            let owed = share.owe(now, gcra, nanos);
            self.enter(now, name, share);
            owed
        })
    }

    /// Ends a call that told the store what is owed, all but `unpaid`. Returns
    /// what the next one tells.
    pub(super) fn paid(&self, name: Name, unpaid: u64) -> u64 {
        self.with(name, |share| share.paid(unpaid)).unwrap_or(0)
    }

    /// Whole tokens left, and nanoseconds until the bucket is full, as far as
    /// is known here.
    pub(super) fn standing(&self, now: u64, name: Name, gcra: Gcra) -> (u32, u64) {
        match self.with(name, |share| share.standing(now, gcra)) {
            Some(standing) => standing,
            None => BucketShare::default().standing(now, gcra),
        }
    }

    /// Nanoseconds of the bucket that are held here and have not begun.
    pub(super) fn held(&self, now: u64, name: Name) -> u64 {
        self.with(name, |share| share.held(now)).unwrap_or(0)
    }

    /// Forgets the bucket. Tokens of it that were held count as used.
    ///
    /// Does nothing for a key that is not known.
    pub(super) fn forget(&self, name: Name) {
        let is_counted =
            self.shard(name).shares.remove(&name.number()).is_some() && name != Name::OVERFLOW;
        self.keys.fetch_sub(usize::from(is_counted), Relaxed);
    }

    /// Calls `act` with the share of a key, under its lock; `None` if it is not
    /// known.
    fn with<T>(&self, name: Name, act: impl FnOnce(&mut BucketShare) -> T) -> Option<T> {
        self.shard(name).shares.get_mut(&name.number()).map(act)
    }

    /// The locked shard of a key.
    fn shard(&self, name: Name) -> MutexGuard<'_, LedgerShard> {
        self.shards[name.spread() % self.shards.len()].lock()
    }

    /// Gives a key that is not known a slot, if there is one or if another
    /// key's debt is over. Returns whether it has one.
    ///
    /// The overflow bucket always has room. The count of keys is raised by a
    /// bounded update, so that it never exceeds `max_keys` even if several
    /// workers enter keys at once.
    fn enter(&self, now: u64, name: Name, share: BucketShare) -> bool {
        let is_full = self.len() >= self.max_keys.get() && name != Name::OVERFLOW;
        if is_full && !self.sweep(now, name) {
            return false;
        }
        let mut shard = self.shard(name);
        // Another worker may have been faster: its share stays.
        if let Entry::Vacant(place) = shard.shares.entry(name.number()) {
            let one_more = |keys: usize| (keys < self.max_keys.get()).then_some(keys + 1);
            if name != Name::OVERFLOW && self.keys.fetch_update(Relaxed, Relaxed, one_more).is_err()
            {
                return false;
            }
            place.insert(share);
        }
        true
    }

    /// Forgets keys whose debt is over, from the shard of `name` on, until
    /// there are some. Returns whether there were.
    ///
    /// The lock of one shard is held at a time. The overflow bucket is never
    /// forgotten.
    fn sweep(&self, now: u64, name: Name) -> bool {
        let count = self.shards.len();
        let first = name.spread() % count;
        let mut looked_at = 0;
        for at in first..first + count {
            let mut shard = self.shards[at % count].lock();
            if shard.swept > 0 && now < shard.swept.saturating_add(MOMENT) {
                continue;
            }
            shard.swept = now;
            let before = shard.shares.len();
            shard.shares.retain(|number, share| {
                share.is_in_debt(now) || *number == Name::OVERFLOW.number()
            });
            let freed = before - shard.shares.len();
            self.keys.fetch_sub(freed, Relaxed);
            looked_at += before;
            if freed > 0 || looked_at >= MOST_LOOKED_AT {
                return freed > 0;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Gcra = Gcra::from_parts(MOMENT, 3);

    fn asks(ledger: &Ledger, now: u64, name: u128) -> bool {
        let local = ledger.take(now, Name::from_raw(name), QUOTA, 1, 0, true);
        assert!(matches!(local, Local::Ask { .. } | Local::Overflow));
        matches!(local, Local::Ask { .. })
    }

    fn learn(ledger: &Ledger, now: u64, name: u128, after: u64) {
        let reply = Reply {
            admitted: true,
            before: 0,
            after,
            moved: 0,
            at: 1,
        };
        ledger.learn(
            Name::from_raw(name),
            QUOTA,
            1,
            reply,
            Trip {
                sent: now,
                received: now,
            },
        );
    }

    #[test]
    fn a_new_key_finds_no_room_where_all_keys_are_in_debt() {
        for max_keys in [1, 3, 100] {
            let ledger = Ledger::new(NonZeroUsize::new(max_keys).unwrap());
            let keys = 10..10 + max_keys as u128;
            for key in keys.clone() {
                assert!(asks(&ledger, 1, key));
                learn(&ledger, 1, key, 5 * MOMENT);
            }
            assert!((1000..2000).all(|key| !asks(&ledger, 2, key)), "{max_keys}");
            assert!(asks(&ledger, 2, Name::OVERFLOW.number()), "that they share");
            assert_eq!(ledger.len(), max_keys);
            // A second before the debts are over nobody has a place, after them
            // all have.
            assert!(!asks(&ledger, 4 * MOMENT, 1000), "{max_keys}");
            let later = 6 * MOMENT;
            assert!(
                (1000..1000 + max_keys as u128).all(|key| asks(&ledger, later, key)),
                "{max_keys}"
            );
            assert!(!asks(&ledger, later, 5000), "{max_keys}");
        }
    }

    #[test]
    fn a_key_without_a_reply_makes_room_for_another() {
        let ledger = Ledger::new(NonZeroUsize::MIN);
        assert!(asks(&ledger, 1, 10) && asks(&ledger, 1, 10));
        assert!(!asks(&ledger, 2, 11));
        assert!(asks(&ledger, 3 * MOMENT, 11));
        ledger.forget(Name::from_raw(11));
        assert_eq!(ledger.len(), 0);
    }
}
