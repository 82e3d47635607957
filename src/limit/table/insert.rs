//! How a key comes into the table while others come and go.
//!
//! # Why a new key never gets two buckets
//!
//! Threads that insert the same key may pick different slots. Each locks its
//! slot, *publishes* its key there, then looks through the whole window for the
//! key, and only then goes live by writing the TAT. An inserter that finds the
//! key in an earlier slot gives up its own. One that finds it in a later slot
//! waits until that one is decided, and gives up if it went live.
//!
//! Suppose that slot X is before slot Y and both went live. All of these
//! accesses are sequentially consistent, so if X was published before Y's
//! inserter looked, it saw X and gave up. Otherwise Y was published before X's
//! inserter looked, so that one saw Y, waited for it, and gave up. Only the
//! inserter of an earlier slot waits for a later one, so the waiting forms no
//! circle. It lasts as long as a few dozen loads elsewhere.
//!
//! # Why a new key goes to the overflow bucket only if there is no slot
//!
//! A survey reads the count of keys first and the slots of the window after it,
//! one by one, while other threads change both. Its verdict that there is no
//! slot (the table is full, and no key of the window is idle) counts only if
//! the survey was undisturbed; otherwise the thread looks again. Three rules
//! make every disturbance visible:
//!
//! - A slot is locked *before* its key is counted. A thread that finds the
//!   table full, because another inserter just took the last slot, therefore
//!   also finds that slot locked or the key in it.
//! - A *departure* is counted before the key leaves its slot, and a survey
//!   compares the count of departures before and after. This covers an idle
//!   key that makes room for a key in another slot, and an inserter that gives
//!   up: its slot counts no longer, but a survey that has read the number of
//!   keys before still takes the table for full.
//! - An inserter that gives up lowers the number of keys *before* it counts the
//!   departure. A survey that begins after the departure therefore reads the
//!   lower number.
//!
//! A slot whose bucket has moved to another table disturbs a survey as well: it
//! may have been that of an idle key, and the table is closed by then.

use std::sync::atomic::Ordering::SeqCst;

use super::{Backoff, Bucket, EMPTY, KEY, KeyTable, MOVED, Read, SeenSlot, TAT, VACANT};
use crate::limit::{Key, Now};

/// The outcome of inserting a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) enum Insert {
    /// The key is in.
    Done {
        /// An idle key was evicted to make room.
        evicted: bool,
    },
    /// The key is in the table already.
    Exists,
    /// Every slot of its window is held by a key in debt, or the table is full
    /// and no key of the window is idle.
    Full,
    /// The table takes no new keys any more.
    Closed,
}

impl KeyTable {
    /// The outcome that [`KeyTable::insert`] would have now; inserts nothing.
    pub(in crate::limit) fn room(&self, key: Key, now: Now) -> Insert {
        let backoff = Backoff::new();
        loop {
            let survey = self.survey(key, now);
            match survey.choice() {
                _ if survey.found => return Insert::Exists,
                _ if survey.closed => return Insert::Closed,
                Some(_) => return Insert::Done { evicted: false },
                None if survey.busy => backoff.snooze(),
                None => return Insert::Full,
            }
        }
    }

    /// Inserts `key` with its first TAT, as the quota of `class` measures it.
    pub(in crate::limit) fn insert(&self, key: Key, now: Now, tat: u64, class: u16) -> Insert {
        let backoff = Backoff::new();
        loop {
            let survey = self.survey(key, now);
            match survey.choice() {
                _ if survey.found => return Insert::Exists,
                _ if survey.closed => return Insert::Closed,
                Some(place) => {
                    if let Some(evicted) = self.settle(place, Bucket { key, tat, class }) {
                        return Insert::Done { evicted };
                    }
                }
                None if survey.busy => {}
                None => return Insert::Full,
            }
            backoff.snooze();
        }
    }

