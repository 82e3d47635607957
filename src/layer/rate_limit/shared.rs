//! The decision of the limits that several gateways share. The store is asked
//! once the local limits have admitted: a refund of theirs is cheap.
//!
//! A route without such limits never comes here. An answer that is known
//! without a call, because tokens are held here or the store is left alone, is
//! not waited for.

use std::{future::Future, pin::Pin, sync::Arc};

use super::{
    charge::Charge,
    inquiry::{Inquiry, nearest_of},
    key,
    limits::RouteLimit,
    question::{Question, Questions, Quotas, SharedQuestions},
};
use crate::{
    call::{Exchange, LimitFacts},
    error::Error,
    limit::Clock,
    store::{self, Ask, Asks, Outcome, Refused, Store},
};

/// The decision about a request. Nothing of it is emitted yet: the layer notes
/// the facts, and either calls the inner service or fails.
#[derive(Debug)]
pub(super) struct Decision {
    /// The tokens that were taken, or the refusal.
    pub(super) outcome: Result<Charge, Error>,
    /// The facts that are emitted in fields of the response, in the access line
    /// and in metrics.
    pub(super) facts: LimitFacts,
}

/// A decision, made or being made.
#[expect(
    clippy::large_enum_variant,
    reason = "a decision that is made at once is the usual case, and a box would cost an allocation"
)]
pub(super) enum Deciding {
    /// The store was not asked.
    Made(Decision),
    /// The store is asked.
    Pending(Pin<Box<dyn Future<Output = Decision> + Send>>),
}

/// Decides by all limits of a route, those in the store last.
pub(super) fn decide(
    store: &Arc<Store>,
    limits: &Arc<[RouteLimit]>,
    exchange: &Arc<Exchange>,
) -> Deciding {
    let mut questions = Questions::default();
    let inquiry = Inquiry {
        limits,
        exchange,
        now: Clock.now(),
    };
    let mut facts = LimitFacts::default();
    let charge = match inquiry.decide(&mut questions, &mut facts) {
        Ok(charge) if !questions.shared.is_empty() => charge,
        outcome => return Deciding::Made(Decision { outcome, facts }),
    };
    let asking = Asking {
        store: Arc::clone(store),
        limits: Arc::clone(limits),
        exchange: Arc::clone(exchange),
        questions: questions.shared,
        quotas: questions.quotas,
        charge,
        facts,
    };
    asking.start()
}

/// The questions of one request to the store, and the decision so far.
struct Asking {
    store: Arc<Store>,
    limits: Arc<[RouteLimit]>,
    exchange: Arc<Exchange>,
    questions: SharedQuestions,
    quotas: Quotas,
    charge: Charge,
    facts: LimitFacts,
}

impl Asking {
    fn start(mut self) -> Deciding {
        let has_shadow = !self.questions.shadow.is_empty();
        let live = match self.store.decide(self.asks()) {
            store::Decision::Made(outcome) if !has_shadow => {
                let outcome = self.take(outcome);
                return Deciding::Made(self.end(outcome));
            }
            decision => decision,
        };
        // If the client leaves before the store answers, the access line states
        // what the local limits said.
        self.exchange.facts.lock().limits = self.facts;
        Deciding::Pending(Box::pin(async move {
            let outcome = self.take(outcome_of(live).await);
            if outcome.is_ok() {
                for question in std::mem::take(&mut self.questions.shadow) {
                    self.ask_in_shadow(question).await;
                }
            }
            self.end(outcome)
        }))
    }

