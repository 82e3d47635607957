//! Limits that several gateways share: asked when the local ones have admitted, which are cheap to give back.
//!
//! A route without such limits never comes here. Where the answer is known without a call there is nothing to wait for.

use std::{future::Future, pin::Pin, sync::Arc};

use smallvec::SmallVec;

use super::{
    LimitPolicy, RateLimitLayer,
    counting::Counted,
    decision::{self, Asked, OWN, Questions, Taken},
    key,
};
use crate::{
    call::Exchange,
    error::Error,
    limit::{Clock, KeyBuilder, Standing, Verdict},
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
    /// Those that can refuse.
    live: Questions,
    /// Those in shadow mode, each for itself.
    shadow: Questions,
}

/// Tokens that were taken in the store.
#[derive(Debug)]
pub(super) struct SharedTaken {
    store: Arc<Store>,
    taken: SmallVec<[Admission; 1]>,
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
        if limit.shadow {
            self.shadow.push(asked)
        } else {
            self.live.push(asked)
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.shadow.is_empty()
    }
}

impl SharedTaken {
    pub(super) fn give_back(self) {
        for admission in self.taken {
            let _told_to_nobody = admission.refund(&self.store);
        }
    }
}

/// Asks the store, the local limits having admitted.
pub(super) fn admit(
    layer: &RateLimitLayer,
    exchange: &Arc<Exchange>,
    mut taken: Taken,
) -> Deciding {
    let (Some(store), Some(questions)) = (&layer.store, taken.shared_questions()) else {
        return Deciding::Made(Ok(taken));
    };
    let mut asking = Asking {
        store: Arc::clone(store),
        exchange: Arc::clone(exchange),
        questions,
        taken,
    };
    // By far the most: one or several that can refuse, and nothing else.
    if asking.questions.shadow.is_empty() {
        let asks = asking.asks(&asking.questions.live);
        return match store.decide(asks) {
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
    /// Those in shadow mode last.
    async fn all(&mut self) -> Result<(), Error> {
        let live = decided(&self.store, self.asks(&self.questions.live)).await;
        self.took(live)?;
        for asked in self.questions.shadow.clone() {
            self.shadow(asked).await;
        }
        Ok(())
    }

    fn asks(&self, questions: &Questions) -> Asks {
        questions
            .iter()
            .filter_map(|asked| self.ask(asked))
            .collect()
    }

    fn ask(&self, asked: &Asked) -> Option<Ask> {
        let limits = &self.taken.limits;
        let policy = &limits[usize::from(asked.policy)];
        let buckets = policy
            .shared
            .as_ref()?
            .buckets
            .get(usize::from(asked.which))?;
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
            is_lent: policy.count.is_some(),
        })
    }

    fn took(&mut self, outcome: Outcome) -> Result<(), Error> {
        let questions = std::mem::take(&mut self.questions.live);
        let admission = self.admitted(outcome, &questions)?;
        let limits = Arc::clone(&self.taken.limits);
        let counts = |asked: &Asked| asked.counts_answers(&limits);
        if !questions.iter().any(counts) {
            self.keep(admission);
            return Ok(());
        }
        let others = nearest(&questions, &admission, |asked| !counts(asked))
            .map(|(asked, state)| asked.told(&limits, state));
        self.counted().note_other(others);
        for (asked, admission) in questions.into_iter().zip(admission.take_apart()) {
            self.keep_one(asked, admission);
        }
        Ok(())
    }

    /// Keeps the tokens of one limit.
    fn keep_one(&mut self, asked: Asked, admission: Admission) {
        if asked.counts_answers(&self.taken.limits) {
            let store = Arc::clone(&self.store);
            self.counted().add_shared(&store, asked, admission);
        } else {
            self.keep(admission);
        }
    }

    fn keep(&mut self, admission: Admission) {
        let more = self.taken.more.get_or_insert_default();
        let shared = more.shared.get_or_insert_with(|| SharedTaken {
            store: Arc::clone(&self.store),
            taken: SmallVec::new(),
        });
        shared.taken.push(admission);
    }

    fn counted(&mut self) -> &mut Counted {
        let more = self.taken.more.get_or_insert_default();
        more.counted
            .get_or_insert_with(|| Counted::new(&self.taken.limits, &self.exchange))
    }

    /// Notes what live limits said.
    fn admitted(&self, outcome: Outcome, questions: &Questions) -> Result<Admission, Error> {
        match outcome {
            Ok(admission) => {
                let nearest = nearest(questions, &admission, |_| true);
                let (limits, now) = (&self.taken.limits, Clock.now());
                questions
                    .iter()
                    .for_each(|asked| asked.record(limits, now, Verdict::Admitted, &self.exchange));
                decision::note_also(&self.exchange, &self.taken.limits, questions, nearest);
                Ok(admission)
            }
            Err(Refused::Limits(refusal)) => {
                let limits = (&*self.taken.limits, self.taken.temporary());
                Err(decision::refused(
                    &self.exchange,
                    limits,
                    questions,
                    (Clock.now(), &refusal),
                ))
            }
            Err(Refused::Unavailable { retry_after }) => {
                self.exchange.facts.lock().admitted = 0;
                Err(Error::StoreUnavailable { retry_after })
            }
        }
    }

    async fn shadow(&mut self, asked: Asked) {
        let Some(ask) = self.ask(&asked) else { return };
        let outcome = decided(&self.store, Asks::from_iter([ask])).await;
        let bit = 1 << asked.name(&self.taken.limits);
        let mut facts = self.exchange.facts.lock();
        match outcome {
            Ok(admission) => {
                facts.admitted |= bit;
                drop(facts);
                self.keep_one(asked, admission);
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

/// The question, of those that are wanted, whose bucket is nearest to exhaustion.
fn nearest(
    questions: &Questions,
    admission: &Admission,
    is_wanted: impl Fn(&Asked) -> bool,
) -> Option<(Asked, Standing)> {
    let counted = questions.iter().copied().zip(admission.standings());
    let wanted = counted.filter(|(asked, state)| state.is_some() && is_wanted(asked));
    let (asked, standings): (Questions, SmallVec<[_; 4]>) = wanted.unzip();
    decision::nearest(&asked, standings.into_iter().flatten())
}

async fn decided(store: &Arc<Store>, asks: Asks) -> Outcome {
    match store.decide(asks) {
        Decision::Made(outcome) => outcome,
        Decision::Pending(outcome) => outcome.await,
    }
}
