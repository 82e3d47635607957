//! Rates, and rates with a burst: how many tokens a bucket gains and holds.
//!
//! Both numbers of a quota are chosen by an operator, in the configuration or at
//! the admin listener, so that their product with a period has to fit into the
//! clock of the limiter. [`Quota::new`] is the one place
//! that checks it.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use thiserror::Error;

/// A sustained rate: `count` tokens in each `period`.
///
/// `100/s` and `6000/m` admit as many requests over time and are different
/// values: the count is also the burst of a limit that configures none.
///
/// ```
/// use std::time::Duration;
/// use tidegate::{config, policy::Rate};
///
/// assert_eq!(
///     config::read_rate("100/s"),
///     Ok(Rate { count: 100, period: Duration::from_secs(1) }),
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that come back in one period; 0 admits nothing.
    pub count: u32,
    /// The length of a period: in the configuration at least one nanosecond for
    /// each token of `count`.
    pub period: Duration,
}

impl Rate {
    /// The burst of a limit that configures none: the count.
    pub fn default_burst(&self) -> NonZeroU32 {
        NonZeroU32::new(self.count).unwrap_or(NonZeroU32::MIN)
    }
}

/// A sustained rate and the size of the bucket in front of it. A rate of 0 has
/// an empty bucket, which admits nothing.
///
/// Every value of this type can be enforced: [`Quota::new`] checks the bounds
/// of the arithmetic once, where a configuration is read or an operator sends
/// numbers, and nothing behind it has to check them again.
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use tidegate::policy::{Quota, QuotaError, Rate};
///
/// let three = Rate { count: 3, period: Duration::from_secs(1) };
/// let quota = Quota::new(three, three.default_burst())?;
/// assert_eq!(quota.emission().get(), 333_333_334); // rounded up
///
/// // One token in 365 days, and a bucket of 1000 tokens: a thousand years.
/// let slow = Rate { count: 1, period: Duration::from_secs(365 * 24 * 60 * 60) };
/// let burst = NonZeroU32::new(1000).ok_or("zero")?;
/// assert_eq!(Quota::new(slow, burst), Err(QuotaError::TooSlow { burst }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The sustained rate.
    rate: Rate,
    /// Tokens in a full bucket; 0 exactly if the rate is.
    burst: u32,
}

impl Quota {
    /// Longest time in which an empty bucket may fill, in nanoseconds: 2^61,
    /// about 73 years.
    ///
    /// Times are kept in 64 bits. With this bound a bucket's fill time, doubled
    /// by a conversion between two quotas and added to the clock, stays below
    /// the marks that the bucket table keeps at the top of that range.
    pub const LONGEST_FILL: u64 = 1 << 61;

    /// Pairs a rate with a burst, which does not count for a rate of 0.
    ///
    /// # Errors
    /// Fails if the period is zero, or if an empty bucket takes longer than
    /// [`Self::LONGEST_FILL`] to fill.
    pub fn new(rate: Rate, burst: NonZeroU32) -> Result<Self, QuotaError> {
        if rate.period.is_zero() {
            return Err(QuotaError::ZeroPeriod);
        }
        if rate.count == 0 {
            return Ok(Self { rate, burst: 0 });
        }
        let fill = emission(rate).checked_mul(burst.get().into());
        if fill.is_none_or(|fill| fill > u128::from(Self::LONGEST_FILL)) {
            return Err(QuotaError::TooSlow { burst });
        }
        Ok(Self {
            rate,
            burst: burst.get(),
        })
    }

    /// The sustained rate.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Tokens in a full bucket; 0 if nothing is admitted.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// The emission interval: nanoseconds in which one token comes back.
    ///
    /// Rounded **up** to a whole nanosecond, so that no more than
    /// `burst + rate * time` is ever admitted. 1/d and 1,000,000/s are exact;
    /// at worst rounding takes one nanosecond per token (0.1 % at a million a
    /// second). With a rate of 0 no token comes back in any time.
    pub fn emission(&self) -> NonZeroU64 {
        match u64::try_from(emission(self.rate)) {
            Ok(nanos) => NonZeroU64::new(nanos).unwrap_or(NonZeroU64::MIN),
            Err(_) => NonZeroU64::MAX,
        }
    }
}

/// Nanoseconds per token, rounded up; without tokens, the longest time.
fn emission(rate: Rate) -> u128 {
    match rate.count {
        0 => u128::MAX,
        count => rate.period.as_nanos().div_ceil(count.into()),
    }
}

/// Why a rate and a burst make no [`Quota`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QuotaError {
    /// The rate's period is zero.
    #[error("the period of the rate is zero")]
    ZeroPeriod,
    /// An empty bucket would take longer than [`Quota::LONGEST_FILL`] to fill.
    #[error("a bucket of {burst} tokens at this rate takes more than 73 years to fill")]
    TooSlow {
        /// The bucket's size.
        burst: NonZeroU32,
    },
}
