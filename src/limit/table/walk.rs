//! Walks over all keys of a table: a reload moves each bucket to another table,
//! and debts are saved.
//!
//! # Why a move misses no key
//!
//! A walk visits only those parts of the table that a key was ever put into. It
//! closes the table first and then reads which parts these are. An inserter
//! notes the part, publishes its key, and then looks whether the table is
//! closed; all of these accesses are sequentially consistent. So either the
//! walk finds the note, and waits at the slot until the inserter is done; or
//! the inserter finds the table closed, takes its key out again, and goes to
//! the table that takes over.

use std::sync::atomic::Ordering::SeqCst;

use super::{EMPTY, KEY, KeyTable, MOVED, PART, Read, SeenSlot, TAT, VACANT};
use crate::limit::Key;

/// A bucket on its way to another table.
#[derive(Debug, Clone, Copy)]
pub(in crate::limit) struct Bucket {
    pub(in crate::limit) key: Key,
    pub(in crate::limit) tat: u64,
    /// The quota by which the TAT is measured.
    pub(in crate::limit) class: u16,
}

/// A slot with a key in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) struct Occupied {
    pub(in crate::limit) key: Key,
    pub(in crate::limit) tat: u64,
}

impl KeyTable {
    /// Refuses new keys from now on. Keys that are in stay until they are
    /// moved.
    pub(in crate::limit) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// Indices of all slots that may hold a key, in ascending order; that of
    /// the overflow bucket is the last.
    pub(in crate::limit) fn indices(&self) -> impl Iterator<Item = usize> {
        let touched = self
            .touched
            .iter()
            .enumerate()
            .filter(|(_, is_touched)| is_touched.load(SeqCst));
        let slots = self.slots().len();
        touched.flat_map(move |(part, _)| part * PART..((part + 1) * PART).min(slots))
    }

    /// Notes that a key comes into a slot, before it does. If a thread closes
    /// the table and then finds no note, the inserter looks at `closed` only
    /// later, and gives up.
    pub(super) fn touch(&self, index: usize) {
        let is_touched = &self.touched[index / PART];
        if !is_touched.load(SeqCst) {
            is_touched.store(true, SeqCst);
        }
    }

    /// The key in a slot and its TAT; `None` if there is none, or if it has
    /// moved.
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

    /// Locks the slot, hands its bucket to `carry`, and marks it as moved when
    /// `carry` returns. Hits wait meanwhile.
    pub(in crate::limit) fn hand_over(&self, index: usize, carry: impl FnOnce(Bucket)) {
        // A key that is published here after this look is taken out again by
        // its inserter, which sees `closed`.
        while let Some(Occupied { key, tat }) = self.held(index) {
            if self.lock(SeenSlot {
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
}
