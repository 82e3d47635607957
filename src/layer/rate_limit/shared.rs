//! The decision of the limits that several gateways share. The store is asked
//! once the local limits have admitted: a refund of theirs is cheap.
//!
//! A route without such limits never comes here. An answer that is known
//! without a call, because tokens are held here or the store is left alone, is
//! not waited for.
//!
//! # Order
//!
//! The questions to limits that can refuse go to the store together, in one
//! decision: all of them take their tokens, or none does. The questions to
//! limits in shadow mode follow one after the other, and only if the request
//! was admitted, so that they count the same requests as they would if they
//! were live.
//!
//! Permits of shared caps are acquired before tokens are taken in the store: a
//! permit can be given back without a trace. Rates are not asked about a request
//! that a shared cap refuses.
//!
//! # Bounds
//!
//! Each decision of the store takes at most the `timeout` of the store, after
//! which the configuration's `on_error` decides. A request has at most 64
//! limits, with their tiers, and so at most as many questions that can refuse.
//!
//! # Cancellation
//!
//! The future that waits for the store owns the local tokens of the request.
//! When it is dropped, those are settled like the tokens of any client that
//! leaves before the response. Tokens that the interrupted call has taken count
//! as used.

mod caps;

use std::sync::Arc;

use self::caps::has_caps;
use super::{
    charge::Charge,
    key,
    limits::RouteLimit,
    local::Collected,
    question::{Inquiry, Question},
    questions::{InFlightQuestions, Quotas, SharedQuestions, nearer},
};
use crate::{
    call::{Exchange, LimitFacts},
    error::Error,
    limit::Clock,
    store::{Asks, Refused, SharedAdmission, SharedAsk, Store, StoreDecision, StoreOutcome},
};

/// A decision, made or being made: the tokens that were taken, or the refusal.
/// A decision that is made has noted its facts.
#[expect(
    clippy::large_enum_variant,
    reason = "moved once, into the box of the future that waits for it"
)]
pub(super) enum Deciding {
    /// The store was not asked. The usual case also for shared limits with
    /// leases: a busy key has tokens that this gateway holds in advance.
    Made(Result<Charge, Error>),
    /// The store is asked.
    Pending(PendingDecision),
}

/// A decision that waits for the store.
pub(super) struct PendingDecision {
    asking: Asking,
    /// The decision of the rates that can refuse; `None` while they are not
    /// asked, because caps are asked before.
    live: Option<StoreDecision>,
}

/// Decides by all limits of a route, those in the store last.
///
/// Local limits decide first and synchronously. If one of them refuses, or if
/// no key of the request leads to a shared limit, the store hears nothing of
/// the request.
pub(super) fn decide(
    store: &Arc<Store>,
    inquiry: &Inquiry<'_>,
    mut collected: Collected,
) -> Deciding {
    let (limits, exchange) = (inquiry.limits, inquiry.exchange);
    let outcome = inquiry.decide(&mut collected);
    let Collected {
        questions, facts, ..
    } = collected;
    let charge = match outcome {
        Ok(charge) if !questions.shared.is_empty() || has_caps(limits, &questions) => charge,
        outcome => {
            exchange.facts.lock().limits = facts;
            return Deciding::Made(outcome);
        }
    };
    let asking = Asking {
        store: Arc::clone(store),
        limits: Arc::clone(limits),
        exchange: Arc::clone(exchange),
        questions: questions.shared,
        in_flight: questions.in_flight,
        quotas: questions.quotas,
        charge,
        facts,
    };
    asking.start()
}

/// A question as the store is asked it: with the name of the bucket in the
/// store, which is another hash over the same parts as the local key. `quotas`
/// are those of the request.
///
/// `None` if the bucket is not in the store, or if the request lacks a part of
/// its key. The latter does not happen for a question that was collected, since
/// the local key was found in the same way.
pub(super) fn ask(
    inquiry: &Inquiry<'_>,
    question: &Question,
    quotas: &Quotas,
) -> Option<SharedAsk> {
    let (limits, exchange) = (inquiry.limits, inquiry.exchange);
    let policy = &question.limit(limits).policy;
    let shared = question.buckets(limits).shared.as_ref()?;
    let name = match question.tier_bits(limits, exchange) {
        None => key::whole(&shared.begun, policy, exchange)?,
        Some(bits) => key::wider(&shared.begun, policy, bits, exchange)?,
    };
    Some(SharedAsk {
        limit: Arc::clone(&shared.limit),
        name: name.into_hasher().name(),
        key: question.key,
        cost: question.cost,
        quota: question.quota(quotas).copied(),
        is_returned: question.counts_responses(limits),
    })
}

/// The questions of one request to the store, and the decision so far.
///
/// It owns everything that it needs, so that its future has no lifetime and may
/// outlive the service that made it, and a reload of the route.
struct Asking {
    store: Arc<Store>,
    limits: Arc<[RouteLimit]>,
    exchange: Arc<Exchange>,
    /// The questions that have no decision yet. Each list is taken out when it
    /// is decided.
    questions: SharedQuestions,
    /// The questions for permits, all of which this gateway has given.
    in_flight: InFlightQuestions,
    /// Quotas of single keys, to which the questions refer by index.
    quotas: Quotas,
    /// The tokens taken so far; those of the local limits at first.
    charge: Charge,
    facts: LimitFacts,
}

