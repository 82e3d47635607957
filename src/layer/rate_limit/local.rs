//! The decision of the limits that this gateway counts by itself. It waits for
//! nothing, and is made before `poll` is called for the first time.
//!
//! Those that can refuse decide first, all or nothing. Those that cannot decide
//! each for itself: a limit in shadow mode as it would if it were live, which
//! is on requests that the others admitted; a candidate on every request.
//!
//! # Concurrency
//!
//! Workers share the buckets and decide about them without a lock.
//! `limit::decide` takes from one bucket after the other, and returns what it
//! has taken if another thread was faster at a later bucket. A reader may see
//! tokens of a request in between that is refused in the end: it then sees a
//! bucket that is a little emptier, and never a fuller one.
//!
//! # Cost
//!
//! One clock reading serves all limits. Requests under nothing but one or two
//! plain limits are decided in `plain`, with the same outcome. Tokens that may
//! come back one by one are boxed, which concerns limits in shadow mode,
//! candidates, and limits that count responses.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    charge::{Apart, Charge},
    limits::KeyAllowance,
    permits::RefusedPermit,
    question::{Inquiry, Question},
    questions::{Questions, nearer},
};
use crate::{
    call::{LimitFacts, Nearest},
    error::Error,
    limit::{
        Admission, Ask, Limiter, Refusal, Standing, Verdict, decide, would_admit, would_refuse,
    },
};

/// A request whose questions are found.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Those to the store are left when the others are decided.
    pub(super) questions: Questions,
    /// The decision of the rates that can refuse, if it was made before the
    /// others.
    pub(super) made: Option<Result<Admission, Refusal>>,
    /// The facts that are to be emitted.
    pub(super) facts: LimitFacts,
}

impl Collected {
    /// Finds the questions of a request.
    ///
    /// # Errors
    /// Fails if a limit refuses the request before any bucket is asked.
    #[inline]
    pub(super) fn of(inquiry: &Inquiry<'_>) -> Result<Self, Error> {
        // A limit on wrong credentials that is in shadow mode may have decided.
        let mut collected = Self {
            facts: inquiry.exchange.facts.lock().limits,
            ..Self::default()
        };
        let outcome = inquiry.collect(&mut collected.questions, &mut collected.facts);
        if outcome.is_err() {
            inquiry.exchange.facts.lock().limits = collected.facts;
        }
        outcome.map(|()| collected)
    }
}

