//! How a key comes into the table, while others come and go.
//!
//! # Why a new key never gets two buckets
//!
//! Inserters of one key may pick different slots. Each locks its slot, *publishes* its key there, then looks through
//! the whole window for the key, and only then goes live by writing the TAT. Who finds the key in an earlier slot gives
//! its own up; who finds it in a later slot waits until that one is decided, and gives up if it went live. Say X is
//! before Y and both went live. All of these accesses are sequentially consistent, so if X published before Y looked,
//! Y saw X and gave up. Otherwise Y had published before X looked, so X saw Y and waited for it, and gave up. Only an
//! earlier slot waits for a later one, so the waiting has no circle; it lasts as long as a few dozen loads elsewhere.
//!
//! A place is locked *before* it is counted. So whoever finds the table full, because another inserter of the same key
//! just took the last place, also finds that place locked or published and looks again instead of going to overflow. A
//! key that makes room in another slot is counted in `swaps`, for the same reason.

use std::sync::atomic::Ordering::SeqCst;

use crossbeam_utils::Backoff;

use super::{Bucket, EMPTY, KEY, LOCKED, Place, Read, TAT, Table, VACANT};
use crate::limit::{Key, Now};

/// What became of a key to be inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) enum Insert {
    /// It is in; where it sent another key away.
    Done {
        /// An idle key made room.
        evicted: bool,
    },
    /// It is there already.
    Exists,
    /// Every place it could have is held by a key in debt.
    Full,
    /// The table takes no keys any more.
    Closed,
}

impl Table {
    /// What [`Table::insert`] would say now, without doing it.
    pub(in crate::limit) fn room(&self, key: Key, now: Now) -> Insert {
        let backoff = Backoff::new();
        loop {
            let survey = self.survey(key, now);
            match survey.place() {
                _ if survey.found => return Insert::Exists,
                _ if survey.closed => return Insert::Closed,
                Some(_) => return Insert::Done { evicted: false },
                None if survey.busy => backoff.snooze(),
                None => return Insert::Full,
            }
        }
    }

    /// Brings in `key` with its first TAT, in numbers of this class.
    pub(in crate::limit) fn insert(&self, key: Key, now: Now, tat: u64, class: u16) -> Insert {
        let backoff = Backoff::new();
        loop {
            let survey = self.survey(key, now);
            match survey.place() {
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

    /// Looks through the window of a key that was not found. What it needs to know first it reads first: `closed` and
    /// `full` before the slots, see the module's text.
    fn survey(&self, key: Key, now: Now) -> Survey {
        let swaps = self.swaps.load(SeqCst);
        let mut survey = Survey {
            closed: self.closed.load(SeqCst),
            full: self.keys.load(SeqCst) >= self.max_keys,
            ..Survey::default()
        };
        for (distance, index) in self.window(key).enumerate() {
            // The TAT first: with the key first, one that takes over in between would show as the old key in debt.
            let (tat, found) = (
                self.slots()[index][TAT].load(SeqCst),
                self.slots()[index][KEY].load(SeqCst),
            );
            let place = Place {
                distance,
                index,
                key: found,
                tat,
            };
            survey.busy |= tat == LOCKED;
            match found {
                _ if found == key.hash() => {
                    return Survey {
                        found: true,
                        ..survey
                    };
                }
                EMPTY | VACANT => {
                    survey.free = survey.free.or(Some(place));
                    if found == EMPTY && (!survey.full || survey.idle.is_some()) {
                        break; // beyond it there is nothing to know
                    }
                }
                _ if tat <= now.as_nanos() => survey.idle = survey.idle.or(Some(place)),
                _ => {}
            }
        }
        survey.busy |= self.swaps.load(SeqCst) != swaps;
        survey
    }

    /// Takes the place for the bucket; says whether a key was evicted, or nothing if someone else was faster.
    fn settle(&self, choice: Choice, bucket: Bucket) -> Option<bool> {
        let (Choice::Free(place) | Choice::Evict(place) | Choice::Swap { free: place, .. }) =
            choice;
        if !self.lock(place) {
            return None;
        }
        let counted = match choice {
            Choice::Free(_) => self.count_one_more(),
            Choice::Evict(_) => true, // one goes, one comes
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

    /// Sends an idle key away for one that has locked another slot.
    fn evict(&self, idle: Place) -> bool {
        let locked = self.lock(idle);
        if locked {
            self.swaps.fetch_add(1, SeqCst);
            self.vacate(idle.index);
        }
        locked
    }

    /// In a locked and counted slot: puts `key` in unless it is elsewhere already, or the table has closed.
    fn publish(&self, index: usize, Bucket { key, tat, class }: Bucket) -> bool {
        self.touch(index);
        self.slots()[index][KEY].store(key.hash(), SeqCst);
        if self.closed.load(SeqCst) || self.has_rival(index, key) {
            self.vacate(index);
            self.keys.fetch_sub(1, SeqCst);
            return false;
        }
        self.set_class(index, class);
        self.slots()[index][TAT].store(tat, SeqCst);
        true
    }

    /// Whether another slot has the better claim to `key` than `mine`, in which it is published.
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

/// What the window of an absent key looks like.
#[derive(Debug, Default)]
struct Survey {
    closed: bool,
    /// The table holds all the keys it may.
    full: bool,
    /// The key is there after all.
    found: bool,
    /// A slot was locked: the picture is about to change.
    busy: bool,
    /// The first slot without a key.
    free: Option<Place>,
    /// The first key whose bucket is full again.
    idle: Option<Place>,
}

impl Survey {
    fn place(&self) -> Option<Choice> {
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

/// Where a new key goes.
#[derive(Debug, Clone, Copy)]
enum Choice {
    /// Into a free slot, as one key more.
    Free(Place),
    /// Into the slot of an idle key.
    Evict(Place),
    /// Into a free slot, for an idle key further on: beyond the free slot the new key would not be found.
    Swap { free: Place, idle: Place },
}
