//! The heaviest keys of a limit, in bounded memory: the keys with the most
//! requests, admitted and refused.
//!
//! The algorithm is Space-Saving (Metwally, Agrawal, El Abbadi: "Efficient
//! Computation of Frequent and Top-k Elements in Data Streams", ICDT 2005). It
//! has a fixed number of counters; a key without one takes over the smallest,
//! with its count. A count is therefore never too small, and too large by at
//! most what was taken over. Here the part that was taken over is kept apart:
//! `admitted` and `refused` are requests of this key that were seen, and
//! `missed` is a bound for those that were not.
//!
//! # Precision
//!
//! Counts are exact while a worker sees fewer keys than `sketch::CAPACITY` in a
//! period. After that, of `n` requests on a worker every key with more than
//! `n / CAPACITY` of them has a counter, and `missed` is at most
//! `n / CAPACITY`. Each worker counts for itself, so that none waits for
//! another; the counts are merged when somebody looks.
//!
//! The counts cover the last 10 to 20 minutes: the running period and the one
//! before it. Counts since the start would show the heaviest keys of last week.
//!
//! # Cost
//!
//! A request takes the mutex of its own worker, which only a look at the list
//! ever holds as well, one look-up in a table, and a few stores. It
//! allocates only for a key that gets a counter, and then only for a label
//! longer than any that the counter had before.
//!
//! ```
//! use tidegate::limit::{Clock, KeyHasher, KeyValue, Top, Verdict};
//! use tidegate::policy::KeyPart;
//!
//! let (top, hasher, now) = (Top::new(1), KeyHasher::new(), Clock.now());
//! for (name, requests) in [("busy", 3), ("idle", 1)] {
//!     let value = KeyValue::text(name.as_bytes());
//!     let mut key = hasher.key("per-tenant");
//!     key.add(&KeyPart::Path, &value);
//!     let key = key.finish();
//!     for _ in 0..requests {
//!         top.record(now, key, Verdict::Admitted, |label| label.add(&value));
//!     }
//! }
//! let heaviest = &top.heaviest(now, 1)[0];
//! assert_eq!(heaviest.label.parts()[0].value, "busy");
//! assert_eq!(heaviest.count.seen(), 3);
//! ```

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use parking_lot::Mutex;

pub(in crate::limit) use self::sketch::ByItself;
use self::sketch::Sketch;
use super::{Key, Label, Now};
use crate::runtime::PerWorker;

mod count;
mod index;
mod sketch;

pub use count::{Count, Heavy, Verdict};
#[cfg(test)]
pub(in crate::limit) use sketch::CAPACITY;

/// Length of a period.
pub(in crate::limit) const PERIOD: Duration = Duration::from_secs(600);

/// The heaviest keys of one limit. Shared by all workers, each of which counts
/// for itself.
pub struct Top {
    periods: PerWorker<Mutex<Periods>>,
}

/// The periods of one worker.
#[derive(Default)]
struct Periods {
    /// End of the running period; 0 before the first request.
    ends: u64,
    running: Sketch,
    before: Sketch,
}

impl Top {
    /// Empty counters for a process with `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self {
            periods: PerWorker::new(workers),
        }
    }

    /// Counts a request of `key` on this worker. `label` writes the parts of
    /// the key, and is called only for a key that has no counter.
    #[inline]
    pub fn record(&self, now: Now, key: Key, verdict: Verdict, label: impl FnOnce(&mut Label)) {
        let mut periods = self.periods.mine().lock();
        periods.at(now).running.record(key, verdict, label);
    }

    /// The `most` keys with the most requests, the heaviest first. Merges the
    /// counters of all workers, and locks one at a time.
    pub fn heaviest(&self, now: Now, most: usize) -> Vec<Heavy> {
        let mut all = self.merged(now);
        let rank = |heavy: &Heavy| (std::cmp::Reverse(heavy.count.seen()), heavy.key.hash());
        all.sort_unstable_by_key(rank);
        all.truncate(most);
        all
    }

    /// The requests of one key, of the last 10 to 20 minutes.
    pub fn count(&self, now: Now, key: Key) -> Count {
        let mut count = Count::default();
        for periods in self.periods.iter() {
            for sketch in periods.lock().at(now).sketches() {
                count.add(sketch.count(key));
            }
        }
        count
    }

    /// The parts of a key, if it has a counter.
    pub fn label(&self, now: Now, key: Key) -> Option<Label> {
        for periods in self.periods.iter() {
            for sketch in periods.lock().at(now).sketches() {
                if let Some(label) = sketch.label(key) {
                    return Some(label.clone());
                }
            }
        }
        None
    }

    /// The counters of all workers and both periods, added up.
    fn merged(&self, now: Now) -> Vec<Heavy> {
        let mut all = HashMap::default();
        let mut missed = 0;
        for periods in self.periods.iter() {
            for sketch in periods.lock().at(now).sketches() {
                merge(&mut all, sketch, missed);
                missed += sketch.floor();
            }
        }
        all.into_values().collect()
    }
}

/// Adds the counters of a sketch to those of all sketches before it.
///
/// A full sketch may have missed requests of every key that it does not hold,
/// at most as many as its smallest count. `missed` is the sum of these bounds
/// for the sketches before.
fn merge(all: &mut HashMap<u64, Heavy, ByItself>, sketch: &Sketch, missed: u64) {
    for heavy in all.values_mut() {
        if !sketch.has(heavy.key.hash()) {
            heavy.count.missed += sketch.floor();
        }
    }
    for mut heavy in sketch.entries() {
        match all.entry(heavy.key.hash()) {
            Entry::Occupied(mut known) => known.get_mut().count.add(heavy.count),
            Entry::Vacant(unknown) => {
                heavy.count.missed += missed;
                unknown.insert(heavy);
            }
        }
    }
}

impl std::fmt::Debug for Top {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Top")
            .field("periods", &self.periods)
            .finish()
    }
}

impl Periods {
    /// The periods as they are at `now`.
    #[inline]
    fn at(&mut self, now: Now) -> &mut Self {
        if now.as_nanos() >= self.ends {
            self.turn(now);
        }
        self
    }

    /// The counters of both periods.
    fn sketches(&self) -> [&Sketch; 2] {
        [&self.running, &self.before]
    }

    /// Begins a period.
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
