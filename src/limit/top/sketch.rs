//! The counters of one worker and period, ordered by count.
//!
//! This is the paper's *stream summary*: keys with equal counts form a group,
//! and groups form a list ordered by count. A request moves its key to the next
//! group, and a new key replaces one of the first group; both take constant
//! time. Lists are linked by index, since everything lives in two vectors that
//! never shrink.

use std::hash::{BuildHasherDefault, Hasher};

use super::count::{Count, Heavy, Verdict};
use super::index::{KeyIndex, NONE};
use crate::limit::{Key, Label};

/// Keys that one worker tells apart in one period. Each takes some 100 bytes
/// with a short label, only once it comes.
pub(in crate::limit) const CAPACITY: usize = 512;

/// At most [`CAPACITY`] keys with their counts.
#[derive(Default)]
pub(super) struct Sketch {
    /// Index into `entries` for each key.
    slots: KeyIndex,
    entries: Vec<KeyCounter>,
    groups: Vec<CountGroup>,
    /// Indices of groups without a key, for reuse.
    free: Vec<u16>,
    /// The group with the smallest count.
    first: u16,
}

/// A key and its counters.
struct KeyCounter {
    key: Key,
    /// The count that was taken over from the replaced key.
    missed: u64,
    admitted: u64,
    refused: u64,
    group: u16,
    /// Neighbours in its group.
    prev: u16,
    next: u16,
    label: Label,
}

/// Keys with the same sum of counted and possibly missed requests.
struct CountGroup {
    count: u64,
    /// Its first key.
    head: u16,
    /// The groups with the next smaller and the next larger count.
    prev: u16,
    next: u16,
}

impl Sketch {
    /// Notes one request.
    #[inline]
    pub(super) fn record(&mut self, key: Key, verdict: Verdict, label: impl FnOnce(&mut Label)) {
        let slot = match self.slot_of(key.hash()) {
            Some(slot) => slot,
            None => self.enter(key, label),
        };
        let entry = &mut self.entries[usize::from(slot)];
        match verdict {
            Verdict::Admitted => entry.admitted += 1,
            Verdict::Refused => entry.refused += 1,
        }
        let (from, is_last) = (entry.group, entry.next == NONE);
        let group = &mut self.groups[usize::from(from)];
        // A busy key is alone with its count most of the time.
        if is_last && group.head == slot && group.next == NONE {
            group.count += 1;
        } else {
            self.raise(slot);
        }
    }

    /// The requests of a key.
    pub(super) fn count(&self, key: Key) -> Count {
        match self.slot_of(key.hash()) {
            Some(slot) => self.entries[usize::from(slot)].count(),
            None => Count {
                missed: self.floor(),
                ..Count::default()
            },
        }
    }

    /// The parts of a key that has a counter.
    pub(super) fn label(&self, key: Key) -> Option<&Label> {
        self.slot_of(key.hash())
            .map(|slot| &self.entries[usize::from(slot)].label)
    }

    /// Bound for the requests of a key without a counter.
    pub(super) fn floor(&self) -> u64 {
        if self.entries.len() < CAPACITY {
            0
        } else {
            self.group(self.first).count
        }
    }

    /// Whether the key with this hash has a counter.
    pub(super) fn has(&self, hash: u64) -> bool {
        self.slot_of(hash).is_some()
    }

    /// All keys with a counter.
    pub(super) fn entries(&self) -> impl Iterator<Item = Heavy> {
        let heavy = |entry: &KeyCounter| Heavy {
            key: entry.key,
            label: entry.label.clone(),
            count: entry.count(),
        };
        self.entries.iter().map(heavy)
    }

