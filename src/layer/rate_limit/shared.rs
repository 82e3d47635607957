//! Limits that several gateways share: asked when the local ones have admitted, which are cheap to give back.
//!
//! A route without such limits never comes here. Where the answer is known without a call there is nothing to wait for.

use std::{future::Future, pin::Pin, sync::Arc};

use http::StatusCode;
use smallvec::SmallVec;

use super::{
    LimitPolicy, RateLimitLayer,
    decision::{self, Asked, OWN, Questions, Taken},
    key,
    trial::More,
};
use crate::{
    call::Exchange,
    error::Error,
    limit::{Clock, KeyBuilder, Verdict},
    store::{Admission, Ask, Asks, Decision, NameHasher, Outcome, Refused, SharedLimit, Store},
};

/// What a limit is in the store.
#[derive(Debug, Clone)]
pub struct SharedPolicy {
    /// Its own buckets, then those of its tiers.
    pub buckets: Vec<SharedBuckets>,
}

/// Buckets that have names in the store.
#[derive(Debug, Clone)]
pub struct SharedBuckets {
    /// What this gateway knows of them.
    pub limit: Arc<SharedLimit>,
    /// A name that has begun with that of the limit or tier.
    pub begun: KeyBuilder<NameHasher>,
}

/// Questions to the store, by what is done with the answers.
#[derive(Debug, Default)]
pub(super) struct SharedQuestions {
    /// Those that can refuse, and take.
    taking: Questions,
    /// Those that can refuse, and are charged when the answer is known.
    looking: Questions,
    /// Those in shadow mode, each for itself.
    shadow: Questions,
}

/// What was taken or looked up in the store.
#[derive(Debug)]
pub(super) struct SharedTaken {
    store: Arc<Store>,
    taken: SmallVec<[Admission; 1]>,
    counted: SmallVec<[(Asked, Ask); 1]>,
}

/// Everything that was taken, or why not.
pub(super) type Admitting = Pin<Box<dyn Future<Output = Result<Taken, Error>> + Send>>;

/// The outcome, made or being made.
pub(super) enum Deciding {
    Made(Result<Taken, Error>),
    Pending(Admitting),
}

impl SharedQuestions {
    pub(super) fn push(&mut self, limit: &LimitPolicy, asked: Asked) {
        match limit {
            _ if limit.shadow => self.shadow.push(asked),
            _ if limit.count.is_some() => self.looking.push(asked),
            _ => self.taking.push(asked),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taking.is_empty() && self.looking.is_empty() && self.shadow.is_empty()
    }
}

impl SharedTaken {
    pub(super) fn give_back(self) {
        self.taken.into_iter().for_each(|admission| admission.refund(&self.store));
    }

    /// The answer is known.
    pub(super) fn charge(&self, limits: &[LimitPolicy], status: StatusCode) {
        let counts =
            |asked: &Asked| limits[usize::from(asked.policy)].count.as_ref().is_some_and(|count| count.holds(status));
        let owed: Asks = self.counted.iter().filter(|(asked, _)| counts(asked)).map(|(_, ask)| ask.clone()).collect();
        self.store.owe(&owed);
    }
}

/// Asks the store, the local limits having admitted.
pub(super) fn admit(layer: &RateLimitLayer, exchange: &Arc<Exchange>, mut taken: Taken) -> Deciding {
    let (Some(store), Some(questions)) = (&layer.store, taken.shared_questions()) else {
        return Deciding::Made(Ok(taken));
    };
    let mut asking = Asking { store: Arc::clone(store), exchange: Arc::clone(exchange), questions, taken };
    // By far the most: one or several that take, and nothing else.
    if asking.questions.looking.is_empty() && asking.questions.shadow.is_empty() {
        let asks = asking.asks(&asking.questions.taking);
        return match store.decide(asks, false) {
            Decision::Made(outcome) => {
                let outcome = asking.took(outcome);
                Deciding::Made(asking.end(outcome))
            }
            Decision::Pending(outcome) => Deciding::Pending(Box::pin(async move {
                let outcome = asking.took(outcome.await);
                asking.end(outcome)
            })),
        };
    }
    Deciding::Pending(Box::pin(async move {
        let outcome = asking.all().await;
        asking.end(outcome)
    }))
}

/// One request's questions, and what it has taken so far.
struct Asking {
    store: Arc<Store>,
    exchange: Arc<Exchange>,
    questions: SharedQuestions,
    taken: Taken,
}

impl Asking {
    /// Those that only look first, so that a refusal by them takes nothing; those in shadow mode last.
    async fn all(&mut self) -> Result<(), Error> {
        let looking = self.asks(&self.questions.looking);
        let looked = decided(&self.store, looking.clone(), true).await;
        let _nothing_taken = self.admitted(looked, &self.questions.looking)?;
        let counted = self.questions.looking.iter().copied().zip(looking);
        self.taken.shared(&self.store, &self.exchange).counted.extend(counted);
        let taking = decided(&self.store, self.asks(&self.questions.taking), false).await;
        self.took(taking)?;
        for asked in self.questions.shadow.clone() {
            self.shadow(asked).await;
        }
        Ok(())
    }

