//! Retry budget: retries are a share of the requests of the last ten seconds,
//! plus a few a second.
//!
//! A bound on attempts alone multiplies the load on an upstream just when that
//! fails; a share of the traffic cannot (Finagle's `RetryBudget`). Requests are
//! counted for each worker by itself, so that counting touches nothing shared.
//!
//! tower's `TpsBudget` is not used: each deposit takes a lock that all workers
//! share, and its numbers cannot be changed by a reload without losing the
//! count.
//!
//! # Concurrency
//!
//! A deposit is one atomic update of a counter of its worker; no worker waits
//! for another one. A withdrawal takes a lock and reads the counters of all
//! workers. It happens after a failure only, so that most requests never pay
//! for it.
//!
//! # Precision
//!
//! Time is cut into whole seconds since the budget was made. A window is the
//! present second, which is not over yet, and the nine before it: between nine
//! and ten seconds. A count ends at 2^32 - 1 events a second.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::runtime::PerWorker;

/// Seconds that are looked back.
const WINDOW: u64 = 10;
/// Slots: the window and the second that is being filled.
const SLOTS: usize = WINDOW as usize + 1;

/// A budget for retries, shared by all workers; outlives reloads.
///
/// A retry that is not charged (no server began with the request, or a pooled
/// connection was closed) does not come here.
#[derive(Debug)]
pub struct Budget {
    /// The moment from which seconds are counted.
    start: Instant,
    /// The requests that each worker has counted. Each request is counted once,
    /// with its first attempt.
    requests: PerWorker<Counts>,
    /// The retries of all workers. Written under the lock of `settings`.
    retries: Counts,
    /// Locked by retries only.
    settings: Mutex<Settings>,
}

/// The numbers of the configuration, which a reload may change.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Settings {
    /// Retries for each request, from 0 to 1.
    share: f64,
    /// Retries a second that are allowed in any case.
    floor: u32,
}

/// Events of each second: the second in the upper half, their number in the
/// lower.
///
/// One word for both makes an update atomic: a count can never be added to the
/// wrong second.
#[derive(Debug, Default)]
struct Counts([AtomicU64; SLOTS]);

impl Budget {
    /// Retries may be `share` of the requests (0 to 1), plus `floor` a second.
    /// `workers` is the number of threads that count requests.
    pub fn new(share: f64, floor: u32, workers: usize) -> Self {
        Self {
            start: Instant::now(),
            requests: PerWorker::workers_only(workers, |_| Counts::default()),
            retries: Counts::default(),
            settings: Mutex::new(Settings { share, floor }),
        }
    }

    /// Changes the numbers; what was counted stays.
    ///
    /// Takes effect with the next retry. Retries that were granted under the
    /// old numbers count against the new ones.
    pub fn reconfigure(&self, share: f64, floor: u32) {
        *self.settings.lock() = Settings { share, floor };
    }

    /// Counts a request on worker number `worker`.
    ///
    /// `now` is the beginning of the request and may be some time ago: a
    /// request that waited in a queue counts in the second in which it came.
    pub(super) fn deposit(&self, worker: usize, now: Instant) {
        self.requests.of(worker).add(self.second(now));
    }

    /// Takes a retry out of the budget, if it holds one.
    ///
    /// Returns whether the retry may be made. It counts as made then, also if
    /// its request is cancelled before.
    pub(super) fn withdraw(&self, now: Instant) -> bool {
        // Retries are rare: a lock keeps two of them from taking the last one
        // together.
        let settings = self.settings.lock();
        let second = self.second(now);
        let requests: u64 = self.requests.iter().map(|counts| counts.sum(second)).sum();
        let allowed = requests as f64 * settings.share + f64::from(settings.floor) * WINDOW as f64;
        let is_allowed = (self.retries.sum(second) as f64) + 1.0 <= allowed;
        if is_allowed {
            self.retries.add(second);
        }
        is_allowed
    }

    /// Seconds since the start, from 1 on: 0 is an empty slot.
    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() + 1
    }
}

impl Counts {
    /// Counts an event. A slot that still has the count of an earlier second
    /// begins anew.
    fn add(&self, second: u64) {
        let slot = &self.0[(second % SLOTS as u64) as usize];
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seen| {
            let count = if seen >> 32 == second & 0xffff_ffff {
                seen & 0xffff_ffff
            } else {
                0
            };
            Some((second << 32) | (count + 1).min(0xffff_ffff))
        });
    }

    /// The events of the last ten seconds.
    fn sum(&self, now: u64) -> u64 {
        let recent = self.0.iter().map(|slot| slot.load(Ordering::Relaxed));
        recent
            .filter(|seen| now - (seen >> 32).min(now) < WINDOW)
            .map(|seen| seen & 0xffff_ffff)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(budget: &Budget, now: Instant) -> usize {
        std::iter::repeat_with(|| budget.withdraw(now))
            .take(1000)
            .take_while(|allowed| *allowed)
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_share_of_the_requests_of_all_workers() {
        let budget = Budget::new(0.2, 0, 2);
        let now = Instant::now();
        for worker in 0..100 {
            budget.deposit(worker, now);
        }
        assert_eq!(taken(&budget, now), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn the_floor_is_there_without_any_request() {
        assert_eq!(taken(&Budget::new(0.2, 1, 1), Instant::now()), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ten_seconds_old_no_longer_counts() {
        let budget = Budget::new(1.0, 0, 1);
        budget.deposit(0, Instant::now());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(taken(&budget, Instant::now()), 1);
        budget.deposit(0, Instant::now());
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(taken(&budget, Instant::now()), 0);
    }
}
