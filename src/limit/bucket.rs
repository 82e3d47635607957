//! How much a bucket allows: rate, burst and the arithmetic of one decision.
//!
//! The algorithm is GCRA (ITU-T I.371, Annex A): a bucket is one number, its *theoretical arrival time* (TAT), in
//! nanoseconds of the [`Clock`](super::Clock). A TAT in the past is a full bucket; each token pushes it one *emission
//! interval* into the future; it may not get further ahead than `burst` intervals. All of that is computed by
//! `governor`, through a view of one bucket.
//!
//! # Rounding
//!
//! An emission interval is a whole number of nanoseconds, `period / count` **rounded up**, so that a limit never
//! admits more than `burst + rate * time`. 1/d and 1,000,000/s are exact; the worst that rounding takes away is one
//! nanosecond per token (0.1 % at a million a second). The fastest rate is a token per nanosecond.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::RateLimiter;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};

use super::{Now, Standing};

/// `count` tokens in each `period`, sustained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens.
    pub count: NonZeroU32,
    /// Time in which they come back; not zero.
    pub period: Duration,
}

/// Numbers that no limit can be built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The rate's period is zero.
    #[error("the period of the rate is zero")]
    ZeroPeriod,
    /// An empty bucket would take longer than 73 years to fill.
    #[error("a bucket of {burst} tokens at this rate takes more than 73 years to fill")]
    TooSlow {
        /// The bucket's size.
        burst: NonZeroU32,
    },
    /// The limit has seen too many different numbers for single keys.
    #[error(
        "single keys have had more than 65535 different rates and bursts; a restart forgets them"
    )]
    TooManyNumbers,
    /// There is no memory for so many keys.
    #[error("no memory for {max_keys} keys")]
    TooManyKeys {
        /// What was asked for.
        max_keys: usize,
    },
}

/// A rate and the size of the bucket in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    inner: governor::Quota,
    pace: Pace,
    /// Under which the limit knows these numbers; 0 for its own.
    class: u16,
}

impl Quota {
    /// A bucket of `burst` tokens that fills at `rate`; the time for one token is rounded up to a whole nanosecond, so
    /// that no more than `burst + rate * time` is ever admitted.
    pub fn new(rate: Rate, burst: NonZeroU32) -> Result<Self, SettingsError> {
        let nanos = rate
            .period
            .as_nanos()
            .div_ceil(u128::from(rate.count.get()));
        let too_slow = SettingsError::TooSlow { burst };
        if nanos.saturating_mul(u128::from(burst.get())) > u128::from(LONGEST_FILL) {
            return Err(too_slow);
        }
        let emission = u64::try_from(nanos).map_err(|_| too_slow)?;
        let paced = governor::Quota::with_period(Duration::from_nanos(emission))
            .ok_or(SettingsError::ZeroPeriod)?;
        Ok(Self {
            inner: paced.allow_burst(burst),
            pace: Pace { emission, burst },
            class: 0,
        })
    }

    /// Tokens in a full bucket.
    pub const fn burst(&self) -> NonZeroU32 {
        self.inner.burst_size()
    }

    /// Time in which one token comes back.
    pub const fn emission(&self) -> Duration {
        self.inner.replenish_interval()
    }

    pub(super) const fn pace(&self) -> Pace {
        self.pace
    }

    pub(super) const fn class(&self) -> u16 {
        self.class
    }

    pub(super) const fn of_class(self, class: u16) -> Self {
        Self { class, ..self }
    }

    /// Decides about `cost` tokens: the TAT after taking them, or how long to wait for them.
    ///
    /// No cost always conforms; one above the burst never does ([`Duration::MAX`]).
    #[inline]
    pub(super) fn conform(&self, now: Now, tat: u64, cost: u32) -> Result<u64, Duration> {
        let Some(cells) = NonZeroU32::new(cost) else {
            return Ok(tat);
        };
        if cells > self.burst() {
            return Err(Duration::MAX); // before governor multiplies: a huge cost could overflow
        }
        let view = View {
            now: now.as_nanos(),
            tat,
            next: Cell::new(tat),
        };
        let gcra = RateLimiter::<_, _, _, NoOpMiddleware<Nanos>>::new(self.inner, view, now);
        match gcra.check_n(cells) {
            Ok(Ok(())) => Ok(gcra.into_state_store().next.get()),
            Ok(Err(not_yet)) => Err(not_yet.wait_time_from(Nanos::new(now.as_nanos()))),
            Err(_above_burst) => Err(Duration::MAX),
        }
    }
}

/// The numbers of a quota, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// For one token; not zero.
    pub(super) emission: u64,
    pub(super) burst: NonZeroU32,
}

impl Pace {
    /// Nanoseconds in which an empty bucket fills.
    pub(super) const fn fill(self) -> u64 {
        self.weight(self.burst.get())
    }

    /// Nanoseconds that `cost` tokens push a bucket ahead; right for a cost within the burst.
    pub(super) const fn weight(self, cost: u32) -> u64 {
        self.emission.saturating_mul(cost as u64)
    }

    /// Whole tokens in a bucket with this `tat`.
    pub(super) fn remaining(self, now: Now, tat: u64) -> u32 {
        let ahead = tat.saturating_sub(now.as_nanos());
        u32::try_from(self.fill().saturating_sub(ahead) / self.emission).unwrap_or(u32::MAX)
    }

    /// How a bucket with this `tat` stands, for the limit at `index` of the asks.
    pub(super) fn state(self, now: Now, tat: u64, index: usize) -> Standing {
        Standing {
            index,
            remaining: self.remaining(now, tat),
            burst: self.burst.get(),
            fill: Duration::from_nanos(self.fill()),
            next: Duration::from_nanos(self.until_next(now, tat)),
            reset: Duration::from_nanos(tat.saturating_sub(now.as_nanos())),
        }
    }

    /// Nanoseconds until a bucket with this `tat` has one whole token more; 0 when it is full.
    fn until_next(self, now: Now, tat: u64) -> u64 {
        let more = self
            .remaining(now, tat)
            .saturating_add(1)
            .min(self.burst.get());
        tat.saturating_sub(now.as_nanos())
            .saturating_sub(self.fill() - self.weight(more))
    }
}

/// One bucket as `governor` wants to see it: its times count from the limiter's start, which here is `now`; ours are
/// absolute, so that they outlive any limiter. The new time is left in `next` for the table to store.
struct View {
    now: u64,
    tat: u64,
    next: Cell<u64>,
}

impl StateStore for View {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, ahead) = decide(Some(Nanos::new(self.tat.saturating_sub(self.now))))?;
        self.next.set(self.now + ahead.as_u64());
        Ok(outcome)
    }
}

/// The TAT that keeps the used share of a bucket which fills in `new` instead of `old` nanoseconds; rounded up, so
/// that no token is handed out.
pub(super) fn rescaled(tat: u64, now: Now, old: u64, new: u64) -> u64 {
    let debt = u128::from(tat.saturating_sub(now.as_nanos()));
    let rescaled = (debt * u128::from(new)).div_ceil(u128::from(old));
    now.as_nanos().saturating_add(
        u64::try_from(rescaled)
            .unwrap_or(LONGEST_DEBT)
            .min(LONGEST_DEBT),
    )
}

/// Nanoseconds; twice what the slowest quota's bucket takes to fill.
const LONGEST_DEBT: u64 = 1 << 62;

/// Nanoseconds; about 73 years. With it every TAT stays far below the table's marks at the top of `u64`.
const LONGEST_FILL: u64 = 1 << 61;