impl PendingDecision {
    /// Waits for the store, and asks it about the limits in shadow mode.
    ///
    /// # Errors
    /// Fails if a limit refuses, or if nothing could decide and the
    /// configuration refuses then.
    pub(super) async fn decide(self) -> Result<Charge, Error> {
        let Self { mut asking, live } = self;
        let live = match live {
            Some(live) => live,
            None => match asking.acquire().await {
                Ok(()) => asking.store.decide(asking.asks()),
                Err(error) => return asking.end(Err(error)),
            },
        };
        let outcome = asking.take(outcome_of(live).await);
        if outcome.is_ok() {
            for question in std::mem::take(&mut asking.questions.shadow) {
                asking.ask_in_shadow(question).await;
            }
            for question in std::mem::take(&mut asking.in_flight.shadow) {
                asking.acquire_in_shadow(question).await;
            }
        }
        asking.end(outcome)
    }
}

impl Asking {
    /// Asks the store about the limits that can refuse.
    ///
    /// The decision is made at once if the store needs no call and no limit in
    /// shadow mode is to be asked after it.
    fn start(mut self) -> Deciding {
        let is_cap = |question: &Question| question.is_shared_cap(&self.limits);
        let has_caps = self.in_flight.live.iter().any(is_cap);
        let has_shadow =
            !self.questions.shadow.is_empty() || self.in_flight.shadow.iter().any(is_cap);
        let live = match has_caps {
            true => None,
            false => match self.store.decide(self.asks()) {
                StoreDecision::Made(outcome) if !has_shadow => {
                    let outcome = self.take(outcome);
                    return Deciding::Made(self.end(outcome));
                }
                decision => Some(decision),
            },
        };
        // If the client leaves before the store answers, the access line states
        // what the local limits said.
        self.exchange.facts.lock().limits = self.facts;
        let asking = self;
        Deciding::Pending(PendingDecision { asking, live })
    }

    /// The request before its limits, at the present time: the clock is read
    /// anew, since a call to the store may have taken milliseconds.
    fn inquiry(&self) -> Inquiry<'_> {
        Inquiry {
            limits: &self.limits,
            exchange: &self.exchange,
            now: Clock.now(),
        }
    }

    /// The live questions in the form in which the store takes them, in their
    /// order.
    fn asks(&self) -> Asks {
        let live = self.questions.live.iter();
        live.filter_map(|question| self.ask(question)).collect()
    }

    /// The question as the store is asked it.
    fn ask(&self, question: &Question) -> Option<SharedAsk> {
        ask(&self.inquiry(), question, &self.quotas)
    }

    /// Takes in the outcome of the live questions: notes the facts, and keeps
    /// the tokens.
    ///
    /// # Errors
    /// [`Error::RateLimited`] if at least one limit refuses, and
    /// [`Error::StoreUnavailable`] if nothing could decide. The facts then name
    /// no limit that has admitted, because the local tokens are about to be
    /// returned.
    fn take(&mut self, outcome: StoreOutcome) -> Result<(), Error> {
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

    /// Notes the buckets that have admitted. The one of these and the local ones
    /// that is nearest to exhaustion is emitted; of equals a local one.
    fn note_admitted(&mut self, questions: &[Question], admission: &SharedAdmission) {
        let mut facts = self.facts;
        self.inquiry().note_admitted(questions, &mut facts);
        for (question, standing) in questions.iter().zip(admission.standings()) {
            let standing = standing.map(|standing| question.nearest(&self.limits, standing));
            facts.nearest = nearer(facts.nearest, standing);
        }
        self.facts = facts;
    }

    /// Keeps the tokens of the live questions: together, or one by one if some
    /// may come back alone.
    ///
    /// Tokens of one call are one piece as long as all of them stay taken or
    /// come back together: a refund is then one call as well. Otherwise each
    /// bucket has a piece of its own.
    fn keep(&mut self, questions: &[Question], admission: SharedAdmission) {
        let Some(first) = questions.first() else {
            return;
        };
        let apart = self.charge.apart(&self.exchange, &self.quotas);
        apart.note_others(questions, admission.standings());
        let is_alone = |question: &Question| question.is_settled_alone(&self.limits);
        if !questions.iter().any(is_alone) {
            return apart.add_shared(*first, admission, &self.store);
        }
        for (question, admission) in questions.iter().zip(admission.take_apart()) {
            apart.add_shared(*question, admission, &self.store);
        }
    }

    /// Asks one limit in shadow mode, and notes the outcome. It never fails,
    /// and its tokens are settled like those of a live limit.
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
            Err(Refused::Limits(_)) => {
                self.inquiry().count_for_ban(&question);
                self.facts.shadow_refused |= bit;
            }
            // Nobody decided, so there is nothing to emit; and a limit in
            // shadow mode refuses nothing.
            Err(Refused::Unavailable { .. }) => {}
        }
    }

    /// Notes the facts, and ends with the decision. If the store has refused,
    /// the local tokens are returned: the request reaches no server, and has
    /// used nothing.
    fn end(self, outcome: Result<(), Error>) -> Result<Charge, Error> {
        self.exchange.facts.lock().limits = self.facts;
        match outcome {
            Ok(()) => Ok(self.charge),
            Err(error) => {
                self.charge.refund();
                Err(error)
            }
        }
    }
}

/// The outcome of a decision of the store, now or when its call returns.
async fn outcome_of(decision: StoreDecision) -> StoreOutcome {
    match decision {
        StoreDecision::Made(outcome) => outcome,
        StoreDecision::Pending(outcome) => outcome.await,
    }
}
