//! Several limits decide together: all of them admit, or none is charged.
//!
//! Two steps. First every limit looks, and writes nothing, so that a refusal by any takes from none; then each takes
//! what it saw. A race lost in between is refunded to those that had already taken, and counts as a refusal.

use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::core::{Offer, Taken};
use super::{Key, Limiter, Now, Quota};

/// What one limit is asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// This limit.
    pub limiter: &'a Limiter,
    /// For this key.
    pub key: Key,
    /// This many tokens; 0 always passes, and more than the burst never.
    pub cost: u32,
    /// Under these numbers instead of the limit's own; of [`Limiter::other_quota`].
    pub quota: Option<&'a Quota>,
}

impl<'a> Ask<'a> {
    /// Under the limit's own numbers.
    pub const fn new(limiter: &'a Limiter, key: Key, cost: u32) -> Self {
        Self {
            limiter,
            key,
            cost,
            quota: None,
        }
    }

    pub(super) fn class(&self) -> u16 {
        self.quota.map_or(0, Quota::class)
    }
}

/// Takes the tokens of all `asks`, or none.
///
/// Does not allocate for one or two limits.
#[inline]
pub fn decide(now: Now, asks: &[Ask<'_>]) -> Result<Admission, Refusal> {
    match asks {
        [ask] => match take(now, ask) {
            Ok(taken) => Ok(Admission {
                now,
                taken: smallvec![taken],
            }),
            Err(wait) => Err(Refusal::by(0, wait)),
        },
        [first, second] => decide_two(now, first, second),
        _ => decide_many(now, asks),
    }
}

/// What [`decide_many`] does, in registers: a route with a client's limit and a daily one is the usual case.
#[inline]
fn decide_two(now: Now, first: &Ask<'_>, second: &Ask<'_>) -> Result<Admission, Refusal> {
    let (one, two) = match (look(now, first), look(now, second)) {
        (Ok(one), Ok(two)) => (one, two),
        (Err(one), Err(two)) => return Err(Refusal::by(0, one).and(1, two)),
        (Err(one), Ok(_)) => return Err(Refusal::by(0, one)),
        (Ok(_), Err(two)) => return Err(Refusal::by(1, two)),
    };
    let one = accept(now, first, one).map_err(|wait| Refusal::by(0, wait))?;
    match accept(now, second, two) {
        Ok(two) => Ok(Admission {
            now,
            taken: SmallVec::from_buf([one, two]),
        }),
        Err(wait) => Err(Admission {
            now,
            taken: smallvec![one],
        }
        .lost_race(&[*first], wait)),
    }
}

fn decide_many(now: Now, asks: &[Ask<'_>]) -> Result<Admission, Refusal> {
    let mut offers = SmallVec::<[Offer; 4]>::new();
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

/// First step.
#[inline(always)]
fn look(now: Now, ask: &Ask<'_>) -> Result<Offer, Duration> {
    ask.limiter.core.follow(|core| core.look(now, ask))
}

/// Both steps in one.
#[inline(always)]
fn take(now: Now, ask: &Ask<'_>) -> Result<Taken, Duration> {
    ask.limiter.core.follow(|core| core.take(now, ask))
}

/// Second step; what is there by now, if that is no longer what was offered.
#[inline(always)]
fn accept(now: Now, ask: &Ask<'_>, offer: Offer) -> Result<Taken, Duration> {
    match ask.limiter.core.accept(offer, ask) {
        Some(taken) => Ok(taken),
        None => take_anew(now, ask),
    }
}

#[cold]
fn take_anew(now: Now, ask: &Ask<'_>) -> Result<Taken, Duration> {
    take(now, ask)
}

/// What [`decide`] would say of all `asks` now, without taking anything: the one nearest to exhaustion as it stands, if
/// there is any.
pub fn preview(now: Now, asks: &[Ask<'_>]) -> Result<Option<Standing>, Refusal> {
    let (mut nearest, mut refusal): (Option<Standing>, Option<Refusal>) = (None, None);
    for (index, ask) in asks.iter().enumerate() {
        match look(now, ask) {
            Ok(offer) => {
                let state = offer.state(now, index, ask);
                nearest = Some(nearest.map_or(state, |earlier| earlier.nearer(state)));
            }
            Err(wait) => refusal = Some(Refusal::after(refusal, index, wait)),
        }
    }
    refusal.map_or(Ok(nearest), Err)
}

/// All limits have admitted.
///
/// Holds what was taken; dropping it keeps the tokens taken.
#[derive(Debug, Clone)]
#[must_use = "an admission that comes to nothing is to be refunded"]
pub struct Admission {
    now: Now,
    /// In the order of the asks.
    taken: SmallVec<[Taken; INLINE]>,
}

impl Admission {
    /// The limit nearest to exhaustion: with the fewest tokens left, of equals the one that takes longest to fill.
    /// Nothing if no limit was asked.
    pub fn nearest(&self) -> Option<Standing> {
        self.states().reduce(Standing::nearer)
    }

    /// How each limit stands after this request, in the order of the asks.
    pub fn states(&self) -> impl Iterator<Item = Standing> {
        self.taken
            .iter()
            .enumerate()
            .map(|(index, taken)| taken.pace().state(self.now, taken.tat, index))
    }

    /// Whether nothing was taken, or all of it was taken out.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Takes out the part of each ask, in their order: an admission of its own for each.
    pub fn take_apart(&mut self) -> impl Iterator<Item = Self> {
        let now = self.now;
        std::mem::take(&mut self.taken)
            .into_iter()
            .map(move |taken| Self {
                now,
                taken: smallvec![taken],
            })
    }

    /// Gives back what was taken, for a request that was refused further in. `limiters` are those of the asks, in the
    /// same order.
    ///
    /// A bucket gets no fuller by it than it would be without the request: of tokens that came back by themselves
    /// meanwhile, nothing is returned. A key that has left its table gets nothing; its bucket was full.
    pub fn refund<'a>(self, now: Now, limiters: impl IntoIterator<Item = &'a Limiter>) {
        for (limiter, taken) in limiters.into_iter().zip(&self.taken) {
            let _never_refused = limiter.core.follow(|core| core.give_back(now, taken));
        }
    }

    /// Someone else took the tokens of the next limit between the steps: those before it get theirs back.
    #[cold]
    fn lost_race(self, asks: &[Ask<'_>], wait: Duration) -> Refusal {
        let (now, index) = (self.now, self.taken.len());
        self.refund(now, asks.iter().map(|ask| ask.limiter));
        Refusal::by(index, wait)
    }
}

/// How one limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its place among the asks.
    pub index: usize,
    /// Whole tokens left.
    pub remaining: u32,
    /// Tokens in a full bucket.
    pub burst: u32,
    /// Time in which an empty bucket fills.
    pub fill: Duration,
    /// Time until there is one token more than `remaining`; none when the bucket is full.
    pub next: Duration,
    /// Time until the bucket is full.
    pub reset: Duration,
}

impl Standing {
    /// A bucket that is kept elsewhere, of which `remaining` and `reset` are known.
    pub fn known(index: usize, quota: &Quota, remaining: u32, reset: Duration) -> Self {
        let (burst, emission) = (quota.burst().get(), quota.emission());
        let after_next = emission * burst.saturating_sub(remaining.saturating_add(1));
        Self {
            index,
            remaining,
            burst,
            fill: emission * burst,
            next: reset.saturating_sub(after_next),
            reset,
        }
    }

    /// The one of two with the fewest tokens left; of equals the one that takes longest to fill, then the first.
    #[must_use]
    pub fn nearer(self, other: Self) -> Self {
        let rank = |of: &Self| (of.remaining, std::cmp::Reverse(of.reset));
        if rank(&other) < rank(&self) {
            other
        } else {
            self
        }
    }
}

/// At least one limit has refused; nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Place among the asks of the limit that refuses longest.
    pub index: usize,
    /// When all would admit, if nobody else asks: exactly then and no nanosecond earlier. [`Duration::MAX`] for a cost
    /// above the burst, which is never admitted.
    pub retry_after: Duration,
    /// A bit for each place that refused, the first being the lowest; places from 64 on are not told.
    pub refused: u64,
}

impl Refusal {
    /// Refused by the limit in this place alone.
    pub fn by(index: usize, retry_after: Duration) -> Self {
        Self {
            index,
            retry_after,
            refused: bit(index),
        }
    }

    /// Refused by the limit in this place, after those that refused before it.
    #[must_use]
    pub fn after(earlier: Option<Self>, index: usize, retry_after: Duration) -> Self {
        earlier.map_or(Self::by(index, retry_after), |earlier| {
            earlier.and(index, retry_after)
        })
    }

    /// Places of the limits that refused.
    pub fn indices(&self) -> impl Iterator<Item = usize> + use<> {
        let mut left = self.refused;
        std::iter::from_fn(move || {
            let index = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (index < u64::BITS).then_some(index as usize)
        })
    }

    /// One more that refuses.
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

fn bit(index: usize) -> u64 {
    u32::try_from(index)
        .ok()
        .and_then(|index| 1_u64.checked_shl(index))
        .unwrap_or(0)
}

/// Limits that are decided without an allocation. More would make every admission larger to move, which costs more than
/// the allocation that routes with more limits pay.
const INLINE: usize = 2;
