//! The outcomes of a window: a histogram that every thread adds to without a
//! lock, read and emptied at the window's end.
//!
//! # Histogram
//!
//! Buckets are one microsecond wide below 32 microseconds. Above that, each
//! doubling of the time has sixteen of them, as in the layout of HdrHistogram:
//! a bucket is at most a sixteenth of its times wide, so that its middle is
//! within a thirty-second of each of them. The histogram has 384 counters of
//! four bytes, whatever the traffic.
//!
//! # Concurrency
//!
//! All workers add to one window with relaxed atomics, and no counter is read
//! together with another while the window is open. The request that closes the
//! window swaps each counter with 0 in turn. An outcome that arrives in between
//! may be in the buckets of one window and in the number of outcomes of the
//! other: the number only says when a window is complete, and the summary is
//! computed from the swapped counters alone.
//!
//! # Mean and median
//!
//! The gradient compares the median with its baseline, since a few slow
//! responses do not move it. The mean judges whether shrinking has helped:
//! where all responses take about the same time, the median moves in steps, and
//! the mean moves with the queue. The median bounds the mean, as a single
//! response of a minute would otherwise look like a queue.

use std::{
    sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// The greatest weight of a single response in the mean, as a multiple of the
/// median, so that a few very slow ones do not decide.
const MOST_MEDIANS: f64 = 4.0;

/// The contents of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    /// Median time to the response head, in seconds; `None` if there were only
    /// failures.
    pub(super) median: Option<f64>,
    /// Mean time to the response head, in seconds. No response counts as more
    /// than [`MOST_MEDIANS`].
    pub(super) mean: f64,
    /// The number of responses.
    pub(super) responses: u64,
    /// Failures as a share of all outcomes, 0.0 to 1.0.
    pub(super) failed: f64,
    /// The greatest number of requests that were in flight at once. It counts
    /// requests at the moment at which they get a permit, and bounds how far
    /// the limit may grow: a limit that traffic does not reach is not tested.
    pub(super) peak: usize,
}

/// Buckets in each doubling of the time, so that a median is known to a
/// thirty-second.
const PARTS: u64 = 16;
/// The logarithm of [`PARTS`], by which the index of a bucket is shifted.
const PARTS_LOG: u32 = PARTS.ilog2();
/// Buckets up to 2^27 microseconds, more than two minutes. Longer times count
/// as that.
const BUCKETS: usize = 384;

/// The outcomes since the window was opened.
#[derive(Debug)]
pub(super) struct Window {
    /// How many responses took about as long, in steps that grow with the time.
    buckets: Box<[AtomicU32; BUCKETS]>,
    /// Responses and failures. It says when the window is complete, and is no
    /// part of the summary.
    outcomes: AtomicU32,
    /// Requests that the upstream was too busy for.
    failures: AtomicU32,
    /// The most requests that were in flight.
    peak: AtomicUsize,
}

impl Window {
    /// A window without outcomes.
    pub(super) fn new() -> Self {
        Self {
            buckets: Box::new([const { AtomicU32::new(0) }; BUCKETS]),
            outcomes: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            peak: AtomicUsize::new(0),
        }
    }

    /// Adds a response whose head came after `time`. Returns the number of
    /// outcomes so far.
    ///
    /// A time above two minutes counts as the last bucket. Costs two atomic
    /// additions and does not block.
    pub(super) fn record(&self, time: Duration) -> u32 {
        self.buckets[bucket(time)].fetch_add(1, Relaxed);
        self.outcomes.fetch_add(1, Relaxed) + 1
    }

    /// Adds a request without a response, or with one that says that the
    /// upstream is overloaded. Returns the number of outcomes so far.
    ///
    /// A failure has no time: it counts in the share of failures and not in the
    /// median.
    pub(super) fn record_failure(&self) -> u32 {
        self.failures.fetch_add(1, Relaxed);
        self.outcomes.fetch_add(1, Relaxed) + 1
    }

    /// Notes how many requests are in flight.
    ///
    /// Called with each permit, so that it reads before it writes: most calls
    /// leave the cache line shared between the workers.
    pub(super) fn note_peak(&self, in_flight: usize) {
        // The peak was as high before in most cases, and a load is cheaper than
        // a write.
        if self.peak.load(Relaxed) < in_flight {
            self.peak.fetch_max(in_flight, Relaxed);
        }
    }

