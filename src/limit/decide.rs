//! One request, several limits: all of them admit, or none is charged.
//!
//! A decision has two steps. First every limit looks at its bucket and writes
//! nothing, so that a refusal by any of them takes tokens from none. Then each
//! takes what it saw. If a bucket has changed in between, its limit decides
//! anew; if that is a refusal, those that had already taken are refunded, and
//! the whole decision is a refusal.
//!
//! One or two limits are decided without a loop, as long as their buckets are
//! in their usual state (`quick`): these are the usual cases, and each takes a
//! few dozen nanoseconds while its bucket is in a cache.
//!
//! # Concurrent requests
//!
//! Nothing locks several buckets at once. Between a take and its refund another
//! request may be refused by tokens that come back a moment later: both lose
//! only when they race for the last tokens of two limits, and each is told the
//! time after which it may try again. The opposite cannot happen. Tokens are
//! taken before a request is admitted, so that no interleaving admits more than
//! each limit alone would.
//!
//! ```
//! use std::{num::{NonZeroU32, NonZeroUsize}, time::Duration};
//! use tidegate::limit::{Ask, Clock, KeyHasher, Limiter, decide};
//! use tidegate::policy::{Quota, Rate};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let per_second = |count: NonZeroU32, burst| {
//!     let rate = Rate { count: count.get(), period: Duration::from_secs(1) };
//!     Quota::new(rate, burst)
//! };
//! let (one, five) = (NonZeroU32::MIN, NonZeroU32::new(5).ok_or("zero")?);
//! let room = NonZeroUsize::new(1000).ok_or("zero")?;
//! let wide = Limiter::new("wide", per_second(five, five)?, room)?;
//! let tight = Limiter::new("tight", per_second(one, one)?, room)?;
//!
//! let hasher = KeyHasher::new();
//! let (now, key) = (Clock.now(), hasher.key("everyone").finish());
//! let asks = [Ask::new(&wide, key, 1), Ask::new(&tight, key, 1)];
//! let admission = decide(now, &asks).expect("both buckets are full");
//! let left: Vec<_> = admission.standings().map(|standing| standing.remaining).collect();
//! assert_eq!(left, [4, 0]);
//!
//! // The second limit refuses, and the first one keeps its tokens.
//! let refusal = decide(now, &asks).expect_err("one bucket is empty");
//! assert_eq!(refusal.indices().collect::<Vec<_>>(), [1]);
//! assert_eq!(wide.standing(now, key, None).remaining, 4);
//!
//! // The request is turned away further on, so both get their tokens back.
//! admission.refund(now, [&wide, &tight]);
//! assert!(decide(now, &asks).is_ok());
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::core::{Offer, Taken, Want};
use super::quick::QuickOffer;
use super::{Gcra, Key, Limiter, Now, Standing};

/// The question that a request puts to one limit.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The limit.
    pub limiter: &'a Limiter,
    /// The bucket.
    pub key: Key,
    /// Tokens wanted; 0 is always admitted, and more than the burst never.
    pub cost: u32,
    /// A quota that counts for this key instead of the limit's own; made by
    /// [`Limiter::key_quota`].
    pub quota: Option<&'a Gcra>,
}

impl<'a> Ask<'a> {
    /// A question under the limit's own quota.
    pub const fn new(limiter: &'a Limiter, key: Key, cost: u32) -> Self {
        Self {
            limiter,
            key,
            cost,
            quota: None,
        }
    }

    /// The question at this moment, in the terms of a core.
    #[inline(always)]
    fn want(&self, now: Now) -> Want<'a> {
        Want {
            now,
            key: self.key,
            cost: self.cost,
            quota: self.quota,
        }
    }
}

