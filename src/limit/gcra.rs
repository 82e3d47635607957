//! The arithmetic of one bucket: the generic cell rate algorithm (GCRA), ITU-T
//! Recommendation I.371, Annex A.
//!
//! GCRA needs one number per bucket: its *theoretical arrival time* (TAT), here
//! in nanoseconds of the [`Clock`](super::Clock). A TAT that is not after now
//! is a full bucket. Each token moves the TAT one *emission interval* into the
//! future, counted from now if the bucket was full, and a request conforms as
//! long as the TAT gets no further ahead of now than `burst` intervals. Time
//! does the refilling; nothing has to run for it.
//!
//! ```text
//! burst 3, one token each T          now       TAT      limit = now + 3T
//! two tokens were taken at now:       |----T----|----T----|
//!                                     ^ now               ^ TAT: one token is left
//! ```
//!
//! In the standard's terms T is the emission interval and `fill - T` the
//! tolerance. The two descriptions that it gives, virtual scheduling (this one)
//! and the continuous-state leaky bucket, decide alike; so does a token bucket
//! that is filled continuously.
//!
//! # Why a bucket never admits too much
//!
//! Let requests conform at the times `t1 <= ... <= tn`, and let each take the
//! tokens `ci`. Each moves the TAT by at least `ci * T`, since it starts from
//! the later of the TAT and its own time. Before the first one the TAT counts
//! as at least `t1`, and after the last one it is at most `tn + burst * T`,
//! since that one conformed. So the sum of all `ci * T` is at most
//! `burst * T + (tn - t1)`, which is the burst plus the rate times the time, in
//! tokens. This holds for any stretch of the requests of a bucket, so that no
//! window of time holds more, wherever it begins.
//!
//! # Exactness
//!
//! An interval is a whole number of nanoseconds, rounded up (see
//! [`Quota::emission`]), and everything else is an addition of it. Nothing is
//! rounded per request, and no error adds up. Sums saturate instead of
//! wrapping: a TAT that comes near the end of `u64` belongs to a clock that has
//! run for 584 years. One test holds the arithmetic against the `governor`
//! crate, another one against a token bucket that counts in fractions.
//!
//! # Costs of more than one token
//!
//! A request takes all of its tokens or none. A request that does not conform
//! leaves the TAT as it was, so that being refused costs a client nothing and
//! waiting for the time of the refusal always suffices.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Now;
use crate::policy::Quota;

/// A [`Quota`] prepared for decisions: 16 bytes, copied about freely.
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use tidegate::{limit::Gcra, policy::{Quota, Rate}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rate = Rate { count: 100, period: Duration::from_secs(1) };
/// let gcra = Gcra::from(Quota::new(rate, NonZeroU32::new(20).ok_or("zero")?)?);
/// assert_eq!(gcra.emission(), 10_000_000); // a token every 10 ms
/// assert_eq!(gcra.fill(), 200_000_000);
///
/// // A bucket that is full in 55 ms lacks six tokens, the last one in part.
/// assert_eq!(gcra.left(55_000_000), 14);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gcra {
    /// Nanoseconds per token; not zero.
    emission: u64,
    /// 0 for a quota that admits nothing.
    burst: u32,
    /// The number by which the limit's table knows this quota; 0 for the
    /// limit's own. See `classes`.
    class: u16,
}

impl From<Quota> for Gcra {
    fn from(quota: Quota) -> Self {
        Self {
            emission: quota.emission().get(),
            burst: quota.burst(),
            class: 0,
        }
    }
}

impl Gcra {
    /// Tokens in a full bucket; 0 if nothing is admitted.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Nanoseconds in which one token comes back; not zero.
    pub const fn emission(&self) -> u64 {
        self.emission
    }

    /// Nanoseconds in which an empty bucket fills; at most
    /// [`Quota::LONGEST_FILL`], and 0 if nothing is admitted.
    pub const fn fill(&self) -> u64 {
        self.weight(self.burst)
    }

    /// Nanoseconds by which `cost` tokens move a TAT; saturates for costs above
    /// the burst.
    pub const fn weight(&self, cost: u32) -> u64 {
        self.emission.saturating_mul(cost as u64)
    }

    /// Whole tokens that come back in `time` nanoseconds.
    pub const fn tokens(&self, time: u64) -> u32 {
        let tokens = time / self.emission;
        if tokens > u32::MAX as u64 {
            u32::MAX
        } else {
            tokens as u32
        }
    }

    /// Whole tokens left in a bucket that is full in `debt` nanoseconds.
    pub const fn left(&self, debt: u64) -> u32 {
        self.tokens(self.fill().saturating_sub(debt))
    }