impl Inquiry<'_> {
    /// Decides by all limits that are not in the store.
    ///
    /// # Errors
    /// Fails if a limit refuses. No tokens are kept then but those of
    /// candidates.
    #[inline]
    pub(super) fn decide(&self, collected: &mut Collected) -> Result<Charge, Error> {
        let Collected {
            questions,
            made,
            facts,
        } = collected;
        let acquired = self.acquire(questions);
        let decided = if acquired.refused.is_empty() {
            let made = made.take().unwrap_or_else(|| self.ask_live(questions));
            made.map_err(Some)
        } else {
            if let Some(Ok(admission)) = made.take() {
                self.refund(questions, admission);
            }
            Err(would_refuse(self.now, &self.asks(questions)))
        };
        let mut permits = acquired.permits;
        self.ask_candidate_permits(questions, &mut permits, decided.is_ok(), facts);
        let mut apart = None;
        // Candidates see all requests, whatever the live limits say.
        for question in &questions.candidates {
            if !self.ask_alone(question, questions, &mut apart) {
                facts.candidate_refused |= 1 << question.name(self.limits);
            }
        }
        let mut together = match decided {
            Ok(admission) => admission,
            Err(refusal) => {
                permits.give_back();
                return Err(self.refuse(questions, refusal, &acquired.refused, facts));
            }
        };
        self.note_admitted(&questions.live, facts);
        self.note_admitted(&questions.in_flight.live, facts);
        let nearest = self.nearest(&questions.live, &together);
        facts.nearest = nearer(nearest, acquired.nearest);
        for question in &questions.shadow {
            self.ask_in_shadow(question, questions, &mut apart, facts);
        }
        self.ask_shadow_permits(questions, &mut permits, facts);
        let is_alone = |question: &Question| question.is_settled_alone(self.limits);
        if questions.live.iter().any(is_alone) {
            self.keep_apart(questions, &mut together, &mut apart);
        }
        Ok(Charge {
            limits: Arc::clone(self.limits),
            together,
            questions: std::mem::take(&mut questions.live),
            apart,
            permits,
        })
    }

    /// Returns tokens of the rates that can refuse.
    #[cold]
    fn refund(&self, questions: &Questions, admission: Admission) {
        let limiters = questions
            .live
            .iter()
            .filter_map(|one| one.limiter(self.limits));
        admission.refund(self.now, limiters);
    }

    /// Asks the rates that can refuse; all of them take, or none.
    pub(super) fn ask_live(&self, questions: &Questions) -> Result<Admission, Refusal> {
        decide(self.now, &self.asks(questions))
    }

    /// The questions to the rates that can refuse, in their order.
    fn asks<'q>(&'q self, questions: &'q Questions) -> SmallVec<[Ask<'q>; 4]> {
        let ask = |question: &Question| question.ask(self.limits, &questions.quotas);
        questions.live.iter().filter_map(ask).collect()
    }

    /// Notes all limits that refuse the request: rates in `refusal`, and those
    /// that have no permit for it.
    #[cold]
    fn refuse(
        &self,
        questions: &Questions,
        refusal: Option<Refusal>,
        without_permit: &[RefusedPermit],
        facts: &mut LimitFacts,
    ) -> Error {
        self.look_in_shadow(questions, facts);
        self.look_at_shadow_permits(questions, facts);
        let quotas = &questions.quotas;
        match refusal.map(|refusal| self.refused(&questions.live, quotas, &refusal, facts)) {
            Some(error) if without_permit.is_empty() => error,
            error => self.refused_permits(without_permit, error, facts),
        }
    }

    /// Asks one bucket alone. Returns whether it admits the request, and keeps
    /// its tokens in `apart`.
    fn ask_alone(
        &self,
        question: &Question,
        questions: &Questions,
        apart: &mut Option<Box<Apart>>,
    ) -> bool {
        let ask = question.ask(self.limits, &questions.quotas);
        match ask.map(|ask| decide(self.now, &[ask])) {
            Some(Ok(admission)) => {
                self.apart(apart, questions).add(*question, admission);
                true
            }
            _ => false,
        }
    }

    /// Asks a limit in shadow mode as if it were live, on a request that all
    /// live limits have admitted. The outcome goes into `facts` and the list of
    /// the heaviest keys, and refuses nothing.
    fn ask_in_shadow(
        &self,
        question: &Question,
        questions: &Questions,
        apart: &mut Option<Box<Apart>>,
        facts: &mut LimitFacts,
    ) {
        let bit = 1 << question.name(self.limits);
        if self.ask_alone(question, questions, apart) {
            self.record(question, Verdict::Admitted);
            facts.admitted |= bit;
        } else {
            self.record(question, Verdict::Refused);
            facts.shadow_refused |= bit;
        }
    }

    /// Notes which limits in shadow mode would have refused a request that a
    /// live limit refuses. They take nothing, as they would not if they were
    /// live.
    #[cold]
    fn look_in_shadow(&self, questions: &Questions, facts: &mut LimitFacts) {
        for question in &questions.shadow {
            let ask = question.ask(self.limits, &questions.quotas);
            if ask.is_some_and(|ask| !would_admit(self.now, &ask)) {
                self.record(question, Verdict::Refused);
                facts.shadow_refused |= 1 << question.name(self.limits);
            }
        }
    }

    /// Notes that the buckets of `questions` have admitted the request.
    #[inline]
    pub(super) fn note_admitted(&self, questions: &[Question], facts: &mut LimitFacts) {
        for question in questions {
            self.record(question, Verdict::Admitted);
            facts.admitted |= 1 << question.name(self.limits);
        }
    }

    /// The bucket of `questions` that is nearest to exhaustion, all of which
    /// have admitted the request `together`.
    #[inline]
    pub(super) fn nearest(&self, questions: &[Question], together: &Admission) -> Option<Nearest> {
        let (index, standing) = together.nearest()?;
        Some(questions.get(index)?.nearest(self.limits, standing))
    }

    /// Notes which of `questions` were refused; nothing was taken. `quotas` are
    /// those of the request.
    ///
    /// The refusal with the longest wait gives the status of the response and
    /// the limit that is described in its fields; all limits that refused are
    /// named in the error. Facts of earlier limits are overwritten: tokens are
    /// given back, so none has admitted.
    ///
    /// Inlined, since questions in an array that is known make most of it
    /// constant: it then takes half as many instructions.
    #[inline(always)]
    pub(super) fn refused(
        &self,
        questions: &[Question],
        quotas: &[KeyAllowance],
        refusal: &Refusal,
        facts: &mut LimitFacts,
    ) -> Error {
        let (mut refused, mut limits) = (0_u64, SmallVec::new());
        for index in refusal.indices() {
            let name = questions[index].name(self.limits);
            self.record(&questions[index], Verdict::Refused);
            refused |= 1 << name;
            if let Some(name) = self.exchange.route.limits.get(name) {
                limits.push(Arc::clone(name));
            }
        }
        let longest = &questions[refusal.index];
        let own = || longest.limiter(self.limits).map(Limiter::gcra);
        facts.nearest = longest.quota(quotas).or_else(own).map(|gcra| {
            let standing = Standing::refused(gcra, longest.cost, refusal.retry_after);
            longest.nearest(self.limits, standing)
        });
        (facts.admitted, facts.refused) = (0, refused);
        Error::RateLimited {
            limits,
            retry_after: refusal.retry_after,
            status: longest.limit(self.limits).policy.status,
        }
    }

    /// Moves the tokens of all live limits to those that may come back one by
    /// one, a piece for each question.
    ///
    /// Limits that count responses are the reason, whose tokens come back or not
    /// by the status of the response; and costs that are known in the end.
    fn keep_apart(
        &self,
        questions: &mut Questions,
        together: &mut Admission,
        apart: &mut Option<Box<Apart>>,
    ) {
        let apart = self.apart(apart, questions);
        apart.note_others(&questions.live, together.standings().map(Some));
        for (question, admission) in questions.live.drain(..).zip(together.take_apart()) {
            apart.add(question, admission);
        }
    }

    /// The tokens that may come back one by one; made with the first of them.
    fn apart<'b>(&self, apart: &'b mut Option<Box<Apart>>, questions: &Questions) -> &'b mut Apart {
        apart.get_or_insert_with(|| {
            Box::new(Apart::new(self.limits, self.exchange, &questions.quotas))
        })
    }
}
