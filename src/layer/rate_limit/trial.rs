//! Decisions with all that a limit can be: tiers, exceptions, limits that count answers, limits and numbers on trial.
//!
//! Those that can refuse decide first, all or nothing. Those on trial decide each for itself: a limit in shadow mode as
//! it would if it were live, which is on requests that the others admitted; a candidate on every request that comes.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    LimitPolicy, RateLimitLayer,
    counting::Counted,
    decision::{self, Asked, CANDIDATE, OWN, Questions, Taken},
    key::{self, Found},
    shared::{SharedQuestions, SharedTaken},
};
use crate::{
    call::Exchange,
    error::Error,
    limit::{Admission, Ask, Clock, Gcra, Now, Refusal, Verdict, decide, would_admit},
};

/// What a call holds beyond what the limits took together.
#[derive(Debug, Default)]
pub(super) struct More {
    /// Taken one by one: by those on trial, and by all where some count answers.
    alone: SmallVec<[(Asked, Admission); 1]>,
    /// Taken by those that count answers.
    pub(super) counted: Option<Counted>,
    /// What the store is yet to be asked, and what it has said.
    pub(super) questions: SharedQuestions,
    pub(super) shared: Option<SharedTaken>,
    /// Numbers for a while, of keys that have some.
    pub(super) temporary: Vec<Gcra>,
}

impl More {
    pub(super) fn give_back(self, now: Now, limits: &[LimitPolicy]) {
        for (asked, admission) in self.alone {
            admission.refund(now, [asked.ask(limits, &self.temporary).limiter]);
        }
        if let Some(shared) = self.shared {
            shared.give_back();
        }
        if let Some(mut counted) = self.counted {
            counted.give_back(now);
        }
    }

    /// The answer is known.
    pub(super) fn answered(self, status: http::StatusCode) {
        if let Some(counted) = self.counted {
            counted.answered(&self.temporary, status);
        }
    }

    /// The gateway answers in a server's stead, which says nothing of the client.
    pub(super) fn not_answered(self) {
        if let Some(mut counted) = self.counted {
            counted.give_back(Clock.now());
        }
    }
}

/// The questions that a request is to the limits of its route.
#[derive(Default)]
struct Sorted {
    /// Those that can refuse.
    live: Questions,
    shadow: Questions,
    /// Those that are in the store.
    shared: SharedQuestions,
    candidates: Questions,
    /// Numbers for a while, of keys that have some.
    temporary: Vec<Gcra>,
}

pub(super) fn admit(layer: &RateLimitLayer, exchange: &Arc<Exchange>) -> Result<Taken, Error> {
    let limits = &layer.limits;
    let now = Clock.now();
    let sorted = sort(limits, now, exchange)?;
    let temporary = &*sorted.temporary;
    let mut trial = Trial {
        limits,
        temporary,
        now,
        exchange,
        counted: None,
        alone: SmallVec::new(),
    };
    let decided = decide_all(limits, now, &sorted);
    // Whatever the live ones said: the numbers on trial see the same stream of requests.
    sorted
        .candidates
        .iter()
        .for_each(|asked| trial.candidate(*asked));
    let mut admission = match decided {
        Ok(admission) => admission,
        Err(refusal) => {
            sorted
                .shadow
                .iter()
                .for_each(|asked| trial.shadow_of_refused(*asked));
            return Err(decision::refused(
                exchange,
                (limits, temporary),
                &sorted.live,
                (now, &refusal),
            ));
        }
    };
    sorted
        .live
        .iter()
        .for_each(|asked| asked.record(limits, now, Verdict::Admitted, exchange));
    let nearest = decision::nearest(&sorted.live, admission.standings());
    decision::note_admission(exchange, limits, &sorted.live, nearest);
    sorted.shadow.iter().for_each(|asked| trial.shadow(*asked));
    if sorted.live.iter().any(|asked| asked.counts_answers(limits)) {
        trial.keep_apart(&sorted.live, &mut admission);
    }
    let Trial { counted, alone, .. } = trial;
    // An admission that was taken apart is in `alone` and `counted`.
    let asked = if admission.is_empty() {
        Questions::new()
    } else {
        sorted.live
    };
    let (questions, temporary) = (sorted.shared, sorted.temporary);
    let more = (counted.is_some() || !alone.is_empty() || !questions.is_empty()).then(|| {
        Box::new(More {
            alone,
            counted,
            questions,
            temporary,
            shared: None,
        })
    });
    Ok(Taken {
        admission,
        asked,
        limits: Arc::clone(limits),
        more,
    })
}