    fn asks(&self, questions: &Questions) -> Asks {
        questions.iter().filter_map(|asked| self.ask(asked)).collect()
    }

    fn ask(&self, asked: &Asked) -> Option<Ask> {
        let limits = &self.taken.limits;
        let policy = &limits[usize::from(asked.policy)];
        let buckets = policy.shared.as_ref()?.buckets.get(usize::from(asked.which))?;
        let local = asked.ask(limits, self.taken.temporary());
        let named = match asked.which {
            OWN => key::fed(buckets.begun.clone(), policy, &self.exchange).ok()?,
            tier => {
                let prefix = policy.tiers.get(usize::from(tier) - 1)?.prefix;
                key::find_wider(policy, &buckets.begun, prefix, &self.exchange)?
            }
        };
        Some(Ask {
            limit: Arc::clone(&buckets.limit),
            name: named.into_hasher().name(),
            key: local.key,
            cost: local.cost,
            quota: local.quota.copied(),
        })
    }

    fn took(&mut self, outcome: Outcome) -> Result<(), Error> {
        let questions = std::mem::take(&mut self.questions.taking);
        let admission = self.admitted(outcome, &questions)?;
        self.taken.shared(&self.store, &self.exchange).taken.push(admission);
        Ok(())
    }

    /// Notes what live limits said.
    fn admitted(&self, outcome: Outcome, questions: &Questions) -> Result<Admission, Error> {
        match outcome {
            Ok(admission) => {
                let nearest = admission.states().reduce(crate::limit::Standing::nearer);
                let nearest = nearest.and_then(|nearest| Some((*questions.get(nearest.index)?, nearest)));
                let (limits, now) = (&self.taken.limits, Clock.now());
                questions.iter().for_each(|asked| asked.record(limits, now, Verdict::Admitted, &self.exchange));
                decision::note_also(&self.exchange, &self.taken.limits, questions, nearest);
                Ok(admission)
            }
            Err(Refused::Limits(refusal)) => {
                let limits = (&*self.taken.limits, self.taken.temporary());
                Err(decision::refused(&self.exchange, limits, questions, (Clock.now(), &refusal)))
            }
            Err(Refused::Unavailable { retry_after }) => {
                self.exchange.facts.lock().admitted = 0;
                Err(Error::StoreUnavailable { retry_after })
            }
        }
    }

    async fn shadow(&mut self, asked: Asked) {
        let Some(ask) = self.ask(&asked) else { return };
        let keeps = self.taken.limits[usize::from(asked.policy)].count.is_some();
        let outcome = decided(&self.store, Asks::from_iter([ask.clone()]), keeps).await;
        let bit = 1 << asked.name(&self.taken.limits);
        let mut facts = self.exchange.facts.lock();
        match outcome {
            Ok(admission) => {
                facts.admitted |= bit;
                drop(facts);
                let shared = self.taken.shared(&self.store, &self.exchange);
                if keeps {
                    shared.counted.push((asked, ask));
                }
                shared.taken.push(admission);
            }
            Err(Refused::Limits(_)) => facts.shadow_refused |= bit,
            // A limit in shadow mode refuses nothing, and what nobody decided is not told.
            Err(Refused::Unavailable { .. }) => {}
        }
    }

    /// What was taken; given back where one refused.
    fn end(self, outcome: Result<(), Error>) -> Result<Taken, Error> {
        match outcome {
            Ok(()) => Ok(self.taken),
            Err(error) => {
                self.taken.give_back(Clock.now());
                Err(error)
            }
        }
    }
}

async fn decided(store: &Arc<Store>, asks: Asks, keep: bool) -> Outcome {
    match store.decide(asks, keep) {
        Decision::Made(outcome) => outcome,
        Decision::Pending(outcome) => outcome.await,
    }
}

impl Taken {
    /// Where what the store said is kept.
    fn shared(&mut self, store: &Arc<Store>, exchange: &Arc<Exchange>) -> &mut SharedTaken {
        let more = self.more.get_or_insert_with(|| Box::new(More::of(exchange)));
        more.shared.get_or_insert_with(|| SharedTaken {
            store: Arc::clone(store),
            taken: SmallVec::new(),
            counted: SmallVec::new(),
        })
    }
}