    fn inquiry(&self) -> Inquiry<'_> {
        Inquiry {
            limits: &self.limits,
            exchange: &self.exchange,
            now: Clock.now(),
        }
    }

    fn asks(&self) -> Asks {
        let live = self.questions.live.iter();
        live.filter_map(|question| self.ask(question)).collect()
    }

    /// The question as the store is asked it.
    fn ask(&self, question: &Question) -> Option<Ask> {
        let policy = &question.limit(&self.limits).policy;
        let shared = question.buckets(&self.limits)?.shared.as_ref()?;
        let name = match question.prefix(&self.limits) {
            None => key::whole(&shared.begun, policy, &self.exchange)?,
            Some(prefix) => key::wider(&shared.begun, policy, prefix, &self.exchange)?,
        };
        Some(Ask {
            limit: Arc::clone(&shared.limit),
            name: name.into_hasher().name(),
            key: question.key,
            cost: question.cost,
            quota: question.quota(&self.quotas).copied(),
            is_returned: question.counts_responses(&self.limits),
        })
    }

    /// Takes in the answer to the live questions.
    fn take(&mut self, outcome: Outcome) -> Result<(), Error> {
        let questions = std::mem::take(&mut self.questions.live);
        match outcome {
            Ok(admission) => {
                self.note_admitted(&questions, &admission);
                self.keep(&questions, admission);
                Ok(())
            }
            Err(Refused::Limits(refusal)) => {
                let mut facts = self.facts;
                let error = self
                    .inquiry()
                    .refused(&questions, &self.quotas, &refusal, &mut facts);
                self.facts = facts;
                Err(error)
            }
            Err(Refused::Unavailable { retry_after }) => {
                self.facts.admitted = 0;
                Err(Error::StoreUnavailable { retry_after })
            }
        }
    }

    /// Notes the buckets that have admitted; the one with the fewest tokens of
    /// these and the local ones is emitted.
    fn note_admitted(&mut self, questions: &[Question], admission: &store::Admission) {
        let mut facts = self.facts;
        self.inquiry().note_admitted(questions, &mut facts);
        let nearest = nearest_of(questions, &self.limits, admission.standings(), |_| true);
        facts.nearest = match (self.facts.nearest, nearest) {
            (Some(local), Some(shared))
                if local.standing.remaining <= shared.standing.remaining =>
            {
                Some(local)
            }
            (local, shared) => shared.or(local),
        };
        self.facts = facts;
    }

    /// Keeps the tokens of the live questions: together, or one by one if some
    /// may come back alone.
    fn keep(&mut self, questions: &[Question], admission: store::Admission) {
        let Some(first) = questions.first() else {
            return;
        };
        let apart = self.charge.apart(&self.exchange, &self.quotas);
        let counts = |question: &Question| question.counts_responses(&self.limits);
        if !questions.iter().any(counts) {
            return apart.add_shared(*first, admission, &self.store);
        }
        let is_other = |question: &Question| !counts(question);
        let standings = admission.standings();
        apart.note_other(nearest_of(questions, &self.limits, standings, is_other));
        for (question, admission) in questions.iter().zip(admission.take_apart()) {
            apart.add_shared(*question, admission, &self.store);
        }
    }

    async fn ask_in_shadow(&mut self, question: Question) {
        let Some(ask) = self.ask(&question) else {
            return;
        };
        let decision = self.store.decide(Asks::from_iter([ask]));
        let bit = 1 << question.name(&self.limits);
        match outcome_of(decision).await {
            Ok(admission) => {
                self.facts.admitted |= bit;
                let apart = self.charge.apart(&self.exchange, &self.quotas);
                apart.add_shared(question, admission, &self.store);
            }
            Err(Refused::Limits(_)) => self.facts.shadow_refused |= bit,
            // Nobody decided, so there is nothing to emit; and a limit in
            // shadow mode refuses nothing.
            Err(Refused::Unavailable { .. }) => {}
        }
    }

    /// The decision; tokens that were taken are returned if the store refused.
    fn end(self, outcome: Result<(), Error>) -> Decision {
        let outcome = match outcome {
            Ok(()) => Ok(self.charge),
            Err(error) => {
                self.charge.refund();
                Err(error)
            }
        };
        Decision {
            outcome,
            facts: self.facts,
        }
    }
}

async fn outcome_of(decision: store::Decision) -> Outcome {
    match decision {
        store::Decision::Made(outcome) => outcome,
        store::Decision::Pending(outcome) => outcome.await,
    }
}
