//! The decision about one request: which limits are asked, what they said, and what was taken.
//!
//! Most routes have limits that all do the same: take, and refuse together. For these there is a way of its own,
//! without anything that only the others need.

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;

use super::{
    LimitPolicy, RateLimitLayer,
    key::{self, Found},
    shared::SharedQuestions,
    trial::{self, More},
};
use crate::{
    call::{Exchange, Nearest},
    error::Error,
    limit::{self, Admission, Ask, Clock, Gcra, Key, Label, Now, Refusal, Verdict, decide},
    runtime::worker,
};

/// A question to one limiter of a route. Kept small: those of a request are moved about with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) key: Key,
    pub(super) cost: u32,
    /// Place of the exception for this key, [`TEMPORARY`] and the place among the request's temporary numbers, or
    /// [`NO_EXCEPTION`].
    exception: u16,
    /// Place among the route's policies.
    pub(super) policy: u8,
    /// Which limiter of the policy.
    pub(super) which: u8,
}

/// The limit's own buckets; from 1 on those of its tiers.
pub(super) const OWN: u8 = 0;
/// Those of the numbers on trial.
pub(super) const CANDIDATE: u8 = u8::MAX;
/// No numbers but the limit's own.
const NO_EXCEPTION: u16 = u16::MAX;
/// From here on it is numbers for a while. A route has at most 64 limits, so there is room for all of them.
const TEMPORARY: u16 = 0xff00;

/// Questions of one request.
pub(super) type Questions = SmallVec<[Asked; 4]>;

impl Asked {
    pub(super) fn new(policy: usize, which: u8, key: Key, cost: u32) -> Self {
        // A route has at most 64 limits, so nothing is cut off.
        Self {
            key,
            cost,
            exception: NO_EXCEPTION,
            policy: policy as u8,
            which,
        }
    }

    /// Under the numbers of the exception at this place.
    pub(super) fn under(self, exception: usize) -> Self {
        let exception = u16::try_from(exception)
            .ok()
            .filter(|place| *place < TEMPORARY);
        Self {
            exception: exception.unwrap_or(NO_EXCEPTION),
            ..self
        }
    }

    /// As if its limit were the route's only one.
    pub(super) fn alone(self) -> Self {
        Self { policy: 0, ..self }
    }

    /// Under the numbers for a while at this place among those of the request.
    pub(super) fn for_a_while(self, place: usize) -> Self {
        Self {
            exception: TEMPORARY.saturating_add(place as u16),
            ..self
        }
    }

    #[inline]
    pub(super) fn ask<'a>(&self, limits: &'a [LimitPolicy], temporary: &'a [Gcra]) -> Ask<'a> {
        let policy = &limits[usize::from(self.policy)];
        let limiter = match self.which {
            OWN => &policy.limiter,
            CANDIDATE => policy.candidate.as_ref().unwrap_or(&policy.limiter),
            tier => policy
                .tiers
                .get(usize::from(tier) - 1)
                .map_or(&policy.limiter, |tier| &tier.limiter),
        };
        let quota = match (self.exception, &policy.overrides) {
            (TEMPORARY..NO_EXCEPTION, _) => temporary.get(usize::from(self.exception - TEMPORARY)),
            (NO_EXCEPTION, _) | (_, None) => None,
            (place, Some(overrides)) => overrides.numbers(usize::from(place)),
        };
        Ask {
            limiter,
            key: self.key,
            cost: self.cost,
            quota,
        }
    }

    /// Its place among the names of the route's limits and tiers.
    pub(super) fn name(&self, limits: &[LimitPolicy]) -> usize {
        let own = limits[usize::from(self.policy)].name;
        if self.which == CANDIDATE {
            own
        } else {
            own + usize::from(self.which)
        }
    }

