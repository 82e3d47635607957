//! The decision of a route that has one or two plain limits and no others, in
//! the least work: most routes have no more than a limit for each client and
//! one for everybody.
//!
//! The questions stand in an array and not in lists, and the asks stay in
//! registers. The decision and what is noted of it are those of `local`.

use std::sync::Arc;

use super::{
    charge::Charge,
    limits::RouteLimit,
    question::{Inquiry, List, Question},
};
use crate::{call::LimitFacts, error::Error, limit::decide, policy::Cost};

impl Inquiry<'_> {
    /// Decides by the limits of the route, and leaves what is to be emitted in
    /// `facts`. `None` if the request has to be decided by [`Inquiry::decide`];
    /// nothing was asked or noted then.
    ///
    /// # Errors
    /// Fails if a limit refuses. No tokens are kept then.
    #[inline(always)]
    pub(super) fn decide_plain(&self, facts: &mut LimitFacts) -> Option<Result<Charge, Error>> {
        match &**self.limits {
            [one] => {
                let one = self.plain_question(0, one)?;
                Some(self.decide_all([one], facts))
            }
            [one, two] => {
                let one = self.plain_question(0, one)?;
                let two = self.plain_question(1, two)?;
                Some(self.decide_all([one, two], facts))
            }
            _ => None,
        }
    }

    /// The question to the limit with this `index`; `None` if it is not plain
    /// for this request, or if the request lacks a part of the key.
    #[inline(always)]
    fn plain_question(&self, index: usize, limit: &RouteLimit) -> Option<Question> {
        if !limit.is_plain || limit.own.limiter.has_temporaries() {
            return None;
        }
        let Cost::Fixed(cost) = limit.policy.cost else {
            return None;
        };
        Some(Question::plain(index, limit.key(self.exchange)?, cost))
    }

    /// Asks all limits of the route, in their order; all of them take, or none.
    #[inline(always)]
    fn decide_all<const N: usize>(
        &self,
        questions: [Question; N],
        facts: &mut LimitFacts,
    ) -> Result<Charge, Error> {
        match decide(self.now, &questions.map(|one| one.ask(self.limits, &[]))) {
            Ok(together) => {
                self.note_admitted(&questions, facts);
                facts.nearest = self.nearest(&questions, &together);
                Ok(Charge {
                    limits: Arc::clone(self.limits),
                    together,
                    questions: List::new(),
                    apart: None,
                })
            }
            Err(refusal) => Err(self.refused(&questions, &[], &refusal, facts)),
        }
    }
}