    /// Whether both have the same rate and burst. They may be of different
    /// classes, unlike equal ones.
    pub fn has_numbers_of(&self, other: &Self) -> bool {
        (self.emission, self.burst) == (other.emission, other.burst)
    }

    /// A quota of the limit's own class, from its numbers: nanoseconds per
    /// token, not zero, and tokens of a full bucket.
    pub(crate) const fn from_parts(emission: u64, burst: u32) -> Self {
        Self {
            emission,
            burst,
            class: 0,
        }
    }

    /// The class of this quota, see `classes`.
    pub(super) const fn class(&self) -> u16 {
        self.class
    }

    /// The same quota with another class.
    pub(super) const fn with_class(self, class: u16) -> Self {
        Self { class, ..self }
    }

    /// Decides about `cost` tokens of a bucket with this `tat`: its TAT after
    /// taking them, or how long to wait for them.
    ///
    /// A cost of 0 always conforms; one above the burst never does, and waits
    /// for [`Duration::MAX`], as any cost does where nothing is admitted. The
    /// wait is exact: the same request conforms then and no nanosecond earlier,
    /// if no other one takes tokens meanwhile.
    #[inline]
    pub(super) fn conform(&self, now: Now, tat: u64, cost: u32) -> Result<u64, Duration> {
        if cost == 0 {
            return Ok(tat);
        }
        if cost > self.burst {
            return Err(Duration::MAX);
        }
        let now = now.as_nanos();
        let next = tat.max(now).saturating_add(self.weight(cost));
        let early = (next - now).saturating_sub(self.fill());
        if early > 0 {
            return Err(Duration::from_nanos(early));
        }
        Ok(next)
    }

    /// The TAT of a bucket with this `tat` that gives `tokens` at `now` whether
    /// it has them or not: it is in debt then, up to [`MOST_OWED`] bursts. More
    /// than that is forgiven.
    pub(super) fn owing(&self, now: Now, tat: u64, tokens: u64) -> u64 {
        let before = tat.saturating_sub(now.as_nanos());
        let after = before.saturating_add(self.emission.saturating_mul(tokens));
        let most = self.fill().saturating_mul(MOST_OWED).min(LONGEST_DEBT);
        now.as_nanos().saturating_add(after.min(most.max(before)))
    }

    /// Describes a bucket with this `tat`.
    pub(super) fn standing(&self, now: Now, tat: u64) -> Standing {
        let debt = tat.saturating_sub(now.as_nanos());
        Standing::of_debt(self, debt)
    }
}

/// The state of one bucket, or of the requests in flight of one key, as it is
/// reported to people and clients: in the fields `RateLimit` and `X-RateLimit`,
/// in access lines and views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whole tokens left, or permits.
    pub remaining: u32,
    /// Tokens in a full bucket, or the most requests in flight.
    pub burst: u32,
    // Times are in nanoseconds, [`NEVER`] for one that does not come. They
    // become durations when they are shown, as few of them are.
    /// Not zero for a bucket; zero for requests in flight, where permits are
    /// counted and no time brings them back.
    fill: u64,
    next: u64,
    reset: u64,
}

/// The nanoseconds until a cost above the burst is there.
const NEVER: u64 = u64::MAX;

impl Standing {
    /// The state of a bucket that is full in `debt` nanoseconds.
    pub fn of_debt(gcra: &Gcra, debt: u64) -> Self {
        Self::known(gcra, gcra.left(debt), debt)
    }

    /// The state of a bucket that is kept elsewhere, of which `remaining` and
    /// the nanoseconds until it is full are known.
    pub fn known(gcra: &Gcra, remaining: u32, debt: u64) -> Self {
        let (burst, fill) = (gcra.burst, gcra.fill());
        let after_next = gcra.weight(burst.saturating_sub(remaining.saturating_add(1)));
        Self {
            remaining,
            burst,
            fill,
            next: debt.saturating_sub(after_next),
            reset: debt,
        }
    }

    /// The state of a bucket that refused `cost` tokens and has them after
    /// `wait`. It may hold some tokens, only not enough.
    pub fn refused(gcra: &Gcra, cost: u32, wait: Duration) -> Self {
        let missing = u64::try_from(wait.as_nanos()).unwrap_or(NEVER);
        let left = gcra.tokens(gcra.weight(cost).saturating_sub(missing));
        let full_after = gcra.weight(gcra.burst.saturating_sub(cost));
        Self {
            remaining: left,
            burst: gcra.burst,
            fill: gcra.fill(),
            next: missing,
            reset: missing.saturating_add(full_after),
        }
    }

