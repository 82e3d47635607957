//! The latency of a server: a moving average that rises at once and falls
//! slowly.
//!
//! This is `PeakEwma` of Finagle and linkerd: a latency above the average
//! replaces it, and one below it is averaged in with a weight by the time that
//! has passed. Without responses the average decays as well, so that a server
//! that was slow is tried again.
//!
//! With the latency `l` of a response after a silence `t`, and the decay time
//! `d` of ten seconds, the average `a` becomes
//!
//! ```text
//! a' = l                                    if l > a
//! a' = a e^(-t/d) + l (1 - e^(-t/d))        otherwise
//! ```
//!
//! and the cost of a server with `n` requests in flight is `a' (n + 1)`: the
//! time that a further request would take if they were served one after the
//! other.
//!
//! Two averages are kept. The peak-sensitive one estimates the next response.
//! The usual one, without the rise to peaks, tells whether two servers differ
//! at all: if they do not, requests in flight and weights decide, and chance
//! does not.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

/// The time in which a peak decays to 1/e, about a third.
const DECAY: Duration = Duration::from_secs(10);
/// The latency that a failure counts as at least: a server that refuses at once
/// must not look like the fastest.
const FAILURE: Duration = Duration::from_secs(1);
/// Usual latencies that differ by less than this factor are similar. Chance
/// makes as much, and shares have to follow the weights if the servers do not
/// differ.
const SIMILAR: f64 = 2.0;
/// Peaks that differ by less than this factor are similar. The busier of two
/// equal servers has more of them.
const SIMILAR_PEAKS: f64 = 10.0;
/// Nanoseconds that are added to latencies before they are compared, as a busy
/// machine adds that much by itself.
const NOISE: f64 = 5e6;
/// The cost, for each request in flight, of a server that has not responded
/// yet: it gets no second request before that.
const UNKNOWN: f64 = 1e15;

/// The latency of one server. Of two workers that write at the same time one
/// may be lost, which an average can bear.
#[derive(Debug)]
pub(in crate::upstream) struct Latency {
    /// The origin of `written`.
    epoch: Instant,
    /// The peak-sensitive average in nanoseconds, as the bits of a float; 0
    /// before the first response.
    average: AtomicU64,
    /// The average without its rise to peaks, in the same form.
    usual: AtomicU64,
    /// When the averages were written, in nanoseconds since `epoch`.
    written: AtomicU64,
}

impl Latency {
    /// The latency of a server that has not responded yet.
    pub(in crate::upstream) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            average: AtomicU64::new(0),
            usual: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// Notes a response that took `took`.
    pub(in crate::upstream) fn responded(&self, took: Duration, now: Instant) {
        let took = took.as_nanos() as f64;
        let decayed = self.decay(now);
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

    /// Notes a failure after `took`.
    pub(in crate::upstream) fn failed(&self, took: Duration, now: Instant) {
        self.responded(took.max(FAILURE), now);
    }

    /// Whether both latencies are known and differ by no more than chance and
    /// the machine explain.
    pub(super) fn is_similar(&self, other: &Self, now: Instant) -> bool {
        let are_similar = |one: f64, other: f64, factor: f64| {
            let (one, other) = (one + NOISE, other + NOISE);
            one <= other * factor && other <= one * factor
        };
        let usual = |latency: &Self| f64::from_bits(latency.usual.load(Relaxed));
        let peak = |latency: &Self| latency.average() * latency.decay(now);
        self.average() > 0.0
            && other.average() > 0.0
            && are_similar(usual(self), usual(other), SIMILAR)
            && are_similar(peak(self), peak(other), SIMILAR_PEAKS)
    }

    /// The expected response time of a further request in nanoseconds, with
    /// `requests` in flight before it.
    pub(super) fn cost(&self, requests: f64, now: Instant) -> f64 {
        let average = self.average();
        if average == 0.0 {
            return UNKNOWN * requests;
        }
        average * self.decay(now) * (requests + 1.0)
    }

    /// The peak-sensitive average in nanoseconds, not decayed.
    fn average(&self) -> f64 {
        f64::from_bits(self.average.load(Relaxed))
    }

    /// The factor to which an average has decayed since it was written.
    fn decay(&self, now: Instant) -> f64 {
        let silent = self.nanos(now).saturating_sub(self.written.load(Relaxed));
        (-(silent as f64) / DECAY.as_nanos() as f64).exp()
    }

    /// A time as nanoseconds since the epoch of this latency.
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
        latency.responded(Duration::from_millis(10), Instant::now());
        latency.responded(Duration::from_millis(500), Instant::now());
        assert!((millis(&latency, 0) - 500.0).abs() < 1.0);
        advance(Duration::from_secs(10)).await;
        assert!((millis(&latency, 0) - 500.0 / std::f64::consts::E).abs() < 1.0);
        latency.responded(Duration::from_millis(10), Instant::now());
        assert!((millis(&latency, 0) - (500.0 - 10.0) / std::f64::consts::E - 10.0).abs() < 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_in_flight_multiply_it() {
        let latency = Latency::new();
        latency.responded(Duration::from_millis(10), Instant::now());
        assert!((millis(&latency, 3) - 40.0).abs() < 0.1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_server_gets_one_request_and_the_next_after_its_answer() {
        let (new, known) = (Latency::new(), Latency::new());
        known.responded(Duration::from_millis(10), Instant::now());
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
                    latency.responded(Duration::from_millis(*millis), Instant::now());
                }
                let (least, most) = (took.iter().min().unwrap(), took.iter().max().unwrap());
                let now = millis(&latency, 0);
                assert!(now >= *least as f64 - 0.1 && now <= *most as f64 + 0.1);
            });
        }
    }
}