    /// Removes all keys and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.entries.clear();
        self.groups.clear();
        self.free.clear();
    }

    /// The index of the entry of the key with this hash.
    #[inline]
    fn slot_of(&self, hash: u64) -> Option<u16> {
        self.slots.find(hash, hash_in(&self.entries))
    }

    /// Gives a counter to a key that has none: a new one, or the smallest.
    #[cold]
    fn enter(&mut self, key: Key, label: impl FnOnce(&mut Label)) -> u16 {
        let slot = if self.entries.len() < CAPACITY {
            self.append(key)
        } else {
            self.replace(key)
        };
        let entries = &self.entries;
        self.slots.insert(key.hash(), slot, hash_in(entries));
        label(&mut self.entries[usize::from(slot)].label);
        slot
    }

    /// Adds a counter that stands at 0.
    fn append(&mut self, key: Key) -> u16 {
        let slot = self.entries.len() as u16; // below CAPACITY
        let (prev, next, label) = (NONE, NONE, Label::default());
        self.entries.push(KeyCounter {
            key,
            missed: 0,
            admitted: 0,
            refused: 0,
            group: NONE,
            prev,
            next,
            label,
        });
        let is_there = !self.groups.is_empty() && self.group(self.first).count == 0;
        if !is_there {
            let next = if self.groups.is_empty() {
                NONE
            } else {
                self.first
            };
            self.first = self.new_group(0, NONE, next);
        }
        self.join(slot, self.first);
        slot
    }

    /// Gives the counter of a key with the smallest count to `key`. That count
    /// becomes the bound for requests of `key` that were missed.
    fn replace(&mut self, key: Key) -> u16 {
        let slot = self.group(self.first).head;
        let missed = self.group(self.first).count;
        let replaced = self.entries[usize::from(slot)].key.hash();
        self.slots.remove(replaced, hash_in(&self.entries));
        let entry = &mut self.entries[usize::from(slot)];
        (entry.key, entry.missed, entry.admitted, entry.refused) = (key, missed, 0, 0);
        entry.label.clear();
        slot
    }

    /// Counts one more request: moves the key to the group of the next count,
    /// which is made if there is none.
    fn raise(&mut self, slot: u16) {
        let from = self.entries[usize::from(slot)].group;
        let CountGroup {
            count, next, head, ..
        } = *self.group(from);
        let is_taken = next != NONE && self.group(next).count == count + 1;
        let is_alone = head == slot && self.entries[usize::from(slot)].next == NONE;
        if is_alone && !is_taken {
            self.groups[usize::from(from)].count += 1;
            return;
        }
        self.leave(slot, from);
        let to = if is_taken {
            next
        } else {
            self.new_group(count + 1, from, next)
        };
        self.join(slot, to);
        if is_alone {
            self.drop_group(from);
        }
    }

    /// Adds an entry at the head of a group.
    fn join(&mut self, slot: u16, group: u16) {
        let head = std::mem::replace(&mut self.groups[usize::from(group)].head, slot);
        let entry = &mut self.entries[usize::from(slot)];
        (entry.group, entry.prev, entry.next) = (group, NONE, head);
        if head != NONE {
            self.entries[usize::from(head)].prev = slot;
        }
    }

    /// Takes an entry out of its group.
    fn leave(&mut self, slot: u16, group: u16) {
        let KeyCounter { prev, next, .. } = self.entries[usize::from(slot)];
        match prev {
            NONE => self.groups[usize::from(group)].head = next,
            prev => self.entries[usize::from(prev)].next = next,
        }
        if next != NONE {
            self.entries[usize::from(next)].prev = prev;
        }
    }

    /// Makes a group between two others.
    fn new_group(&mut self, count: u64, prev: u16, next: u16) -> u16 {
        let group = CountGroup {
            count,
            head: NONE,
            prev,
            next,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.groups[usize::from(slot)] = group;
                slot
            }
            None => {
                self.groups.push(group);
                (self.groups.len() - 1) as u16 // never more groups than keys, and one
            }
        };
        self.link(prev, slot);
        self.link(slot, next);
        slot
    }

    /// Removes an empty group.
    fn drop_group(&mut self, slot: u16) {
        let CountGroup { prev, next, .. } = *self.group(slot);
        self.link(prev, next);
        if self.first == slot {
            self.first = next;
        }
        self.free.push(slot);
    }

    /// Makes two groups neighbours.
    fn link(&mut self, before: u16, after: u16) {
        if before != NONE {
            self.groups[usize::from(before)].next = after;
        }
        if after != NONE {
            self.groups[usize::from(after)].prev = before;
        }
    }

    /// The group with this index.
    fn group(&self, slot: u16) -> &CountGroup {
        &self.groups[usize::from(slot)]
    }
}

/// Finds the hash of an entry's key.
#[inline]
fn hash_in(entries: &[KeyCounter]) -> impl Fn(u16) -> u64 {
    move |slot| entries[usize::from(slot)].key.hash()
}

impl KeyCounter {
    /// The counters, as they are shown.
    fn count(&self) -> Count {
        Count {
            admitted: self.admitted,
            refused: self.refused,
            missed: self.missed,
        }
    }
}

/// Hashes keys by themselves, since they are keyed hashes already.
pub(in crate::limit) type ByItself = BuildHasherDefault<Itself>;

/// A hasher that returns the number it is given.
#[derive(Default)]
pub(in crate::limit) struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not called for `u64`, the one type that is hashed here.
        self.0 = bytes
            .iter()
            .fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
