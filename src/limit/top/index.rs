//! Finds the counter of a key, by the hash that the key is.
//!
//! A table of 16-bit numbers with linear probing, at most half full: a look-up
//! is a load here and one of the counter, which is needed anyway. A general map
//! would keep the key a second time, in eight times the memory.

/// The numbers of counters by the hashes of their keys. The hashes are with the
/// counters, and each method is told how to find them.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    /// The number of a counter or [`NONE`], a power of two of them; empty
    /// before the first key.
    slots: Vec<u16>,
    /// Slots that have a number; at most half of them.
    used: usize,
}

/// No counter has this number.
pub(super) const NONE: u16 = u16::MAX;

/// Slots for the first key.
const FIRST: usize = 8;

impl KeyIndex {
    /// The counter of the key with this hash. `hash_of` is the hash of a
    /// counter's key.
    #[inline]
    pub(super) fn find(&self, hash: u64, hash_of: impl Fn(u16) -> u64) -> Option<u16> {
        let mut at = hash as usize;
        // Ends at an empty slot: half of them are.
        loop {
            let counter = *self.slots.get(at & self.mask())?;
            if counter == NONE {
                return None;
            }
            if hash_of(counter) == hash {
                return Some(counter);
            }
            at = at.wrapping_add(1);
        }
    }

    /// Adds the counter of a key that has none yet.
    pub(super) fn insert(&mut self, hash: u64, counter: u16, hash_of: impl Fn(u16) -> u64) {
        if (self.used + 1) * 2 > self.slots.len() {
            let larger = vec![NONE; (self.slots.len() * 2).max(FIRST)];
            let old = std::mem::replace(&mut self.slots, larger);
            for known in old.into_iter().filter(|slot| *slot != NONE) {
                self.put(hash_of(known), known);
            }
        }
        self.used += 1;
        self.put(hash, counter);
    }

    /// Removes the counter of the key with this hash, if it has one. Counters
    /// behind it move up, so that none is cut off from its first slot.
    pub(super) fn remove(&mut self, hash: u64, hash_of: impl Fn(u16) -> u64) {
        let mask = self.mask();
        let mut hole = hash as usize & mask;
        loop {
            match self.slots.get(hole) {
                None | Some(&NONE) => return,
                Some(counter) if hash_of(*counter) == hash => break,
                Some(_) => hole = (hole + 1) & mask,
            }
        }
        self.used -= 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let counter = self.slots[at];
            if counter == NONE {
                break;
            }
            // It may move if its first slot is not behind the hole.
            let first = hash_of(counter) as usize;
            if at.wrapping_sub(first) & mask >= at.wrapping_sub(hole) & mask {
                self.slots[hole] = counter;
                hole = at;
            }
        }
        self.slots[hole] = NONE;
    }

    /// Removes all counters and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.slots.fill(NONE);
        self.used = 0;
    }

    /// Puts a number into the first empty slot for its hash.
    fn put(&mut self, hash: u64, counter: u16) {
        let mask = self.mask();
        let mut at = hash as usize & mask;
        while self.slots[at] != NONE {
            at = (at + 1) & mask;
        }
        self.slots[at] = counter;
    }

    /// The bits of a hash that choose its first slot.
    #[inline]
    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Hashes of few bits, so that nearly all searches meet other keys.
        #[test]
        fn each_key_has_the_counter_it_was_given_last(
            changes in prop::collection::vec((any::<bool>(), 0_u64..40), 0..300),
            stretch in prop::sample::select(vec![1_u64, 7, 8, 64]),
        ) {
            let (mut index, mut model) = (KeyIndex::default(), HashMap::new());
            let mut hashes = Vec::new();
            for (is_insert, hash) in changes {
                let hash = hash * stretch;
                let of = |counter: u16| hashes[usize::from(counter)];
                match (is_insert, model.contains_key(&hash)) {
                    (true, false) => {
                        let counter = hashes.len() as u16;
                        index.insert(hash, counter, of);
                        model.insert(hash, counter);
                        hashes.push(hash);
                    }
                    (true, true) => {}
                    (false, _) => {
                        index.remove(hash, of);
                        model.remove(&hash);
                    }
                }
                let of = |counter: u16| hashes[usize::from(counter)];
                for hash in (0..40).map(|hash| hash * stretch) {
                    prop_assert_eq!(index.find(hash, of), model.get(&hash).copied());
                }
                prop_assert!(index.used * 2 <= index.slots.len());
            }
        }
    }
}