    /// The state of a bucket whose key gets nothing for the time `rest`,
    /// whatever the bucket holds.
    pub fn banned(gcra: &Gcra, rest: Duration) -> Self {
        let rest = u64::try_from(rest.as_nanos()).unwrap_or(NEVER);
        Self {
            remaining: 0,
            burst: gcra.burst,
            fill: gcra.fill(),
            next: rest,
            reset: rest,
        }
    }

    /// The state of a key that has `held` requests in flight and may have
    /// `most`.
    pub fn in_flight(most: NonZeroU32, held: u32) -> Self {
        Self {
            remaining: most.get().saturating_sub(held),
            burst: most.get(),
            fill: 0,
            next: 0,
            reset: 0,
        }
    }

    /// Requests in flight, or tokens that are used, as far as the allowance
    /// goes.
    pub fn held(&self) -> u32 {
        self.burst.saturating_sub(self.remaining)
    }

    /// Whether it is the state of requests in flight, and not of a bucket.
    pub fn is_in_flight(&self) -> bool {
        self.fill == 0 && self.burst > 0
    }

    /// Time until there is one token more than `remaining`, or enough for the
    /// request that was refused. Zero when the bucket is full, and
    /// [`Duration::MAX`] for a cost above the burst.
    pub fn next(&self) -> Duration {
        time(self.next)
    }

    /// Time until the bucket is full.
    pub fn reset(&self) -> Duration {
        time(self.reset)
    }

    /// Whole tokens that the bucket owes beyond an empty one, rounded up.
    pub fn owed(&self) -> u64 {
        let Some(token) = self.fill.checked_div(self.burst.into()) else {
            return 0; // nothing is ever admitted, and so nothing owed
        };
        let token = token.max(1);
        self.reset.saturating_sub(self.fill).div_ceil(token)
    }

    /// Time in which an empty bucket fills.
    pub fn fill(&self) -> Duration {
        time(self.fill)
    }

    /// The time in which an empty bucket fills by its rate: 3 tokens at 3 a
    /// second are one second, and not the few nanoseconds more that come from
    /// rounding the time of each token up.
    pub fn window(&self) -> Duration {
        let rounded_up = Duration::from_nanos(self.burst.into());
        self.fill().saturating_sub(rounded_up)
    }

    /// Whether it is the state of a bucket with the rate and burst of `gcra`.
    #[inline]
    pub fn is_under(&self, gcra: &Gcra) -> bool {
        self.burst == gcra.burst && self.fill == gcra.fill()
    }

    /// Whether this bucket is nearer to exhaustion than `other`: it has fewer
    /// tokens left or, with equally many, is longer until full.
    pub fn is_nearer(&self, other: &Self) -> bool {
        (self.remaining, std::cmp::Reverse(self.reset))
            < (other.remaining, std::cmp::Reverse(other.reset))
    }
}

/// A time in nanoseconds as a duration.
fn time(nanos: u64) -> Duration {
    match nanos {
        NEVER => Duration::MAX,
        nanos => Duration::from_nanos(nanos),
    }
}

/// Converts a TAT from a bucket that fills in `old` nanoseconds to one that
/// fills in `new`, keeping the share that is used; rounded up, so that no token
/// is handed out. A bucket that fills in 0 admits nothing: it keeps a debt as it
/// is, and hands it on as far as the next bucket has room.
///
/// A client that has used half of its burst has used half of it under the new
/// quota, too. Tokens could not be kept instead: a smaller burst has too few of
/// them, and a larger one would hand out the difference at every reload.
pub(super) fn rescaled(tat: u64, now: Now, old: u64, new: u64) -> u64 {
    let debt = u128::from(tat.saturating_sub(now.as_nanos()));
    let rescaled = match (old, new) {
        (_, 0) => debt,
        (0, new) => debt.min(new.into()),
        (old, new) => (debt * u128::from(new)).div_ceil(old.into()),
    };
    let bounded = u64::try_from(rescaled)
        .unwrap_or(LONGEST_DEBT)
        .min(LONGEST_DEBT);
    now.as_nanos().saturating_add(bounded)
}

/// The most that a bucket can owe, in bursts, so that one request whose cost is
/// absurd does not shut its key out for ever.
pub(crate) const MOST_OWED: u64 = 10;

/// Bound of a debt that was converted or is owed, in nanoseconds: twice what the
/// slowest quota's bucket takes to fill.
const LONGEST_DEBT: u64 = Quota::LONGEST_FILL * 2;