/// Takes the tokens of all `asks`, or of none. An empty list is admitted.
///
/// All asks decide at the same `now`. Two asks of one bucket each see it
/// without the tokens of the other at first; the second one then finds the
/// bucket changed, and decides anew.
///
/// Does not allocate for one or two limits, and does not block: a bucket that
/// changes hands is waited for in a spin, which lasts as long as a few dozen
/// loads on another thread.
///
/// # Errors
/// Fails if at least one limit refuses; nothing was taken then. The refusal
/// names every limit that refused at the first look, and waits for the slowest
/// of them.
#[inline(always)]
pub fn decide(now: Now, asks: &[Ask<'_>]) -> Result<Admission, Refusal> {
    match asks {
        [ask] => decide_one(now, ask),
        [first, second] => decide_two(now, first, second),
        _ => decide_many(now, asks),
    }
}

/// [`decide_alone`] in registers.
#[inline(always)]
fn decide_one(now: Now, ask: &Ask<'_>) -> Result<Admission, Refusal> {
    match glance(now, ask) {
        Some(Ok(offer)) => match offer.accept() {
            Some(taken) => Ok(Admission::of(now, taken)),
            None => decide_alone(now, ask),
        },
        Some(Err(wait)) => Err(Refusal::by(0, wait)),
        None => decide_alone(now, ask),
    }
}

/// [`decide_many`] in registers: a limit per client and a daily one are the
/// usual case.
#[inline(always)]
fn decide_two(now: Now, first: &Ask<'_>, second: &Ask<'_>) -> Result<Admission, Refusal> {
    if let (Some(Ok(one)), Some(Ok(two))) = (glance(now, first), glance(now, second))
        && let Some(one) = one.accept()
    {
        return match two.accept() {
            Some(two) => Ok(Admission {
                now,
                taken: SmallVec::from_buf([one, two]),
            }),
            None => take_second(now, first, one, second),
        };
    }
    decide_many(now, &[*first, *second])
}

/// Decides again about the second of two limits, after another thread was
/// faster there. The first has taken its tokens `one`.
#[cold]
fn take_second(
    now: Now,
    first: &Ask<'_>,
    one: Taken,
    second: &Ask<'_>,
) -> Result<Admission, Refusal> {
    let mut admission = Admission::of(now, one);
    match take(now, second) {
        Ok(two) => {
            admission.taken.push(two);
            Ok(admission)
        }
        Err(wait) => Err(admission.lost_race(&[*first], wait)),
    }
}

/// Decides about one limit.
#[inline(never)]
fn decide_alone(now: Now, ask: &Ask<'_>) -> Result<Admission, Refusal> {
    match take(now, ask) {
        Ok(taken) => Ok(Admission::of(now, taken)),
        Err(wait) => Err(Refusal::by(0, wait)),
    }
}

/// Decides about any number of limits. Allocates for more than two.
#[inline(never)]
fn decide_many(now: Now, asks: &[Ask<'_>]) -> Result<Admission, Refusal> {
    let mut offers = SmallVec::<[Offer<'_>; 4]>::new();
    let mut refusal: Option<Refusal> = None;
    for (index, ask) in asks.iter().enumerate() {
        match look(now, ask) {
            Ok(offer) => offers.push(offer),
            Err(wait) => refusal = Some(Refusal::after(refusal, index, wait)),
        }
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let mut admission = Admission {
        now,
        taken: SmallVec::with_capacity(asks.len()),
    };
    for (ask, offer) in asks.iter().zip(&offers) {
        match accept(now, ask, *offer) {
            Ok(taken) => admission.taken.push(taken),
            Err(wait) => return Err(admission.lost_race(asks, wait)),
        }
    }
    Ok(admission)
}

/// The first step for a bucket in its usual state; `None` for others.
#[inline(always)]
fn glance<'a>(now: Now, ask: &Ask<'a>) -> Option<Result<QuickOffer<'a>, Duration>> {
    ask.limiter.core.glance(ask.want(now))
}

/// The first step.
#[inline(always)]
pub(super) fn look<'a>(now: Now, ask: &Ask<'a>) -> Result<Offer<'a>, Duration> {
    let want = ask.want(now);
    ask.limiter.core.follow(|core| core.look(want))
}

/// Both steps in one, for a limit that decides alone.
#[inline(always)]
fn take(now: Now, ask: &Ask<'_>) -> Result<Taken, Duration> {
    let want = ask.want(now);
    ask.limiter.core.follow(|core| core.take(want))
}

/// The second step. If the bucket has changed since the first, decides anew.
#[inline(always)]
fn accept(now: Now, ask: &Ask<'_>, offer: Offer<'_>) -> Result<Taken, Duration> {
    match offer.accept() {
        Some(taken) => Ok(taken),
        None => take(now, ask),
    }
}

/// The tokens of a request that all limits have admitted. Dropping it keeps
/// them taken.
#[derive(Debug, Clone)]
#[must_use = "the tokens of a request that comes to nothing are to be refunded"]
pub struct Admission {
    now: Now,
    /// In the order of the asks.
    pub(super) taken: SmallVec<[Taken; INLINE]>,
}

impl Admission {
    /// The tokens of one bucket.
    #[inline(always)]
    fn of(now: Now, taken: Taken) -> Self {
        Self {
            now,
            taken: smallvec![taken],
        }
    }

