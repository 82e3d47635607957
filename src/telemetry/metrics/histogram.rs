//! A histogram of durations with fixed buckets: plain integers that one worker
//! writes.
//!
//! The bounds are the same for requests, attempts and calls to the store, so
//! that they can be compared and summed. A fixed set costs 144 bytes and a
//! few comparisons for each observation.

use std::time::Duration;

/// Upper bounds of the buckets in seconds, as they are written: those that the
/// semantic conventions of OpenTelemetry advise for
/// `http.server.request.duration`, and two lower ones, because responses of the
/// gateway itself are faster than all of those. There is no bound for infinity,
/// which the count of all durations stands for.
pub(super) const BOUNDS: [&str; 16] = [
    "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75",
    "1", "2.5", "5", "7.5", "10",
];

/// [`BOUNDS`] in nanoseconds.
const NANOS: [u64; BOUNDS.len()] = [
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// The number of durations in each bucket, and their sum.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    /// The number of durations in each bucket: not cumulative, so that an
    /// observation writes one of them. The last bucket is for everything above
    /// the highest bound.
    buckets: [u64; BOUNDS.len() + 1],
    /// The sum in nanoseconds; an integer, so that the sum over workers is
    /// exact. It holds five centuries, and stays at its maximum after that.
    nanos: u64,
}

impl Histogram {
    /// Counts one duration. A duration that equals a bound belongs to its
    /// bucket (`le`, less or equal).
    ///
    /// A duration above ten seconds is in the last bucket. One that does not
    /// fit into 64 bits of nanoseconds counts as the longest that does.
    pub(super) fn observe(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos)] += 1;
        self.nanos = self.nanos.saturating_add(nanos);
    }

    /// Adds all durations of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    /// The number of durations.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all durations.
    pub(super) fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// Each of [`BOUNDS`] with the number of durations up to it, as the text
    /// formats have them.
    ///
    /// The bucket above the highest bound is missing: the caller writes the
    /// count of all durations as `+Inf`.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let mut below = 0;
        BOUNDS.iter().zip(self.buckets).map(move |(&bound, count)| {
            below += count;
            (bound, below)
        })
    }
}

/// The bucket of a duration in nanoseconds: the first one whose bound it does
/// not exceed.
#[inline]
fn bucket_of(nanos: u64) -> usize {
    // The position of the highest bit leaves at most two bounds to look at.
    let begin = usize::from(FIRST_BUCKETS[nanos.checked_ilog2().unwrap_or(0) as usize]);
    let above = NANOS[begin..].iter().take_while(|&&bound| bound < nanos);
    begin + above.count()
}

/// For each position of the highest bit, the bucket of the smallest number that
/// has it.
const FIRST_BUCKETS: [u8; 64] = {
    let mut buckets = [0; 64];
    let mut bit = 0;
    while bit < buckets.len() {
        let mut bucket = 0;
        while bucket < NANOS.len() && NANOS[bucket] < 1 << bit {
            bucket += 1;
        }
        buckets[bit] = bucket as u8;
        bit += 1;
    }
    buckets
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_spellings_of_the_bounds_agree() {
        for (text, nanos) in BOUNDS.iter().zip(NANOS) {
            let seconds: f64 = text.parse().unwrap();
            assert_eq!((seconds * 1e9).round() as u64, nanos);
        }
    }

    #[test]
    fn the_bucket_of_a_duration_is_the_first_whose_bound_it_does_not_exceed() {
        let around = |nanos: u64| [nanos.saturating_sub(1), nanos, nanos.saturating_add(1)];
        let powers = (0..64).map(|bit| 1 << bit);
        for nanos in NANOS.into_iter().chain(powers).flat_map(around) {
            let expected = NANOS.iter().filter(|&&bound| bound < nanos).count();
            assert_eq!(bucket_of(nanos), expected, "{nanos}");
        }
    }

    #[test]
    fn a_duration_on_a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::default();
        histogram.observe(Duration::from_millis(5));
        histogram.observe(Duration::from_nanos(5_000_001));
        histogram.observe(Duration::from_secs(60));
        let at_most = |bound| {
            histogram
                .cumulative()
                .find(|(text, _)| *text == bound)
                .unwrap()
                .1
        };
        assert_eq!(
            (
                at_most("0.0025"),
                at_most("0.005"),
                at_most("0.01"),
                at_most("10")
            ),
            (0, 1, 2, 2)
        );
        assert_eq!(histogram.count(), 3);
        assert_eq!(histogram.sum(), Duration::from_nanos(60_010_000_001));
    }
}