    /// Reads and empties the window. An outcome that is added meanwhile is
    /// counted in this window or in the next.
    ///
    /// The caller holds the lock of the gradient, so that no two threads take
    /// from one window at the same time. Allocates once, for a copy of the
    /// counters.
    pub(super) fn take(&self) -> Summary {
        let counts: Vec<u32> = self
            .buckets
            .iter()
            .map(|bucket| bucket.swap(0, Relaxed))
            .collect();
        let (responses, failures) = (
            counts.iter().map(|count| u64::from(*count)).sum(),
            self.failures.swap(0, Relaxed),
        );
        self.outcomes.store(0, Relaxed);
        let all = responses as f64 + f64::from(failures);
        let median = median(&counts, responses);
        Summary {
            median,
            mean: median.map_or(0.0, |median| {
                mean(&counts, responses, median * MOST_MEDIANS)
            }),
            responses,
            failed: if all > 0.0 {
                f64::from(failures) / all
            } else {
                0.0
            },
            peak: self.peak.swap(0, Relaxed),
        }
    }
}

/// The mean in seconds, with no response counted as more than `most`.
///
/// `total` is the number of responses and must not be 0, which the caller knows
/// from there being a median.
fn mean(counts: &[u32], total: u64, most: f64) -> f64 {
    let sum = |(at, count): (usize, &u32)| f64::from(*count) * middle(at).min(most);
    counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(sum)
        .sum::<f64>()
        / total as f64
}

/// The time that a bucket stands for, in seconds.
fn middle(bucket: usize) -> f64 {
    (least(bucket) + least(bucket + 1)) as f64 / 2.0 / 1e6
}

/// The median in seconds; `None` without any response.
///
/// The upper median of an even number. It is the middle of its bucket, and so
/// within a thirty-second of the true one, for times up to two minutes.
fn median(counts: &[u32], total: u64) -> Option<f64> {
    let mut before = 0;
    let at = counts.iter().position(|count| {
        before += u64::from(*count);
        before * 2 > total
    })?;
    Some(middle(at))
}

/// The bucket of a time. Each doubling has as many buckets, so that all have
/// about the same relative width.
fn bucket(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    if micros < PARTS {
        return micros as usize;
    }
    let shift = micros.ilog2() - PARTS_LOG;
    let index = (u64::from(shift) << PARTS_LOG) + (micros >> shift);
    (index as usize).min(BUCKETS - 1)
}

/// The least number of microseconds that is counted in a bucket.
///
/// The inverse of `bucket`: a time is in the bucket `n` if it is at least
/// `least(n)` and below `least(n + 1)`.
fn least(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * PARTS {
        return bucket;
    }
    let shift = (bucket >> PARTS_LOG) - 1;
    (bucket - (shift << PARTS_LOG)) << shift
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_median_is_that_of_the_responses_and_failures_are_a_share() {
        let window = Window::new();
        for millis in [1, 10, 11, 10, 500] {
            window.record(Duration::from_millis(millis));
        }
        assert_eq!(window.record_failure(), 6);
        window.note_peak(7);
        window.note_peak(3);
        let seen = window.take();
        let median = seen.median.unwrap();
        assert!((0.0096..0.0104).contains(&median), "{median}");
        // 1, 10, 10, 11, and four medians instead of 500.
        assert!((0.0137..0.0150).contains(&seen.mean), "{}", seen.mean);
        assert!((seen.failed - 1.0 / 6.0).abs() < 1e-9 && seen.peak == 7);
        assert_eq!(
            window.take(),
            Summary {
                median: None,
                mean: 0.0,
                responses: 0,
                failed: 0.0,
                peak: 0
            }
        );
    }

    proptest! {
        #[test]
        fn every_time_is_counted_within_a_sixteenth_of_itself(micros in 0..1_u64 << 27) {
            let at = bucket(Duration::from_micros(micros));
            prop_assert!(least(at) <= micros && micros < least(at + 1));
            prop_assert!(least(at + 1) - least(at) <= 1.max(micros / PARTS));
        }

        #[test]
        fn any_time_has_a_bucket(micros: u64) {
            prop_assert!(bucket(Duration::from_micros(micros)) < BUCKETS);
        }
    }
}
