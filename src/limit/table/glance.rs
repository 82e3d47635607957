//! A look at the first slot of a key's window, where most keys are.
//!
//! It does what [`KeyTable::find`] and [`KeyTable::read`] do for such a key, by
//! the same protocol and in a third of the instructions: without a loop, and
//! with one check of bounds for all that follows. Anything unusual ends it, and
//! is left to them.

use std::sync::atomic::Ordering::Acquire;

use super::{KEY, Key, KeyTable, MOVED, Slot, TAT, replace};

/// The bucket of a key in the first slot of its window, as it was seen.
#[derive(Debug, Clone, Copy)]
pub(in crate::limit) struct Glance<'t> {
    slot: &'t Slot,
    /// The hash of the key.
    key: u64,
    /// The bucket's TAT.
    pub(in crate::limit) tat: u64,
    /// See [`KeyTable::class`].
    pub(in crate::limit) class: u16,
}

impl KeyTable {
    /// The bucket of `key`; `None` if it is in another slot or in none, if its
    /// slot is locked, or if it has moved.
    #[inline(always)]
    pub(in crate::limit) fn glance(&self, key: Key) -> Option<Glance<'_>> {
        let index = self.home(key);
        let (slot, key) = (self.slots().get(index)?, key.hash());
        if slot[KEY].load(Acquire) != key {
            return None;
        }
        let tat = slot[TAT].load(Acquire);
        let class = self.class(index);
        let is_at_rest = slot[KEY].load(Acquire) == key && tat < MOVED;
        is_at_rest.then_some(Glance {
            slot,
            key,
            tat,
            class,
        })
    }
}

impl Glance<'_> {
    /// Replaces the TAT by `next`, as [`KeyTable::replace`] does.
    #[inline(always)]
    pub(in crate::limit) fn replace(&self, next: u64) -> bool {
        replace(self.slot, self.key, self.tat, next)
    }
}
