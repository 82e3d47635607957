//! A limit that follows the measured latency: arithmetic only, from the summary
//! of a window to a new limit.
//!
//! The idea is Gradient2 of Netflix's concurrency-limits: compare the latency
//! now with the latency of an upstream that does not queue; grow by about a
//! square root while the two are close, and shrink by their ratio when they
//! part. The differences mend known weaknesses of Gradient2:
//!
//! * Its long-term average follows the queue that its own limit makes, so that
//!   under steady load it drifts upwards without end. Here a latency measured
//!   at the limit never raises the baseline, unless shrinking has not helped: a
//!   queue of ours gets shorter in proportion, a slow upstream's does not. That
//!   is also how a slower upstream is learnt, without windows in which requests
//!   are held back only to measure.
//! * After a slow spell the average is too high for long, and each spell leaves
//!   it a little higher. Here the earlier baseline holds again as soon as
//!   latencies fit it.
//! * It shrinks on a few samples. Here a window has enough of them, and its
//!   median counts.
//! * It either ignores failures or shrinks by a tenth for each. Here the limit
//!   shrinks by half of their share.

use super::window::Summary;
use crate::policy::AdaptiveBounds;

/// Latency above the baseline by less than this share is taken for noise.
/// Netflix has 1.5; with the median of a window less is needed, and the queue
/// at the upstream stays shorter.
const TOLERANCE: f64 = 1.3;
/// Added to the tolerance over the square root of the number of responses: twice
/// the error of a median of exponential times, relative to the median, is 2.9
/// over that root.
const NOISE: f64 = 2.9;
/// Part of the way to a lower limit that one window goes: responses measured
/// now were admitted under an earlier limit.
const SMOOTHING: f64 = 0.3;
/// The most that one window may ask to shrink by.
const STEEPEST: f64 = 0.5;
/// The limit grows only while at least this share of it is in use; otherwise it
/// would drift upwards while idle.
const NEAR: f64 = 0.8;
/// Below this share of the limit in use, slowness is not of the limit's making,
/// and shrinking it would not help.
const IN_USE: f64 = 0.5;
/// How fast the baseline follows lower medians: slowly, as the lowest of many
/// is an accident, ...
const DOWN: f64 = 0.05;
/// ... but quickly when it is far too high: below this share of it, the slow
/// spell that taught it is over.
const FAR_BELOW: f64 = 0.7;
/// How fast the baseline follows higher medians that are not of the limit's
/// making.
const UP: f64 = 0.02;
/// How fast the baseline follows a median that is known to be right.
const HALF: f64 = 0.5;
/// How much the baseline sinks with each window at the limit. Without it a
/// baseline that was once learnt too high would stay, as latencies below the
/// limit are never seen; with it, and with shrinking judged, it comes to rest
/// at the knee.
const SINKS: f64 = 0.003;
/// Latencies within this factor of an earlier baseline fit it: a tenth above
/// the tolerance, for noise.
const FITS: f64 = TOLERANCE * 1.1;
/// How far the limit shrinks at least before it is asked whether that has
/// helped.
const JUDGED_AT: f64 = 0.85;
/// In how many windows the limit shrinks at least before that: the effect of a
/// move shows late.
const JUDGED_AFTER: u32 = 3;
/// Weight of the last window in the latency that is judged: one alone is noisy.
const RECENT: f64 = 0.4;
/// How fast the baseline rises at the least limit, where nothing can be tried
/// any more.
const UP_AT_MIN: f64 = 0.1;

/// The limit and the baseline it is derived from. Survives reloads.
#[derive(Debug)]
pub(super) struct Gradient {
    bounds: AdaptiveBounds,
    limit: f64,
    /// Seconds to the response head while the upstream does not queue; `None`
    /// before the first window.
    baseline: Option<f64>,
    /// The earlier baseline, while it is raised.
    before: Option<f64>,
    /// Doubles until something slows down, for a quick start from `min`.
    is_warming: bool,
    /// Set while responses are slow.
    descent: Option<Descent>,
}

/// A way down, from where it was last judged.
#[derive(Debug, Clone, Copy)]
struct Descent {
    limit: f64,
    latency: f64,
    /// The mean latency of the last windows, averaged.
    recent: f64,
    /// The limits under which that was measured, averaged in the same way: the
    /// value lags behind the limit as the latency does.
    under: f64,
    windows: u32,
}

impl Gradient {
    /// A limit that begins at `min`.
    pub(super) fn new(bounds: AdaptiveBounds) -> Self {
        let limit = clamp(bounds, 0.0);
        Self {
            bounds,
            limit,
            baseline: None,
            before: None,
            is_warming: true,
            descent: None,
        }
    }

    /// Changes the bounds. The baseline stays.
    pub(super) fn set_bounds(&mut self, bounds: AdaptiveBounds) {
        self.bounds = bounds;
        self.limit = clamp(bounds, self.limit);
    }

    /// Goes on from a limit that was fixed until now.
    pub(super) fn go_on_from(&mut self, limit: usize) {
        self.limit = clamp(self.bounds, limit as f64);
        self.descent = None;
    }

