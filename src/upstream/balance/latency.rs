//! How slow a server is: a moving average that rises at once and falls slowly.
//!
//! Finagle's `PeakEwma`, as linkerd has it: a latency above the average replaces it, one below is averaged in by the time
//! that has passed, and without any news the average falls too, so that a server that was slow is tried again.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

/// Time in which a peak falls to a third.
const DECAY: Duration = Duration::from_secs(10);
/// A failure counts as slow as this, however quick it came: who refuses at once must not look like the quickest.
const FAILURE: Duration = Duration::from_secs(1);
/// Latencies are alike whose usual values differ by less than this factor. Chance makes as much, and shares have to follow
/// the weights where the servers do not differ.
const ALIKE: f64 = 2.0;
/// Peaks differ by more: the busier of two servers has more of them.
const PEAKS_ALIKE: f64 = 10.0;
/// Nanoseconds that are added to latencies before they are compared: so much a busy machine adds by itself.
const NOISE: f64 = 5e6;
/// The cost of a server that works on its first request: it gets no second one until it is known how quick it is.
const UNKNOWN: f64 = 1e15;

/// A server's latency. Two workers that write at one time may lose one of the two values, which an average can bear.
#[derive(Debug)]
pub(in crate::upstream) struct Latency {
    epoch: Instant,
    /// Nanoseconds, as the bits of a float; 0 before the first answer.
    average: AtomicU64,
    /// The same, without the rise at once.
    usual: AtomicU64,
    /// When it was written, in nanoseconds since `epoch`.
    written: AtomicU64,
}

impl Latency {
    pub(in crate::upstream) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            average: AtomicU64::new(0),
            usual: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// An answer came after `took`.
    pub(in crate::upstream) fn answered(&self, took: Duration, now: Instant) {
        let took = took.as_nanos() as f64;
        let decayed = self.weight(now);
        let average = self.average();
        let mix = |average: f64| average * decayed + took * (1.0 - decayed);
        let next = if took > average { took } else { mix(average) };
        let usual = if average == 0.0 {
            took
        } else {
            mix(f64::from_bits(self.usual.load(Relaxed)))
        };
        self.average.store(next.to_bits(), Relaxed);
        self.usual.store(usual.to_bits(), Relaxed);
        self.written.store(self.nanos(now), Relaxed);
    }

    /// The server failed after `took`.
    pub(in crate::upstream) fn failed(&self, took: Duration, now: Instant) {
        self.answered(took.max(FAILURE), now);
    }

    /// Whether both are known, and differ by no more than chance and the machine explain.
    pub(super) fn is_like(&self, other: &Self, now: Instant) -> bool {
        let are_like = |one: f64, other: f64, factor: f64| {
            let (one, other) = (one + NOISE, other + NOISE);
            one <= other * factor && other <= one * factor
        };
        let usual = |latency: &Self| f64::from_bits(latency.usual.load(Relaxed));
        let peak = |latency: &Self| latency.average() * latency.weight(now);
        self.average() > 0.0
            && other.average() > 0.0
            && are_like(usual(self), usual(other), ALIKE)
            && are_like(peak(self), peak(other), PEAKS_ALIKE)
    }

    /// The time that a request would take, behind those `requests` that are in flight.
    pub(super) fn cost(&self, requests: f64, now: Instant) -> f64 {
        let average = self.average();
        if average == 0.0 {
            return UNKNOWN * requests;
        }
        average * self.weight(now) * (requests + 1.0)
    }

    fn average(&self) -> f64 {
        f64::from_bits(self.average.load(Relaxed))
    }

    /// What is left of an average by now.
    fn weight(&self, now: Instant) -> f64 {
        let silent = self.nanos(now).saturating_sub(self.written.load(Relaxed));
        (-(silent as f64) / DECAY.as_nanos() as f64).exp()
    }

    fn nanos(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    fn millis(latency: &Latency, in_flight: u32) -> f64 {
        latency.cost(f64::from(in_flight), Instant::now()) / 1e6
    }

    #[tokio::test(start_paused = true)]
    async fn a_peak_counts_at_once_and_is_forgotten_slowly() {
        let latency = Latency::new();
        latency.answered(Duration::from_millis(10), Instant::now());
        latency.answered(Duration::from_millis(500), Instant::now());
        assert!((millis(&latency, 0) - 500.0).abs() < 1.0);
        advance(Duration::from_secs(10)).await;
        assert!((millis(&latency, 0) - 500.0 / std::f64::consts::E).abs() < 1.0);
        latency.answered(Duration::from_millis(10), Instant::now());
        assert!((millis(&latency, 0) - (500.0 - 10.0) / std::f64::consts::E - 10.0).abs() < 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_in_flight_multiply_it() {
        let latency = Latency::new();
        latency.answered(Duration::from_millis(10), Instant::now());
        assert!((millis(&latency, 3) - 40.0).abs() < 0.1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_server_gets_one_request_and_the_next_after_its_answer() {
        let (new, known) = (Latency::new(), Latency::new());
        known.answered(Duration::from_millis(10), Instant::now());
        assert!(millis(&new, 0) < millis(&known, 0));
        assert!(millis(&new, 1) > millis(&known, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_failure_is_a_slow_answer() {
        let latency = Latency::new();
        latency.failed(Duration::from_micros(50), Instant::now());
        assert!(millis(&latency, 0) > 900.0);
    }

    proptest! {
        #[test]
        fn it_stays_within_what_was_measured(took in prop::collection::vec(1u64..100_000, 1..50)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let latency = Latency::new();
                for millis in &took {
                    advance(Duration::from_millis(7)).await;
                    latency.answered(Duration::from_millis(*millis), Instant::now());
                }
                let (least, most) = (took.iter().min().unwrap(), took.iter().max().unwrap());
                let now = millis(&latency, 0);
                assert!(now >= *least as f64 - 0.1 && now <= *most as f64 + 0.1);
            });
        }
    }
}
