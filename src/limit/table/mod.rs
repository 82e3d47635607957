//! Where buckets live: a bounded open-addressing table of atomics, shared by
//! all workers.
//!
//! A slot is a key and its TAT: 16 bytes, four to a cache line. A class of two
//! bytes for each slot, which says by which quota the TAT is measured, lies
//! apart. There are at least twice as many slots as keys may be held, so probes
//! are short. Memory comes zeroed from the system and costs nothing until a
//! slot is used, see `pages`.
//!
//! # Protocol
//!
//! *A hit* reads the TAT, decides, and stores the new one by compare-and-swap
//! ([`KeyTable::replace`]). The key is looked at before and after. A key
//! changes only while its slot is [`LOCKED`], and only a slot whose bucket is
//! idle (its TAT is not after now) gets another key. So the worst that a hit
//! can do in between is to charge its tokens to the slot's new key, and only if
//! the new key's TAT equals an idle one; nobody ever gains a token.
//!
//! *A new key* ([`KeyTable::insert`]) goes into the first free slot of its
//! probe window while the table holds fewer than `max_keys`. In a full table it
//! replaces a key in the window whose bucket is idle, that is full again, so
//! that nothing is forgotten. If all keys in the window are in debt, the new
//! key finds no slot and shares the overflow bucket: it can never win a fresh
//! bucket by pushing out a debtor. A slot that was used becomes [`VACANT`],
//! never [`EMPTY`] again, so that an empty slot ends every search. `insert`
//! explains how concurrent inserters stay out of each other's way.
//!
//! There is no mutex. A slot is locked by a mark in its TAT while it changes
//! hands, for as long as a look through one window takes; a thread that meets
//! the mark spins, then yields. A thread that the system stops while it holds
//! such a lock delays those that want this slot, and no others.
//!
//! # States of a slot
//!
//! ```text
//! key        TAT                 the slot
//! EMPTY      0                   has never had a key
//! EMPTY      LOCKED              gets its first key
//! a key      LOCKED              is published or changes hands, or its debt is
//!                                converted or moves
//! a key      up to now           holds a key with a full bucket, which may go
//! a key      after now           holds a key in debt, which stays
//! a key      MOVED               is answered for by the table that took over
//! VACANT     0                   had a key, and ends no search
//! ```
//!
//! Only the thread that set [`LOCKED`] leaves that state. Everything else is a
//! compare-and-swap of the TAT.
//!
//! # Why open addressing
//!
//! A hash map behind a lock would make every worker wait for one, and a map of
//! shards grows: the memory of a rehash is not bounded by the number of keys
//! that are held. Here a hit is two loads and one compare-and-swap in one or
//! two cache lines. The hash is keyed, so that nobody outside can fill one
//! window on purpose.
//!
//! # Tests
//!
//! `tests::races` and `tests::interleavings` run real threads.
//! `tests::schedules` compiles this folder a second time over the atomics of
//! shuttle, which explores schedules at every access. Shuttle takes every
//! access for sequentially consistent, which is right for inserting and
//! stronger than `Acquire` and `AcqRel` of hits; loom would explore these, but
//! weakens the `SeqCst` that inserting depends on, and so reports races that
//! cannot happen.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};

use crossbeam_utils::CachePadded;

use super::pages::{AtomicBool, AtomicU16, AtomicUsize, Backoff, PART, Pages, Slot};
use crate::limit::{Key, LimiterError};

mod glance;
mod insert;
mod walk;

pub(in crate::limit) use glance::Glance;
pub(in crate::limit) use insert::Insert;
pub(in crate::limit) use walk::{Bucket, Occupied};

/// A bounded map from keys to TATs.
#[derive(Debug)]
pub(in crate::limit) struct KeyTable {
    pages: Pages,
    /// Bits by which a hash is shifted for the first slot of its window.
    shift: u32,
    /// For each [`PART`] of the slots, whether a key was ever put there. A walk
    /// over all keys looks nowhere else.
    touched: Box<[AtomicBool]>,
    /// Whether a key with a quota of its own has ever come. Until then no class
    /// is read or written.
    has_classes: AtomicBool,
    max_keys: usize,
    /// Slots that hold a key or are locked to get one; never above `max_keys`.
    /// Changes only when keys come and go, and lies apart from everything that
    /// hits read.
    keys: CachePadded<AtomicUsize>,
    /// Counts slots that a key has left to no other key. A look through a
    /// window during which this did not change has missed no slot that became
    /// free; see `insert`.
    departures: CachePadded<AtomicUsize>,
    /// New keys go to the table that takes over.
    closed: AtomicBool,
}

