//! The decision of a route that has one or two plain limits and no others, in
//! the least work: most routes have no more than a limit for each client and
//! one for everybody, or a rate and a cap.
//!
//! The questions stand in an array and not in lists, each beside its limit, and
//! the asks stay in registers. The decision and what is noted of it are those
//! of `local`.

use std::{array, sync::Arc};

use super::{
    charge::Charge,
    key,
    limits::RouteLimit,
    permits::HeldPermits,
    question::{Inquiry, Question},
    questions::List,
};
use crate::{
    call::{LimitFacts, Nearest},
    error::Error,
    limit::{Ask, Key, Limiter, Refusal, Verdict, decide},
    policy::Cost,
};

/// The question of a request to one plain limit.
#[derive(Clone, Copy)]
struct PlainQuestion<'a> {
    limit: &'a RouteLimit,
    limiter: &'a Limiter,
    key: Key,
    cost: u32,
}

impl<'a> Inquiry<'a> {
    /// Decides by the limits of the route, and leaves what is to be emitted in
    /// `facts`. `None` if the request has to be decided by [`Inquiry::decide`];
    /// nothing was asked or noted then.
    ///
    /// # Errors
    /// Fails if a limit refuses. No tokens are kept then.
    #[inline(always)]
    pub(super) fn decide_plain(&self, facts: &mut LimitFacts) -> Option<Result<Charge, Error>> {
        match &**self.limits {
            [one] if one.is_plain => {
                let one = self.plain_question(one, one.parts(self.exchange)?)?;
                Some(self.decide_all([one], facts))
            }
            [one, two] if one.is_plain && two.is_plain => {
                let parts = one.parts(self.exchange)?;
                let parts_of_two = match two.has_parts_of_first {
                    true => parts,
                    false => two.parts(self.exchange)?,
                };
                let first = self.plain_question(one, parts);
                let second = self.plain_question(two, parts_of_two);
                let (index, rate, cap, parts) = match (first, second) {
                    (Some(one), Some(two)) => return Some(self.decide_all([one, two], facts)),
                    (Some(rate), None) => (0, rate, two, parts_of_two),
                    (None, Some(rate)) => (1, rate, one, parts),
                    (None, None) => return None,
                };
                self.decide_with_permit((index, rate), (cap, cap.key_of(parts)), facts)
            }
            _ => None,
        }
    }

    /// The question to a plain limit, for a key whose parts have this hash;
    /// `None` if it is a cap, or if some keys have temporary quotas.
    #[inline(always)]
    fn plain_question(&self, limit: &'a RouteLimit, parts: u64) -> Option<PlainQuestion<'a>> {
        let limiter = limit.own.counter.limiter()?;
        if limiter.has_temporaries() {
            return None;
        }
        let Cost::Fixed(cost) = limit.policy.cost else {
            return None;
        };
        Some(PlainQuestion {
            limit,
            limiter,
            key: limit.key_of(parts),
            cost,
        })
    }

    /// Asks all limits of the route, in their order; all of them take, or none.
    #[inline(always)]
    fn decide_all<const N: usize>(
        &self,
        questions: [PlainQuestion<'a>; N],
        facts: &mut LimitFacts,
    ) -> Result<Charge, Error> {
        let asks = questions.map(|one| Ask::new(one.limiter, one.key, one.cost));
        let together = match decide(self.now, &asks) {
            Ok(admission) => admission,
            Err(refusal) => return Err(self.refused_plain(questions, &refusal, facts)),
        };
        for PlainQuestion { limit, key, .. } in questions {
            self.note_plain(limit, key, facts);
        }
        facts.nearest = together.nearest().map(|(index, standing)| Nearest {
            limit: questions[index].limit.name,
            key: questions[index].key,
            standing,
        });
        Ok(Charge {
            limits: Arc::clone(self.limits),
            together,
            questions: List::new(),
            apart: None,
            permits: HeldPermits::none(),
        })
    }

    /// Decides by a rate, whose index among the limits of the route comes with
    /// it, and by a cap, with which its key comes. `None` if some keys have
    /// temporary allowances, or if there is no permit.
    #[inline(always)]
    fn decide_with_permit(
        &self,
        (index, rate): (usize, PlainQuestion<'a>),
        (cap, key): (&RouteLimit, Key),
        facts: &mut LimitFacts,
    ) -> Option<Result<Charge, Error>> {
        let counter = cap.own.counter.in_flight()?;
        if counter.has_temporaries() {
            return None;
        }
        let most = cap.policy.allowance.in_flight()?;
        let (permit, standing) = counter.acquire(key, most).ok()?;
        let together = match decide(self.now, &[Ask::new(rate.limiter, rate.key, rate.cost)]) {
            Ok(admission) => admission,
            Err(refusal) => {
                drop(permit);
                let question = Question::plain(index, rate.key, rate.cost);
                return Some(Err(self.refused(&[question], &[], &refusal, facts)));
            }
        };
        self.note_plain(rate.limit, rate.key, facts);
        self.note_plain(cap, key, facts);
        let (limit, key, standing) = match together.nearest() {
            Some((_, of_rate)) if !standing.is_nearer(&of_rate) => (rate.limit, rate.key, of_rate),
            _ => (cap, key, standing),
        };
        facts.nearest = Some(Nearest {
            limit: limit.name,
            key,
            standing,
        });
        Some(Ok(Charge {
            limits: Arc::clone(self.limits),
            together,
            questions: List::new(),
            apart: None,
            permits: HeldPermits::of(permit, self.exchange),
        }))
    }

    /// Notes that a limit has admitted the request by its own bucket or count.
    #[inline(always)]
    fn note_plain(&self, limit: &RouteLimit, key: Key, facts: &mut LimitFacts) {
        let top = &limit.own.top;
        top.record(self.now, key, Verdict::Admitted, |label| {
            key::describe(label, &limit.policy, None, self.exchange);
        });
        facts.admitted |= 1 << limit.name;
    }

    /// Notes a refusal as that of any limits.
    #[inline(never)]
    fn refused_plain<const N: usize>(
        &self,
        questions: [PlainQuestion<'_>; N],
        refusal: &Refusal,
        facts: &mut LimitFacts,
    ) -> Error {
        let question =
            |index: usize| Question::plain(index, questions[index].key, questions[index].cost);
        self.refused(&array::from_fn::<_, N, _>(question), &[], refusal, facts)
    }
}
