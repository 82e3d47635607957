//! Where buckets live: a bounded open-addressing table of atomics, shared by all workers.
//!
//! A slot is a key and its TAT, 16 bytes, four to a cache line, and two bytes for the numbers that its debt is measured in,
//! apart. There are at least twice as many slots as keys may be held, so probes are short. Memory comes zeroed from the system
//! and costs nothing until a slot is used.
//!
//! # Protocol
//!
//! *A hit* reads the TAT, decides, and swaps in the new one by compare-and-swap (`replace`). The key is looked
//! at before and after: a key changes only while its slot is `LOCKED`, and only an idle bucket (TAT not after now)
//! is ever handed on, so the worst a hit can do in between is to charge its tokens to the slot's new key. That takes
//! the new key's TAT to equal an idle one; nobody ever gains a token.
//!
//! *A new key* (`insert`) goes into the first slot of its probe window that is free, while the table holds
//! fewer than `max_keys`; else it takes the place of a key in the window whose bucket is idle, that is full again, and
//! so nothing is forgotten. Where all are in debt there is no place: the stranger shares the overflow bucket, so that
//! it can never win a fresh bucket by pushing out a debtor. Slots never become empty again, they become `VACANT`,
//! so an empty slot ends every search. How several inserters keep out of each other's way: see `insert`.
//!
//! There is no mutex. A slot is locked by a mark in its TAT while it changes hands, for as long as a look through one
//! window takes; who meets the mark spins, then yields.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize};

use crossbeam_utils::{Backoff, CachePadded};

use super::{Key, LimiterError};

mod insert;
mod pages;

pub(in crate::limit) use insert::Insert;
use pages::{Pages, Slot};

/// A bounded map from keys to TATs.
#[derive(Debug)]
pub(in crate::limit) struct Table {
    pages: Pages,
    /// For each part of the slots, whether a key was ever put there: a walk over all keys looks nowhere else.
    touched: Box<[AtomicBool]>,
    has_classes: AtomicBool,
    max_keys: usize,
    /// Slots that hold a key or are locked to get one; never above `max_keys`. Changed only by the coming and going of
    /// keys, and far from what hits read.
    keys: CachePadded<AtomicUsize>,
    /// Counts the idle keys that made room for one in another slot. A look through a window in which this did not
    /// change cannot have missed both the key that goes and the one that comes.
    swaps: CachePadded<AtomicUsize>,
    /// No key comes in any more: they go to the table that takes over.
    closed: AtomicBool,
}

/// What a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) enum Read {
    /// The bucket's TAT.
    Tat(u64),
    /// The slot has gone to another key.
    Changed,
    /// The bucket lives in the table that took over.
    Moved,
}

/// A bucket on its way to another table.
#[derive(Debug, Clone, Copy)]
pub(in crate::limit) struct Bucket {
    pub(in crate::limit) key: Key,
    pub(in crate::limit) tat: u64,
    /// In which numbers its debt is measured.
    pub(in crate::limit) class: u16,
}

/// A slot with a key in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) struct Occupied {
    pub(in crate::limit) key: Key,
    pub(in crate::limit) tat: u64,
}

/// The key under which the overflow bucket is found.
pub(in crate::limit) const OVERFLOW: Key = Key::from_raw(2);

