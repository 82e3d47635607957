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
//! ever holds as well, one look-up in a hash map, and a few stores. It
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
use std::time::Duration;

use parking_lot::Mutex;

use self::sketch::{ByItself, Sketch};
use super::{Key, Label, Now};
use crate::runtime::PerWorker;

mod count;
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
        if now.as_nanos() >= periods.ends {
            periods.turn(now);
        }
        periods.running.record(key, verdict, label);
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
        self.each(now, |sketch| count.add(sketch.count(key)));
        count
    }

    /// The parts of a key, if it has a counter.
    pub fn label(&self, now: Now, key: Key) -> Option<Label> {
        let mut found = None;
        self.each(now, |sketch| {
            found = found.take().or_else(|| sketch.label(key).cloned())
        });
        found
    }

    /// The counters of all workers and both periods, added up.
    fn merged(&self, now: Now) -> Vec<Heavy> {
        let mut all = HashMap::<u64, Heavy, ByItself>::default();
        // A full sketch may have missed requests of every key that it does not
        // hold.
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

    /// Visits both periods of each worker.
    fn each(&self, now: Now, mut look: impl FnMut(&Sketch)) {
        for periods in self.periods.iter() {
            let mut periods = periods.lock();
            if now.as_nanos() >= periods.ends {
                periods.turn(now);
            }
            look(&periods.running);
            look(&periods.before);
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
