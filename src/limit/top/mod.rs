//! The heaviest keys of a limit, in bounded memory: who asks most, and what was admitted and refused of it.
//!
//! The algorithm is Space-Saving (Metwally, Agrawal, El Abbadi: "Efficient Computation of Frequent and Top-k Elements in
//! Data Streams", ICDT 2005): so many counters, and a key without one takes over the smallest, with its count. So a count
//! is never too small, and too large by at most what was taken over. Here what was taken over is kept apart: admitted
//! and refused are only what was seen, and `missed` says how many more there can have been at most.
//!
//! # What is exact
//!
//! While a lane has seen fewer keys than [`CAPACITY`] in a period, everything. After that, of `n` requests on a lane every
//! key with more than `n / CAPACITY` of them has a counter, and `missed` is never more than `n / CAPACITY`. There is a lane
//! for each worker, so that nobody waits for another; they are put together when somebody asks.
//!
//! What is shown is of the last 10 to 20 minutes: a period that runs and the one before it. Counts since the start would
//! show who was heavy last week.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use parking_lot::Mutex;

use self::sketch::Sketch;
use super::{Key, Label, Now};
use crate::runtime::PerWorker;

mod sketch;

/// Keys that a lane can tell apart in one period. Some 100 bytes each with a short key, taken only as keys come.
pub(in crate::limit) const CAPACITY: usize = 512;

/// The time of one period.
pub(in crate::limit) const PERIOD: Duration = Duration::from_secs(600);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All limits let it through.
    Admitted,
    /// This limit refused it, or would have.
    Refused,
}

/// The heaviest keys of one limit.
pub struct Top {
    lanes: PerWorker<Mutex<Lane>>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heavy {
    /// Its bucket.
    pub key: Key,
    /// What the key is made of.
    pub label: Label,
    /// What was seen of it.
    pub count: Count,
}

/// What was seen of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Requests that were let through.
    pub admitted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// So many more, at most, went by while other keys had the counters.
    pub missed: u64,
}

/// The periods of one worker.
#[derive(Default)]
struct Lane {
    /// When the running one is over; 0 before the first request.
    ends: u64,
    running: Sketch,
    before: Sketch,
}

impl Top {
    /// For a process with `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self {
            lanes: PerWorker::new(workers),
        }
    }

    /// Notes a request of `key`. `worker` is the number of the caller's worker, see [`PerWorker::of`]. `label` writes what
    /// the key is made of; it is only called for a key that has no counter.
    #[inline]
    pub fn record(
        &self,
        worker: usize,
        now: Now,
        key: Key,
        verdict: Verdict,
        label: impl FnOnce(&mut Label),
    ) {
        let mut lane = self.lanes.of(worker).lock();
        if now.as_nanos() >= lane.ends {
            lane.turn(now);
        }
        lane.running.record(key, verdict, label);
    }

    /// The `most` keys of which most was seen, the heaviest first.
    pub fn heaviest(&self, now: Now, most: usize) -> Vec<Heavy> {
        let mut all = self.merged(now);
        let rank = |heavy: &Heavy| (std::cmp::Reverse(heavy.count.seen()), heavy.key.hash());
        all.sort_unstable_by_key(rank);
        all.truncate(most);
        all
    }

    /// What was seen of one key.
    pub fn count(&self, now: Now, key: Key) -> Count {
        let mut count = Count::default();
        self.each(now, |sketch| count.add(sketch.count(key)));
        count
    }

    /// The parts of a key, if it is one of those that are told apart.
    pub fn label(&self, now: Now, key: Key) -> Option<Label> {
        let mut found = None;
        self.each(now, |sketch| {
            found = found.take().or_else(|| sketch.label(key).cloned())
        });
        found
    }

    fn merged(&self, now: Now) -> Vec<Heavy> {
        let mut all = HashMap::<u64, Heavy, ByItself>::default();
        // What a full sketch may have missed of a key it does not have is missing for all keys but its own.
        let mut floors = 0;
        self.each(now, |sketch| {
            let floor = sketch.floor();
            for Heavy { key, label, count } in sketch.entries() {
                let heavy = all.entry(key.hash()).or_insert_with(|| {
                    let count = Count {
                        missed: floors,
                        ..Count::default()
                    };
                    Heavy {
                        key,
                        label: label.clone(),
                        count,
                    }
                });
                heavy.count.admitted += count.admitted;
                heavy.count.refused += count.refused;
                heavy.count.missed += count.missed;
            }
            if floor > 0 {
                let others = all.iter_mut().filter(|(hash, _)| !sketch.has(**hash));
                others.for_each(|(_, heavy)| heavy.count.missed += floor);
                floors += floor;
            }
        });
        all.into_values().collect()
    }

    /// Looks at every period that counts, one lane after the other.
    fn each(&self, now: Now, mut look: impl FnMut(&Sketch)) {
        for lane in self.lanes.iter() {
            let mut lane = lane.lock();
            if now.as_nanos() >= lane.ends {
                lane.turn(now);
            }
            look(&lane.running);
            look(&lane.before);
        }
    }
}

impl std::fmt::Debug for Top {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Top").field("lanes", &self.lanes).finish()
    }
}

impl Lane {
    /// A period begins.
    #[cold]
    fn turn(&mut self, now: Now) {
        let period = u64::try_from(PERIOD.as_nanos()).unwrap_or(u64::MAX);
        std::mem::swap(&mut self.running, &mut self.before);
        self.running.clear();
        if now.as_nanos() >= self.ends.saturating_add(period) {
            self.before.clear();
        }
        self.ends = now.as_nanos().saturating_add(period);
    }
}

impl Count {
    /// Requests that were seen.
    pub const fn seen(self) -> u64 {
        self.admitted + self.refused
    }

    fn add(&mut self, other: Self) {
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.missed += other.missed;
    }
}

/// Keys are keyed hashes already.
type ByItself = BuildHasherDefault<Itself>;

/// A hasher for hashes.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not called for the one type that is hashed here.
        self.0 = bytes
            .iter()
            .fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