/// All that can refuse, together.
fn decide_all(limits: &[LimitPolicy], now: Now, sorted: &Sorted) -> Result<Admission, Refusal> {
    let asks: SmallVec<[Ask<'_>; 4]> = sorted
        .live
        .iter()
        .map(|asked| asked.ask(limits, &sorted.temporary))
        .collect();
    decide(now, &asks)
}

/// Finds the keys, and who has to be asked under which.
fn sort(limits: &[LimitPolicy], now: Now, exchange: &Exchange) -> Result<Sorted, Error> {
    let mut sorted = Sorted::default();
    for (place, limit) in limits.iter().enumerate() {
        match key::find(limit, exchange) {
            Found::Key(key) => {
                let own = Asked::new(place, OWN, key, limit.cost.of(&exchange.request.headers));
                sorted.add(limit, own, now, exchange);
            }
            Found::Skip => {}
            Found::Refuse if limit.shadow => {
                exchange.facts.lock().shadow_refused |= 1 << limit.name
            }
            Found::Refuse => return Err(decision::key_missing(limit, exchange)),
        }
    }
    Ok(sorted)
}

impl Sorted {
    fn add(&mut self, limit: &LimitPolicy, own: Asked, now: Now, exchange: &Exchange) {
        if let Some(given) = limit.limiter.temporary(now, own.key) {
            self.push(limit, own.for_a_while(self.temporary.len()));
            self.temporary.push(given.gcra);
            return self.add_tiers(limit, own, exchange);
        }
        let exception = limit
            .overrides
            .as_ref()
            .and_then(|overrides| overrides.find(limit, own.key, exchange));
        match (exception, &limit.overrides) {
            (Some(place), Some(overrides)) if overrides.numbers(place).is_none() => {
                exchange.facts.lock().admitted |= 1 << limit.name; // passes all, tiers too
                own.alone().record(
                    std::slice::from_ref(limit),
                    now,
                    Verdict::Admitted,
                    exchange,
                );
                return;
            }
            (Some(place), _) => self.push(limit, own.under(place)),
            (None, _) => {
                self.push(limit, own);
                // Who has numbers of its own is no part of a trial of others.
                if limit.candidate.is_some() {
                    self.candidates.push(Asked::new(
                        usize::from(own.policy),
                        CANDIDATE,
                        own.key,
                        own.cost,
                    ));
                }
            }
        }
        self.add_tiers(limit, own, exchange);
    }

    fn add_tiers(&mut self, limit: &LimitPolicy, own: Asked, exchange: &Exchange) {
        if exchange.client.ip.is_ipv6() {
            for (which, tier) in (1..).zip(&limit.tiers) {
                if let Some(key) = key::find_wider(limit, &tier.begun, tier.prefix, exchange) {
                    self.push(
                        limit,
                        Asked::new(usize::from(own.policy), which, key.finish(), own.cost),
                    );
                }
            }
        }
    }

    fn push(&mut self, limit: &LimitPolicy, asked: Asked) {
        if limit.shared.is_some() {
            self.shared.push(limit, asked);
        } else if limit.shadow {
            self.shadow.push(asked);
        } else {
            self.live.push(asked);
        }
    }
}

/// Decisions that refuse nothing.
struct Trial<'a> {
    limits: &'a Arc<[LimitPolicy]>,
    temporary: &'a [Gcra],
    now: Now,
    exchange: &'a Arc<Exchange>,
    counted: Option<Counted>,
    alone: SmallVec<[(Asked, Admission); 1]>,
}

impl Trial<'_> {
    /// Whether it would have admitted; takes what it would have taken.
    fn decide(&mut self, asked: Asked) -> bool {
        let taken = decide(self.now, &[asked.ask(self.limits, self.temporary)]);
        let admits = taken.is_ok();
        if let Ok(admission) = taken {
            self.keep(asked, admission);
        }
        admits
    }

    /// Keeps the tokens that one limit has taken by itself.
    fn keep(&mut self, asked: Asked, admission: Admission) {
        if asked.counts_answers(self.limits) {
            self.counted().add(asked, admission);
        } else {
            self.alone.push((asked, admission));
        }
    }

    /// Keeps the tokens that the live ones took together, where some may come back alone.
    fn keep_apart(&mut self, live: &[Asked], admission: &mut Admission) {
        let all = live.iter().copied().zip(admission.standings());
        let (others, standings): (Questions, SmallVec<[_; 4]>) = all
            .filter(|(asked, _)| !asked.counts_answers(self.limits))
            .unzip();
        let others = decision::nearest(&others, standings.into_iter())
            .map(|(asked, state)| asked.told(self.limits, state));
        self.counted().note_other(others);
        for (asked, admission) in live.iter().zip(admission.take_apart()) {
            self.keep(*asked, admission);
        }
    }

    fn counted(&mut self) -> &mut Counted {
        self.counted
            .get_or_insert_with(|| Counted::new(self.limits, self.exchange))
    }

    fn record(&self, asked: Asked, verdict: Verdict) {
        asked.record(self.limits, self.now, verdict, self.exchange);
    }

    fn candidate(&mut self, asked: Asked) {
        if !self.decide(asked) {
            self.exchange.facts.lock().candidate_refused |= 1 << asked.name(self.limits);
        }
    }

    fn shadow(&mut self, asked: Asked) {
        let bit = 1 << asked.name(self.limits);
        let admits = self.decide(asked);
        self.record(
            asked,
            if admits {
                Verdict::Admitted
            } else {
                Verdict::Refused
            },
        );
        let mut facts = self.exchange.facts.lock();
        if admits {
            facts.admitted |= bit;
        } else {
            facts.shadow_refused |= bit;
        }
    }

    /// The others refused already: nothing is taken, as nothing would be if this one were live.
    fn shadow_of_refused(&self, asked: Asked) {
        if !would_admit(self.now, &asked.ask(self.limits, self.temporary)) {
            self.record(asked, Verdict::Refused);
            self.exchange.facts.lock().shadow_refused |= 1 << asked.name(self.limits);
        }
    }
}