    /// The limit, from `min` to `max`.
    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Whether the first limit is still looked for, so that windows should be
    /// short.
    pub(super) fn is_warming(&self) -> bool {
        self.is_warming
    }

    /// Takes a window of enough samples into account.
    pub(super) fn update(&mut self, seen: &Summary) {
        let used = seen.peak as f64 / self.limit.floor();
        let tolerance = TOLERANCE + NOISE / (seen.responses.max(1) as f64).sqrt();
        let slowdown = seen
            .median
            .map_or(1.0, |median| self.learn(median, seen.mean, used, tolerance));
        if used < IN_USE {
            return;
        }
        let gradient = (tolerance / slowdown).clamp(STEEPEST, 1.0);
        self.is_warming &= gradient == 1.0 && seen.failed == 0.0;
        let target = self.limit * gradient + self.step();
        let next = if target < self.limit {
            self.limit + (target - self.limit) * SMOOTHING
        } else if used >= NEAR {
            target
        } else {
            self.limit
        };
        // Multiplied last: a few failures slow growth down, many outweigh it.
        let next = next * (1.0 - HALF * seen.failed.clamp(0.0, 1.0));
        self.limit = clamp(self.bounds, next);
    }

    /// The growth of one window: little against large limits, and at least one.
    fn step(&self) -> f64 {
        if self.is_warming {
            self.limit
        } else {
            (self.limit.sqrt() / 2.0).max(1.0)
        }
    }

    /// Moves the baseline. Returns how many times slower than the baseline
    /// responses are.
    fn learn(&mut self, median: f64, mean: f64, used: f64, tolerance: f64) -> f64 {
        let is_over = self
            .baseline
            .is_some_and(|baseline| median < baseline * FAR_BELOW);
        if self
            .before
            .is_some_and(|before| is_over || median <= before * FITS)
        {
            self.baseline = self.before.take();
        }
        let baseline = *self.baseline.get_or_insert(median);
        let is_slow = median > baseline * tolerance;
        let toward_median = |pace: f64| baseline + (median - baseline) * pace;
        let learnt = if median < baseline * FAR_BELOW || self.is_warming && !is_slow {
            toward_median(HALF)
        } else if median < baseline {
            toward_median(DOWN)
        } else if used < IN_USE {
            toward_median(UP)
        } else if is_slow {
            toward_median(self.judge(mean, tolerance)) * (1.0 - SINKS)
        } else {
            baseline * (1.0 - SINKS)
        };
        if !is_slow || used < IN_USE {
            self.descent = None;
        }
        if learnt > baseline && !self.is_warming {
            self.before.get_or_insert(baseline);
        }
        self.baseline = Some(learnt);
        // A median of zero is below the resolution of the clock.
        if learnt > 0.0 { median / learnt } else { 1.0 }
    }

    /// How fast the baseline rises while responses are slower than it: not at
    /// all as long as the limit shrinks and that helps. Judged by the mean,
    /// which follows the limit where the limit makes the queue (Little, 1961).
    /// The median of responses that all take the same time moves in steps of
    /// that time, and stays for a good deal of a way down.
    fn judge(&mut self, mean: f64, tolerance: f64) -> f64 {
        let begin = Descent {
            limit: self.limit,
            latency: mean,
            recent: mean,
            under: self.limit,
            windows: 0,
        };
        let since = self.descent.get_or_insert(begin);
        if self.limit <= clamp(self.bounds, 0.0) {
            return UP_AT_MIN;
        }
        since.windows += 1;
        since.recent += (mean - since.recent) * RECENT;
        since.under += (self.limit - since.under) * RECENT;
        // An upstream that got slower by itself, or with a higher limit, can
        // only be judged from here on.
        if self.limit > since.limit || mean > since.latency * tolerance {
            *since = begin;
            return 0.0;
        }
        // Far enough down that the expected gain is no less than the error of a
        // median of so few responses. Judged by noise, a queue of the limit's
        // own making passes for a slow upstream, and the baseline climbs after
        // it without end.
        let error = ((tolerance - TOLERANCE) / 2.0).min(HALF);
        let judged_at = JUDGED_AT.min((1.0 - error).powi(2));
        if self.limit > since.limit * judged_at || since.windows < JUDGED_AFTER {
            return 0.0;
        }
        // A queue of the limit's own making would have shrunk with the limit, a
        // slow upstream would be as slow as before. The line between the two is
        // half-way.
        let expected = since.latency * (since.under / since.limit).sqrt();
        let is_own_queue = since.recent <= expected;
        *since = Descent {
            latency: since.recent,
            ..begin
        };
        if is_own_queue { 0.0 } else { HALF }
    }
}

/// A limit within its bounds.
fn clamp(bounds: AdaptiveBounds, limit: f64) -> f64 {
    limit.clamp(
        bounds.min.get() as f64,
        bounds.max.max(bounds.min).get() as f64,
    )
}

#[cfg(test)]
mod tests;