/// The state of a slot, as seen for one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) enum Read {
    /// The bucket's TAT.
    Tat(u64),
    /// The slot holds another key by now.
    Changed,
    /// The bucket lives in the table that took over.
    Moved,
}

/// The key under which the overflow bucket is found.
pub(in crate::limit) const OVERFLOW: Key = Key::from_raw(2);

impl KeyTable {
    /// An empty table for at most `max_keys` keys.
    ///
    /// # Errors
    /// Fails if there is no memory for so many keys.
    pub(in crate::limit) fn new(max_keys: NonZeroUsize) -> Result<Self, LimiterError> {
        let max_keys = max_keys.get();
        let too_many = LimiterError::TooManyKeys { max_keys };
        let probed = max_keys
            .checked_mul(2)
            .and_then(usize::checked_next_power_of_two)
            .ok_or(too_many)?;
        let pages = probed
            .checked_add(1)
            .and_then(Pages::zeroed)
            .ok_or(too_many)?;
        pages.slots()[probed][KEY].store(OVERFLOW.hash(), Relaxed);
        let part_of_overflow = probed / PART;
        Ok(Self {
            pages,
            shift: u64::BITS - probed.trailing_zeros(),
            touched: (0..=part_of_overflow)
                .map(|part| AtomicBool::new(part == part_of_overflow))
                .collect(),
            has_classes: AtomicBool::new(false),
            max_keys,
            keys: CachePadded::default(),
            departures: CachePadded::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Number of keys held.
    pub(in crate::limit) fn keys(&self) -> usize {
        self.keys.load(Relaxed)
    }

    /// Most bytes the slots can come to occupy.
    pub(in crate::limit) fn bytes(&self) -> usize {
        size_of_val(self.slots()) + size_of_val(self.classes())
    }

    /// The slot of `key`; `None` if the table does not hold it. A slot that is
    /// being given to the key counts already: [`KeyTable::read`] waits for it.
    #[inline]
    pub(in crate::limit) fn find(&self, key: Key) -> Option<usize> {
        if key == OVERFLOW {
            return Some(self.probed());
        }
        for index in self.window(key) {
            match self.slots()[index][KEY].load(Acquire) {
                EMPTY => return None,
                found if found == key.hash() => return Some(index),
                _ => {}
            }
        }
        None
    }

    /// The TAT of `key` in its slot. Spins while the slot is locked.
    #[inline]
    pub(in crate::limit) fn read(&self, index: usize, key: Key) -> Read {
        let backoff = Backoff::new();
        loop {
            let tat = self.slots()[index][TAT].load(Acquire);
            match tat {
                _ if !self.holds(index, key) => return Read::Changed,
                LOCKED => backoff.snooze(),
                MOVED => return Read::Moved,
                tat => return Read::Tat(tat),
            }
        }
    }

    /// Whether the slot holds `key`.
    #[inline]
    pub(in crate::limit) fn holds(&self, index: usize, key: Key) -> bool {
        self.slots()
            .get(index)
            .is_some_and(|slot| slot[KEY].load(Acquire) == key.hash())
    }

    /// Replaces the TAT of `key` by `next` if it is still `seen`. Returns
    /// whether it was. An index that no slot has holds no key.
    ///
    /// The key is looked at before, so that a key that came into the slot with
    /// the same TAT is not charged, and after: if the slot changed hands in
    /// between, the tokens went to another key, and the caller decides anew.
    #[inline]
    pub(in crate::limit) fn replace(&self, index: usize, key: Key, seen: u64, next: u64) -> bool {
        self.slots()
            .get(index)
            .is_some_and(|slot| replace(slot, key.hash(), seen, next))
    }

    /// The class of a slot: 0 for the limit's own quota, else that of another,
    /// see `classes`. To be read after the TAT. A change of the class changes
    /// the TAT as well, so a thread that then replaces the TAT it read has read
    /// the class that belongs to it.
    #[inline(always)]
    pub(in crate::limit) fn class(&self, index: usize) -> u16 {
        if self.has_classes.load(Relaxed) {
            self.classes()[index].load(Acquire)
        } else {
            0
        }
    }

    /// Replaces the TAT `seen` of `key` by `tat`, as the quota of `class`
    /// measures the same debt. Does nothing if the TAT has changed since it was
    /// read.
    pub(in crate::limit) fn convert(
        &self,
        index: usize,
        key: Key,
        seen: u64,
        tat: u64,
        class: u16,
    ) {
        if self.lock(SeenSlot {
            distance: 0,
            index,
            key: key.hash(),
            tat: seen,
        }) {
            self.set_class(index, class);
            // Never the same as before, so that a thread that read the old
            // class cannot replace the TAT. A nanosecond is less than a token.
            let tat = if tat == seen { seen + 1 } else { tat };
            self.slots()[index][TAT].store(tat, SeqCst);
        }
    }

    /// Sets the class of a locked slot.
    fn set_class(&self, index: usize, class: u16) {
        if class != 0 {
            self.has_classes.store(true, SeqCst);
        }
        if self.has_classes.load(SeqCst) {
            self.classes()[index].store(class, SeqCst);
        }
    }

    /// See [`Pages::slots`].
    #[inline(always)]
    fn slots(&self) -> &[Slot] {
        self.pages.slots()
    }

    /// The class of each slot. It changes only while the slot is locked, and is
    /// not touched until `has_classes`.
    #[inline(always)]
    fn classes(&self) -> &[AtomicU16] {
        self.pages.classes()
    }

    /// Number of slots that are probed; the overflow bucket's index.
    fn probed(&self) -> usize {
        self.slots().len() - 1
    }

    /// The slots in which `key` may live, in the order of search. The highest
    /// bits choose the first one, so that a walk over one table fills another
    /// in order.
    #[inline]
    fn window(&self, key: Key) -> impl Iterator<Item = usize> + use<> {
        let (mask, home) = (self.probed() - 1, self.home(key));
        (0..self.probed().min(WINDOW)).map(move |distance| (home + distance) & mask)
    }

    /// The first slot in which `key` may live.
    #[inline(always)]
    fn home(&self, key: Key) -> usize {
        (key.hash() >> self.shift) as usize
    }

    /// Locks a slot if it is still as it was seen. Returns whether it was.
    fn lock(
        &self,
        SeenSlot {
            index, key, tat, ..
        }: SeenSlot,
    ) -> bool {
        let slot = &self.slots()[index];
        if tat >= MOVED
            || slot[TAT]
                .compare_exchange(tat, LOCKED, SeqCst, Relaxed)
                .is_err()
        {
            return false;
        }
        // By chance another key may have the same TAT.
        let same = slot[KEY].load(SeqCst) == key;
        if !same {
            slot[TAT].store(tat, SeqCst);
        }
        same
    }

    /// Takes the key out of a locked slot, and unlocks it. The departure is
    /// counted first: a thread that finds the key gone also finds the count
    /// changed.
    fn vacate(&self, index: usize) {
        self.departures.fetch_add(1, SeqCst);
        self.slots()[index][KEY].store(VACANT, SeqCst);
        self.slots()[index][TAT].store(0, SeqCst);
    }
}

/// Replaces the TAT of `key` in its slot, see [`KeyTable::replace`].
#[inline(always)]
fn replace(slot: &Slot, key: u64, seen: u64, next: u64) -> bool {
    slot[KEY].load(Acquire) == key
        && (seen == next
            || slot[TAT]
                .compare_exchange(seen, next, AcqRel, Relaxed)
                .is_ok())
        && slot[KEY].load(Acquire) == key
}

/// A slot as it was seen.
#[derive(Debug, Clone, Copy)]
struct SeenSlot {
    /// Steps from the start of the window.
    distance: usize,
    index: usize,
    key: u64,
    tat: u64,
}

/// Indices within a slot.
const KEY: usize = 0;
const TAT: usize = 1;

/// The key of a slot that was never used; ends a search.
const EMPTY: u64 = 0;
/// The key of a slot whose key has gone; does not end a search.
const VACANT: u64 = 1;

/// The TAT of a slot that changes hands. The thread that sets it also replaces
/// it, after at most a look through one window.
const LOCKED: u64 = u64::MAX;
/// The TAT of a bucket that lives in another table now.
const MOVED: u64 = u64::MAX - 1;

/// Slots of one search: 16 cache lines. With half of the slots in use, the
/// chance that all of a window are is below one in a million. Smaller tables
/// are searched whole.
const WINDOW: usize = 64;