    /// Counts the request for the list of the heaviest keys.
    #[inline]
    pub(super) fn record(
        &self,
        limits: &[LimitPolicy],
        now: Now,
        verdict: Verdict,
        exchange: &Exchange,
    ) {
        let limit = &limits[usize::from(self.policy)];
        let (top, prefix) = match self.which {
            OWN => (&limit.top, None),
            CANDIDATE => return,
            tier => match limit.tiers.get(usize::from(tier) - 1) {
                Some(tier) => (&tier.top, Some(tier.prefix)),
                None => return,
            },
        };
        let label = |label: &mut Label| key::describe(label, limit, prefix, exchange);
        top.record(worker::current(), now, self.key, verdict, label);
    }

    /// How its bucket stands, as it is told.
    pub(super) fn told(&self, limits: &[LimitPolicy], state: limit::Standing) -> Nearest {
        let limit::Standing {
            remaining,
            burst,
            fill,
            next,
            reset,
        } = state;
        Nearest {
            index: self.name(limits),
            remaining,
            burst,
            fill,
            next,
            reset,
            key: self.key.hash(),
        }
    }

    /// How a bucket stands that has what was asked for after `next`: there may be some tokens, only not enough.
    fn exhausted(&self, limits: &[LimitPolicy], temporary: &[Gcra], next: Duration) -> Nearest {
        let Ask { limiter, quota, .. } = self.ask(limits, temporary);
        let gcra = quota.unwrap_or(limiter.gcra());
        self.told(limits, limit::Standing::refused(gcra, self.cost, next))
    }

    /// Whether its tokens come back when the answer does not count.
    pub(super) fn counts_answers(&self, limits: &[LimitPolicy]) -> bool {
        limits[usize::from(self.policy)].count.is_some()
    }

    /// Whether it can refuse.
    pub(super) fn is_live(&self, limits: &[LimitPolicy]) -> bool {
        self.which != CANDIDATE && !limits[usize::from(self.policy)].shadow
    }
}

/// What a call has taken, until it is known whether it was worth it.
#[derive(Debug)]
pub struct Taken {
    pub(super) admission: Admission,
    pub(super) asked: Questions,
    pub(super) limits: Arc<[LimitPolicy]>,
    /// What only some limits need.
    pub(super) more: Option<Box<More>>,
}

impl Taken {
    /// Numbers for a while, of keys that have some.
    pub(super) fn temporary(&self) -> &[Gcra] {
        self.more.as_ref().map_or(&[], |more| &more.temporary)
    }

    /// The request was turned away further in and nothing served it.
    pub(super) fn give_back(self, now: Now) {
        let limits = &*self.limits;
        self.admission.refund(
            now,
            self.asked
                .iter()
                .map(|asked| asked.ask(limits, &[]).limiter),
        );
        if let Some(more) = self.more {
            more.give_back(now, limits);
        }
    }

    /// What is to be asked of the store, once.
    pub(super) fn shared_questions(&mut self) -> Option<SharedQuestions> {
        let questions = std::mem::take(&mut self.more.as_mut()?.questions);
        (!questions.is_empty()).then_some(questions)
    }
}

/// Asks all limits of a route.
#[inline]
pub(super) fn admit(layer: &RateLimitLayer, exchange: &Arc<Exchange>) -> Result<Taken, Error> {
    let is_plain = layer.is_plain
        && !layer
            .limits
            .iter()
            .any(|limit| limit.limiter.has_temporaries());
    if is_plain {
        plain(layer, exchange)
    } else {
        trial::admit(layer, exchange)
    }
}