    /// Looks through the window of a key that was not found. Reads `closed` and
    /// `full` before the slots, for the reason that the module's documentation
    /// gives.
    fn survey(&self, key: Key, now: Now) -> Survey {
        let departures = self.departures.load(SeqCst);
        let mut survey = Survey {
            closed: self.closed.load(SeqCst),
            full: self.keys.load(SeqCst) >= self.max_keys,
            ..Survey::default()
        };
        for (distance, index) in self.window(key).enumerate() {
            // The TAT first: with the key first, a key that takes over in
            // between would look like the old key in debt.
            let (tat, found) = (
                self.slots()[index][TAT].load(SeqCst),
                self.slots()[index][KEY].load(SeqCst),
            );
            let seen = SeenSlot {
                distance,
                index,
                key: found,
                tat,
            };
            survey.busy |= tat >= MOVED; // locked, or closed by now
            match found {
                _ if found == key.hash() => {
                    return Survey {
                        found: true,
                        ..survey
                    };
                }
                EMPTY | VACANT => {
                    survey.free = survey.free.or(Some(seen));
                    if found == EMPTY && (!survey.full || survey.idle.is_some()) {
                        break; // nothing behind it matters
                    }
                }
                _ if tat <= now.as_nanos() => survey.idle = survey.idle.or(Some(seen)),
                _ => {}
            }
        }
        survey.busy |= self.departures.load(SeqCst) != departures;
        survey
    }

    /// Puts the bucket into the chosen slot. Returns whether a key was evicted;
    /// `None` if another thread was faster.
    fn settle(&self, choice: Choice, bucket: Bucket) -> Option<bool> {
        let (Choice::Free(place) | Choice::Evict(place) | Choice::Swap { free: place, .. }) =
            choice;
        if !self.lock(place) {
            return None;
        }
        let counted = match choice {
            Choice::Free(_) => self.count_one_more(),
            Choice::Evict(_) => true, // one key goes and one comes
            Choice::Swap { idle, .. } => self.evict(idle),
        };
        if !counted {
            self.slots()[place.index][TAT].store(place.tat, SeqCst);
            return None;
        }
        self.publish(place.index, bucket)
            .then_some(!matches!(choice, Choice::Free(_)))
    }

    fn count_one_more(&self) -> bool {
        let below = |keys| (keys < self.max_keys).then_some(keys + 1);
        self.keys.fetch_update(SeqCst, SeqCst, below).is_ok()
    }

    /// Evicts an idle key for one that has locked another slot. Returns whether
    /// it was still idle.
    fn evict(&self, idle: SeenSlot) -> bool {
        let locked = self.lock(idle);
        if locked {
            self.vacate(idle.index);
        }
        locked
    }

    /// Puts the key into a locked and counted slot, unless another slot has it
    /// already or the table has closed. Returns whether it did.
    fn publish(&self, index: usize, Bucket { key, tat, class }: Bucket) -> bool {
        self.touch(index);
        self.slots()[index][KEY].store(key.hash(), SeqCst);
        if self.closed.load(SeqCst) || self.has_rival(index, key) {
            self.keys.fetch_sub(1, SeqCst);
            self.vacate(index);
            return false;
        }
        self.set_class(index, class);
        self.slots()[index][TAT].store(tat, SeqCst);
        true
    }

    /// Whether another slot has a better claim to `key` than the slot `mine`,
    /// in which it is published.
    fn has_rival(&self, mine: usize, key: Key) -> bool {
        let mut later = false;
        for index in self.window(key) {
            let found = self.slots()[index][KEY].load(SeqCst);
            if index == mine {
                later = true;
            } else if found == EMPTY {
                return false;
            } else if found == key.hash() && (!later || self.read(index, key) != Read::Changed) {
                return true;
            }
        }
        false
    }
}

/// The window of a key that was not found.
#[derive(Debug, Default)]
struct Survey {
    closed: bool,
    /// The table holds as many keys as it may.
    full: bool,
    /// The key is in the window after all.
    found: bool,
    /// A slot was locked or moved, or a key has left one: the window is about
    /// to change, or has changed during the survey.
    busy: bool,
    /// The first slot without a key.
    free: Option<SeenSlot>,
    /// The first key whose bucket is full again.
    idle: Option<SeenSlot>,
}

impl Survey {
    fn choice(&self) -> Option<Choice> {
        match (self.free, self.idle) {
            (Some(free), _) if !self.full => Some(Choice::Free(free)),
            (Some(free), Some(idle)) if free.distance < idle.distance => {
                Some(Choice::Swap { free, idle })
            }
            (_, Some(idle)) => Some(Choice::Evict(idle)),
            (_, None) => None,
        }
    }
}

/// The slot for a new key.
#[derive(Debug, Clone, Copy)]
enum Choice {
    /// A free slot, as one more key.
    Free(SeenSlot),
    /// The slot of an idle key.
    Evict(SeenSlot),
    /// A free slot, in exchange for an idle key further on: behind an empty
    /// slot the new key would not be found.
    Swap { free: SeenSlot, idle: SeenSlot },
}
