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
//! One clock reading serves all limits. A request under one or two plain limits
//! allocates nothing here. Tokens that may come back one by one are boxed,
//! which concerns limits in shadow mode, candidates, and limits that count
//! responses.

use smallvec::SmallVec;

use super::{
    charge::{Apart, Charge},
    inquiry::{Inquiry, nearest_of},
    question::{Question, Questions},
};
use crate::{
    call::LimitFacts,
    error::Error,
    limit::{Admission, Ask, Refusal, Verdict, decide, would_admit},
};

impl Inquiry<'_> {
    /// Decides by all limits that are not in the store. Leaves the questions to
    /// the others in `questions`, which is empty before, and what is to be
    /// emitted in `facts`.
    ///
    /// # Errors
    /// Fails if a limit refuses. No tokens are kept then but those of
    /// candidates.
    #[inline]
    pub(super) fn decide(
        &self,
        questions: &mut Questions,
        facts: &mut LimitFacts,
    ) -> Result<Charge, Error> {
        self.collect(questions, facts)?;
        let decided = self.ask_live(questions);
        let mut apart = None;
        // Candidates see all requests, whatever the live limits say.
        for question in &questions.candidates {
            if !self.ask_alone(question, questions, &mut apart) {
                facts.candidate_refused |= 1 << question.name(self.limits);
            }
        }
        let together = match decided {
            Ok(admission) => admission,
            Err(refusal) => {
                self.look_in_shadow(questions, facts);
                return Err(self.refused(&questions.live, &questions.quotas, &refusal, facts));
            }
        };
        let standings = together.standings().map(Some);
        facts.nearest = nearest_of(&questions.live, self.limits, standings, |_| true);
        self.note_admitted(&questions.live, facts);
        for question in &questions.shadow {
            self.ask_in_shadow(question, questions, &mut apart, facts);
        }
        Ok(self.charge(questions, together, apart))
    }

    /// Asks the limits that can refuse; all of them take, or none.
    ///
    /// One or two limits are the usual case: their asks stay in registers
    /// instead of going through a list.
    #[inline]
    fn ask_live(&self, questions: &Questions) -> Result<Admission, Refusal> {
        let quotas = &questions.quotas;
        match &*questions.live {
            [one] => decide(self.now, &[one.ask(self.limits, quotas)]),
            [one, two] => decide(
                self.now,
                &[one.ask(self.limits, quotas), two.ask(self.limits, quotas)],
            ),
            all => {
                let ask = |question: &Question| question.ask(self.limits, quotas);
                let asks: SmallVec<[Ask<'_>; 4]> = all.iter().map(ask).collect();
                decide(self.now, &asks)
            }
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
        match decide(self.now, &[question.ask(self.limits, &questions.quotas)]) {
            Ok(admission) => {
                self.apart(apart, questions).add(*question, admission);
                true
            }
            Err(_) => false,
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
            if !would_admit(self.now, &question.ask(self.limits, &questions.quotas)) {
                self.record(question, Verdict::Refused);
                facts.shadow_refused |= 1 << question.name(self.limits);
            }
        }
    }

    /// All that was taken: together, or one by one if some of it may come back
    /// alone.
    ///
    /// Limits that count responses are the reason to keep tokens apart: whether
    /// these come back is known only with the status of the response. Tokens of
    /// all live limits are then kept apart, one piece for each question.
    #[inline]
    fn charge(
        &self,
        questions: &mut Questions,
        mut together: Admission,
        mut apart: Option<Box<Apart>>,
    ) -> Charge {
        let counts = |question: &Question| question.counts_responses(self.limits);
        if questions.live.iter().any(counts) {
            let standings = together.standings().map(Some);
            let is_other = |question: &Question| !counts(question);
            let other = nearest_of(&questions.live, self.limits, standings, is_other);
            let apart = self.apart(&mut apart, questions);
            apart.note_other(other);
            for (question, admission) in questions.live.drain(..).zip(together.take_apart()) {
                apart.add(question, admission);
            }
        }
        let questions = std::mem::take(&mut questions.live);
        Charge::new(self.limits, questions, together, apart)
    }

    /// The tokens that may come back one by one; made with the first of them.
    fn apart<'b>(&self, apart: &'b mut Option<Box<Apart>>, questions: &Questions) -> &'b mut Apart {
        apart.get_or_insert_with(|| {
            Box::new(Apart::new(self.limits, self.exchange, &questions.quotas))
        })
    }
}