/// Limits that take and refuse together, each with one bucket and a fixed cost.
fn plain(layer: &RateLimitLayer, exchange: &Exchange) -> Result<Taken, Error> {
    let limits = &layer.limits;
    let mut asked = Questions::new();
    for (place, limit) in limits.iter().enumerate() {
        match key::find(limit, exchange) {
            Found::Key(key) => asked.push(Asked::new(
                place,
                OWN,
                key,
                limit.cost.of(&exchange.request.headers),
            )),
            Found::Skip => {}
            Found::Refuse => return Err(key_missing(limit, exchange)),
        }
    }
    let asks: SmallVec<[Ask<'_>; 4]> = asked
        .iter()
        .map(|asked| {
            Ask::new(
                &limits[usize::from(asked.policy)].limiter,
                asked.key,
                asked.cost,
            )
        })
        .collect();
    let now = Clock.now();
    match decide(now, &asks) {
        Ok(admission) => {
            asked
                .iter()
                .for_each(|asked| asked.record(limits, now, Verdict::Admitted, exchange));
            note_admission(
                exchange,
                limits,
                &asked,
                nearest(&asked, admission.standings()),
            );
            Ok(Taken {
                admission,
                asked,
                limits: Arc::clone(limits),
                more: None,
            })
        }
        Err(refusal) => Err(refused(exchange, (limits, &[]), &asked, (now, &refusal))),
    }
}

/// The limit refuses who does not say who it is.
pub(super) fn key_missing(limit: &LimitPolicy, exchange: &Exchange) -> Error {
    let mut facts = exchange.facts.lock();
    (facts.admitted, facts.refused) = (0, 1 << limit.name);
    Error::KeyMissing {
        limit: Arc::clone(&exchange.route.limits[limit.name]),
        status: limit.status,
    }
}

/// What the limits that refused are told as; nothing was taken.
pub(super) fn refused(
    exchange: &Exchange,
    (limits, temporary): (&[LimitPolicy], &[Gcra]),
    asked: &[Asked],
    (now, refusal): (Now, &Refusal),
) -> Error {
    refusal
        .indices()
        .for_each(|index| asked[index].record(limits, now, Verdict::Refused, exchange));
    let mut facts = exchange.facts.lock();
    let refused = refusal
        .indices()
        .fold(0, |bits, index| bits | 1_u64 << asked[index].name(limits));
    (facts.admitted, facts.refused) = (0, refused);
    let names = exchange
        .route
        .limits
        .iter()
        .enumerate()
        .filter(|(place, _)| refused & (1 << place) != 0);
    let longest = asked[refusal.index];
    facts.limit = Some(longest.exhausted(limits, temporary, refusal.retry_after));
    Error::RateLimited {
        limits: names.map(|(_, name)| Arc::clone(name)).collect(),
        retry_after: refusal.retry_after,
        status: limits[usize::from(longest.policy)].status,
    }
}

/// Notes who admitted too, after others; the one nearest to its end of all counts.
pub(super) fn note_also(
    exchange: &Exchange,
    limits: &[LimitPolicy],
    admitted: &[Asked],
    nearest: Option<(Asked, limit::Standing)>,
) {
    let before = exchange.facts.lock().limit;
    note_admission(exchange, limits, admitted, nearest);
    let mut facts = exchange.facts.lock();
    facts.limit = match (before, facts.limit) {
        (Some(before), Some(now)) if before.remaining <= now.remaining => Some(before),
        (before, now) => now.or(before),
    };
}

/// The question whose bucket is nearest to exhaustion.
pub(super) fn nearest(
    asked: &[Asked],
    standings: impl Iterator<Item = limit::Standing>,
) -> Option<(Asked, limit::Standing)> {
    let each = asked.iter().copied().zip(standings);
    each.reduce(|best, other| {
        if other.1.is_nearer(&best.1) {
            other
        } else {
            best
        }
    })
}

/// Notes who admitted, and who of them is nearest to its end.
pub(super) fn note_admission(
    exchange: &Exchange,
    limits: &[LimitPolicy],
    admitted: &[Asked],
    nearest: Option<(Asked, limit::Standing)>,
) {
    let mut facts = exchange.facts.lock();
    for asked in admitted {
        facts.admitted |= 1 << asked.name(limits);
    }
    facts.limit = nearest.map(|(asked, state)| asked.told(limits, state));
}