    /// The state of each bucket after this request, in the order of the asks.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.taken
            .iter()
            .map(|taken| taken.gcra().standing(self.now, taken.tat))
    }

    /// The bucket that is nearest to exhaustion after this request, of equals
    /// the first: its index among the asks, and its state. `None` without a
    /// bucket.
    ///
    /// Compares numbers, and describes one bucket only. Inlined, since most
    /// callers know how many buckets there are.
    #[inline(always)]
    pub fn nearest(&self) -> Option<(usize, Standing)> {
        let (first, others) = self.taken.split_first()?;
        let state = |taken: &Taken| {
            let (gcra, debt) = (taken.gcra(), taken.debt(self.now));
            (gcra, gcra.left(debt), debt)
        };
        let (mut index, (mut gcra, mut left, mut debt)) = (0, state(first));
        for (before, other) in others.iter().enumerate() {
            let other = state(other);
            if other.1 < left || (other.1 == left && other.2 > debt) {
                (index, (gcra, left, debt)) = (before + 1, other);
            }
        }
        Some((index, Standing::known(&gcra, left, debt)))
    }

    /// Whether it has no tokens: no limit was asked, or [`Self::take_apart`]
    /// took everything out.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Takes out the tokens of each ask as an admission of its own, in the
    /// order of the asks.
    pub fn take_apart(&mut self) -> impl Iterator<Item = Self> {
        let now = self.now;
        let each = std::mem::take(&mut self.taken).into_iter();
        each.map(move |taken| Self::of(now, taken))
    }

    /// Returns the tokens of a request that was turned away later on.
    /// `limiters` are those of the asks, in their order.
    ///
    /// A refund leaves a bucket no fuller than it would be without the request:
    /// tokens that have come back by themselves meanwhile are not returned
    /// again. A key that has left its table gets nothing, since its bucket was
    /// full.
    pub fn refund<'a>(self, now: Now, limiters: impl IntoIterator<Item = &'a Limiter>) {
        for (limiter, taken) in limiters.into_iter().zip(&self.taken) {
            let _never_refused = limiter.core.follow(|core| core.give_back(now, taken));
        }
    }

    /// Refunds those limits that had taken when another thread took the tokens
    /// of the next one.
    #[cold]
    fn lost_race(self, asks: &[Ask<'_>], wait: Duration) -> Refusal {
        let (now, index) = (self.now, self.taken.len());
        self.refund(now, asks.iter().map(|ask| ask.limiter));
        Refusal::by(index, wait)
    }
}

/// At least one limit has refused, and nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Index, among the asks, of the limit with the longest wait.
    pub index: usize,
    /// Time after which all limits admit the request if nobody else asks:
    /// exactly then and no nanosecond earlier. [`Duration::MAX`] for a cost
    /// above the burst, which is never admitted.
    pub retry_after: Duration,
    /// One bit for each ask that was refused, the first ask in the lowest bit.
    /// Asks from the 65th on have none.
    pub refused: u64,
}

impl Refusal {
    /// A refusal by the ask with this index alone.
    pub fn by(index: usize, retry_after: Duration) -> Self {
        Self {
            index,
            retry_after,
            refused: bit(index),
        }
    }

    /// Adds a refusal to those that came before it, if any.
    #[must_use]
    pub fn after(earlier: Option<Self>, index: usize, retry_after: Duration) -> Self {
        match earlier {
            Some(earlier) => earlier.and(index, retry_after),
            None => Self::by(index, retry_after),
        }
    }

    /// Indices of the asks that were refused, in ascending order.
    pub fn indices(&self) -> impl Iterator<Item = usize> + use<> {
        let mut left = self.refused;
        std::iter::from_fn(move || {
            let index = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (index < u64::BITS).then_some(index as usize)
        })
    }

    /// Adds one more refusal; the longest wait counts.
    #[must_use]
    pub fn and(self, index: usize, wait: Duration) -> Self {
        let worst = if wait > self.retry_after {
            Self::by(index, wait)
        } else {
            self
        };
        Self {
            refused: self.refused | bit(index),
            ..worst
        }
    }
}

/// The bit of an ask in [`Refusal::refused`]; none from the 65th on.
fn bit(index: usize) -> u64 {
    if index < 64 { 1 << index } else { 0 }
}

/// Limits that are decided without an allocation. A larger number would make
/// every admission larger to move, which costs more than the allocation that
/// routes with more limits pay.
const INLINE: usize = 2;