impl Table {
    /// A table for at most `max_keys` keys.
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
        pages.borrow_dependent().slots[probed][KEY].store(OVERFLOW.hash(), Relaxed);
        let part_of_overflow = probed / PART;
        Ok(Self {
            pages,
            touched: (0..=part_of_overflow)
                .map(|part| AtomicBool::new(part == part_of_overflow))
                .collect(),
            has_classes: AtomicBool::new(false),
            max_keys,
            keys: CachePadded::default(),
            swaps: CachePadded::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Keys held.
    pub(in crate::limit) fn keys(&self) -> usize {
        self.keys.load(Relaxed)
    }

    /// Most bytes the slots can come to occupy.
    pub(in crate::limit) fn bytes(&self) -> usize {
        size_of_val(self.slots()) + size_of_val(self.classes())
    }

    /// The slot of `key`.
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

    /// The TAT of `key` in its slot; waits while the slot is being handed over.
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

    /// Whether `key` still has this slot.
    #[inline]
    pub(in crate::limit) fn holds(&self, index: usize, key: Key) -> bool {
        self.slots()
            .get(index)
            .is_some_and(|slot| slot[KEY].load(Acquire) == key.hash())
    }

    /// Makes `next` the TAT of `key`, if it is still `seen`.
    #[inline]
    pub(in crate::limit) fn replace(&self, index: usize, key: Key, seen: u64, next: u64) -> bool {
        self.holds(index, key)
            && (seen == next
                || self.slots()[index][TAT]
                    .compare_exchange(seen, next, AcqRel, Relaxed)
                    .is_ok())
            && self.holds(index, key)
    }

    /// From here on no key comes in; those that are in stay until they are moved.
    pub(in crate::limit) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// The index of every slot that may hold a key, the overflow bucket's last.
    pub(in crate::limit) fn indices(&self) -> impl Iterator<Item = usize> {
        let touched = self
            .touched
            .iter()
            .enumerate()
            .filter(|(_, is_touched)| is_touched.load(SeqCst));
        let slots = self.slots().len();
        touched.flat_map(move |(part, _)| part * PART..((part + 1) * PART).min(slots))
    }

    /// Notes that a key comes into a slot, before it does. Whoever closes the table and then finds no note has closed it before
    /// the key's inserter looks.
    fn touch(&self, index: usize) {
        let is_touched = &self.touched[index / PART];
        if !is_touched.load(SeqCst) {
            is_touched.store(true, SeqCst);
        }
    }

    /// The key in a slot and its TAT, unless there is none or it has moved.
    pub(in crate::limit) fn held(&self, index: usize) -> Option<Occupied> {
        let key = self.slots()[index][KEY].load(SeqCst);
        if key == EMPTY || key == VACANT {
            return None;
        }
        let key = Key::from_raw(key);
        match self.read(index, key) {
            Read::Tat(tat) => Some(Occupied { key, tat }),
            Read::Changed | Read::Moved => None,
        }
    }

    /// In which numbers the debt of a slot is measured. To be read after its TAT: that is another one when this changes,
    /// so whoever replaces the TAT that was read has read the class that goes with it.
    #[inline(always)]
    pub(in crate::limit) fn class(&self, index: usize) -> u16 {
        if self.has_classes.load(Relaxed) {
            self.classes()[index].load(Acquire)
        } else {
            0
        }
    }

    /// Gives the debt of `key` as other numbers measure it, if the TAT is still the one that was seen.
    pub(in crate::limit) fn convert(
        &self,
        index: usize,
        key: Key,
        seen: u64,
        tat: u64,
        class: u16,
    ) {
        if self.lock(Place {
            distance: 0,
            index,
            key: key.hash(),
            tat: seen,
        }) {
            self.set_class(index, class);
            // Never the same as before, so that who saw the old class cannot replace the TAT. A nanosecond is no token.
            let tat = if tat == seen { seen + 1 } else { tat };
            self.slots()[index][TAT].store(tat, SeqCst);
        }
    }

    /// In a locked slot.
    fn set_class(&self, index: usize, class: u16) {
        if class != 0 {
            self.has_classes.store(true, SeqCst);
        }
        if self.has_classes.load(SeqCst) {
            self.classes()[index].store(class, SeqCst);
        }
    }

    /// Hands the bucket of a slot to `carry`, and marks it as moved when that is done; hits wait meanwhile.
    pub(in crate::limit) fn hand_over(&self, index: usize, carry: impl FnOnce(Bucket)) {
        // A key that is published here after this look is taken out by its inserter, who sees `closed`.
        while let Some(Occupied { key, tat }) = self.held(index) {
            if self.lock(Place {
                distance: 0,
                index,
                key: key.hash(),
                tat,
            }) {
                carry(Bucket {
                    key,
                    tat,
                    class: self.class(index),
                });
                self.slots()[index][TAT].store(MOVED, SeqCst);
                return;
            }
        }
    }

    /// A power of two of probed slots, then the overflow bucket.
    #[inline(always)]
    fn slots(&self) -> &[Slot] {
        self.pages.borrow_dependent().slots
    }

    /// For each slot, in which numbers its debt is measured: 0 for the limit's own, else a class of `others`. It changes
    /// only while the slot is locked. Never touched before a key comes with other numbers, as long as `has_classes`.
    #[inline(always)]
    fn classes(&self) -> &[AtomicU16] {
        self.pages.borrow_dependent().classes
    }

    fn probed(&self) -> usize {
        self.slots().len() - 1
    }

    /// The slots in which `key` may live, in the order of search. The highest bits choose the first one, so that a
    /// walk over one table meets another in order.
    #[inline]
    fn window(&self, key: Key) -> impl Iterator<Item = usize> + use<> {
        let mask = self.probed() - 1;
        let home = (key.hash() >> (u64::BITS - self.probed().trailing_zeros())) as usize;
        (0..self.probed().min(WINDOW)).map(move |distance| (home + distance) & mask)
    }

    /// Locks a slot as it was seen.
    fn lock(
        &self,
        Place {
            index, key, tat, ..
        }: Place,
    ) -> bool {
        let slot = &self.slots()[index];
        if tat >= MOVED
            || slot[TAT]
                .compare_exchange(tat, LOCKED, SeqCst, Relaxed)
                .is_err()
        {
            return false;
        }
        // The TAT may be the same by chance, and the key another.
        let same = slot[KEY].load(SeqCst) == key;
        if !same {
            slot[TAT].store(tat, SeqCst);
        }
        same
    }

    /// Unlocks a slot without a key.
    fn vacate(&self, index: usize) {
        self.slots()[index][KEY].store(VACANT, SeqCst);
        self.slots()[index][TAT].store(0, SeqCst);
    }
}

/// A slot as it was seen.
#[derive(Debug, Clone, Copy)]
struct Place {
    distance: usize,
    index: usize,
    key: u64,
    tat: u64,
}

/// Slots that are walked over together: four pages of memory.
const PART: usize = 1024;

/// Places in a slot.
const KEY: usize = 0;
const TAT: usize = 1;

/// A key that was never there; ends a search.
const EMPTY: u64 = 0;
/// A key that has gone; does not end a search.
const VACANT: u64 = 1;

/// A TAT while the slot changes hands. Whoever sets it also ends it, after at most a look through one window.
const LOCKED: u64 = u64::MAX;
/// A TAT that lives in another table now.
const MOVED: u64 = u64::MAX - 1;

/// Slots of one search: 16 cache lines. With half of the slots in use, the chance that all are taken is below one in
/// a million; tables up to this size are searched whole.
const WINDOW: usize = 64;
