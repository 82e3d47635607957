//! Requests that wait for their tokens, under limits with a `delay`.
//!
//! Such a request looks at the buckets first, and takes nothing. If one lacks
//! tokens that come within the delay, the request enters the queue of that key.
//! The first of a queue sleeps until its tokens are due; then all limits of the
//! route decide as they do about any request. So the wait changes nothing in
//! what a limit admits, and a client that leaves frees its place and nothing
//! else.
//!
//! # Order
//!
//! A request waits if every limit that would refuse it has a delay, and if its
//! tokens come within that, after those of the requests before it. Otherwise it
//! is refused at once: no request waits in vain, but where tokens are owed or
//! taken under other limits meanwhile. A request never passes one of its key
//! that waits, as the tokens of that one count as taken.
//!
//! Under several limits, a request stands in the queue of the one with the
//! longest wait. When it is the first there, it may have to wait for another
//! one. So it waits for its tokens at most as long as the limit of its queue
//! lets it, and in all at most as long as all of them together.
//!
//! # Exactness
//!
//! Timers fire up to a millisecond late. A request that has waited takes its
//! tokens by the time at which they were due, so that lateness does not add up
//! along a queue; but by one of at most [`LATEST`] ago, so that a worker that
//! was held up does not let a queue through at once.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    charge::Charge,
    decide_here,
    limits::RouteLimit,
    local::Collected,
    question::Inquiry,
    questions::Questions,
    shared::{self, Deciding},
};
use crate::{
    call::Exchange,
    error::Error,
    limit::{Admission, Clock, Refusal, TokenPlace, WaitEnd, time_until_admitted},
    store::Store,
};

/// How often a request looks again when other workers take the tokens that it
/// has seen. Each time means that another request was served.
const MOST_RACES: u32 = 8;

/// How late a timer may fire without a loss of tokens: some milliseconds of a
/// busy worker.
const LATEST: Duration = Duration::from_millis(5);

/// The turn of a request under limits with a delay.
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart at once by the caller"
)]
pub(super) enum DecisionTime {
    /// The limits decide now.
    Now(Collected),
    /// The request waits.
    Later(DelayedRequest),
}

/// A request that waits for its tokens.
pub(super) struct DelayedRequest {
    limits: Arc<[RouteLimit]>,
    exchange: Arc<Exchange>,
    arrived: Instant,
    /// When it has waited as long as the limit of its queue lets it.
    until: Instant,
    /// When it has waited as long as all limits of its route let it.
    latest: Instant,
    place: TokenPlace,
}

/// How long the first request of a queue may still wait.
#[derive(Clone, Copy)]
struct First<'a> {
    /// Its place, for the tokens of whose key nobody is before it.
    place: &'a TokenPlace,
    /// For the limit of its queue.
    here: Duration,
    /// For others.
    elsewhere: Duration,
}

/// The result of a look at the buckets.
enum Prospect {
    /// Nothing is to be waited for: all limits admit, or one refuses that lets
    /// nobody wait.
    Decided,
    /// Limits refuse for the requests that wait already.
    Refused(Refusal),
    /// The limits of these questions lack tokens that come in time; this is the
    /// longest wait, and the index of its question.
    Wait(Duration, usize),
}

/// Lets the rates of this gateway decide about a request that has `arrived`, or
/// lets it enter a queue.
///
/// # Errors
/// Fails if a limit refuses the request before any bucket is asked.
pub(super) fn decide(inquiry: &Inquiry<'_>, arrived: Instant) -> Result<DecisionTime, Error> {
    let limits = inquiry.limits;
    let mut collected = Collected::of(inquiry)?;
    let index = match inquiry.ask_or_wait(&collected.questions, None) {
        Ok(made) => {
            collected.made = Some(made);
            return Ok(DecisionTime::Now(collected));
        }
        Err((_, index)) => index,
    };
    let question = collected.questions.live[index];
    let longest = question.limit(limits).policy.delay.unwrap_or_default();
    let place = question
        .limiter(limits)
        .and_then(|limiter| limiter.queues().enter(question.key, question.cost));
    let Some(place) = place else {
        return Ok(DecisionTime::Now(collected));
    };
    let of_all: Duration = limits.iter().filter_map(|limit| limit.policy.delay).sum();
    Ok(DecisionTime::Later(DelayedRequest {
        limits: Arc::clone(limits),
        exchange: Arc::clone(inquiry.exchange),
        arrived,
        until: arrived + longest,
        latest: arrived + of_all,
        place,
    }))
}

impl Inquiry<'_> {
    /// Asks the rates about a request, which may be the first of a queue.
    ///
    /// # Errors
    /// Fails if the request has to wait, and can: with the time until its tokens
    /// are due, and the index of the question with this wait. Nothing was taken
    /// then.
    fn ask_or_wait(
        &self,
        questions: &Questions,
        first: Option<First<'_>>,
    ) -> Result<Result<Admission, Refusal>, (Duration, usize)> {
        let mut races = 0;
        loop {
            match self.prospect(questions, first) {
                Prospect::Refused(refusal) => return Ok(Err(refusal)),
                Prospect::Wait(wait, index) => return Err((wait, index)),
                Prospect::Decided => {}
            }
            match self.ask_live(questions) {
                Err(refusal) if races < MOST_RACES && self.may_wait(questions, &refusal) => {
                    races += 1;
                }
                made => return Ok(made),
            }
        }
    }

    /// Whether all limits that refuse let requests wait. The tokens were there a
    /// moment ago, and another worker has taken them.
    fn may_wait(&self, questions: &Questions, refusal: &Refusal) -> bool {
        let mut refused = refusal.indices();
        refused.all(|index| {
            questions.live[index]
                .limit(self.limits)
                .policy
                .delay
                .is_some()
        })
    }

    /// Looks at the buckets of a request, which may be the first of a queue.
    fn prospect(&self, questions: &Questions, first: Option<First<'_>>) -> Prospect {
        let (mut refusal, mut longest) = (None, None);
        for (index, question) in questions.live.iter().enumerate() {
            let Some(ask) = question.ask(self.limits, &questions.quotas) else {
                continue;
            };
            let delay = question.limit(self.limits).policy.delay;
            let here = first.filter(|first| first.place.key() == question.key);
            let ahead = match (delay, here) {
                (Some(_), None) => ask.limiter.queues().ahead(question.key),
                _ => 0,
            };
            let wait = time_until_admitted(self.now, &ask, ahead);
            let Some(delay) = delay else {
                if wait.is_zero() {
                    continue;
                }
                return Prospect::Decided;
            };
            let left = match (here, first) {
                (Some(first), _) => first.here,
                (None, Some(first)) => delay.min(first.elsewhere),
                (None, None) => delay,
            };
            if wait > left {
                refusal = Some(Refusal::after(refusal, index, wait));
            } else if !wait.is_zero() {
                longest = longest.max(Some((wait, index)));
            }
        }
        match (refusal, longest) {
            (Some(refusal), _) => Prospect::Refused(refusal),
            (None, Some((wait, index))) => Prospect::Wait(wait, index),
            (None, None) => Prospect::Decided,
        }
    }
}

impl DelayedRequest {
    /// Waits for the tokens, and lets all limits decide then.
    ///
    /// # Errors
    /// Fails if a limit refuses after all, or if the store cannot decide and
    /// the configuration refuses then.
    pub(super) async fn decide(mut self, store: Option<&Arc<Store>>) -> Result<Charge, Error> {
        let (now, collected) = self.first_in_time().await;
        let inquiry = self.inquiry(now);
        let deciding = match (store, collected) {
            (_, Err(error)) => Deciding::Made(Err(error)),
            (Some(store), Ok(collected)) => shared::decide(store, &inquiry, collected),
            (None, Ok(collected)) => Deciding::Made(decide_here(&inquiry, collected)),
        };
        self.exchange.facts.lock().delay = Some(self.arrived.elapsed());
        match deciding {
            Deciding::Made(outcome) => {
                self.place.leave(end_of(&outcome), now);
                outcome
            }
            // The local tokens are taken: those behind need not wait for the
            // store.
            Deciding::Pending(pending) => {
                self.place.leave(WaitEnd::Admitted, now);
                pending.decide().await
            }
        }
    }

    /// Waits until the request is the first of its queue and its tokens are
    /// due, or until that is in vain. Returns the time by which its limits
    /// decide, and its questions with the decision of the rates of this gateway;
    /// fails if a limit refuses it by now before any bucket is asked.
    async fn first_in_time(&mut self) -> (Instant, Result<Collected, Error>) {
        let before = timeout_at(self.until, self.place.first()).await;
        let mut now = match before {
            Ok(Some(before)) => not_long_ago(before.max(self.arrived)),
            _ => Instant::now(),
        };
        loop {
            let inquiry = self.inquiry(now);
            let mut collected = match Collected::of(&inquiry) {
                Ok(collected) => collected,
                Err(error) => return (now, Err(error)),
            };
            let first = First {
                place: &self.place,
                here: self.until.saturating_duration_since(now),
                elsewhere: self.latest.saturating_duration_since(now),
            };
            let due = match inquiry.ask_or_wait(&collected.questions, Some(first)) {
                Ok(made) => {
                    collected.made = Some(made);
                    return (now, Ok(collected));
                }
                Err((wait, _)) => now + wait,
            };
            now = select! {
                () = sleep_until(due) => not_long_ago(due),
                () = self.place.stirred() => Instant::now(),
            };
        }
    }

    /// The request before its limits, which decide by the time `now`.
    fn inquiry(&self, now: Instant) -> Inquiry<'_> {
        Inquiry {
            limits: &self.limits,
            exchange: &self.exchange,
            now: Clock.at(now),
        }
    }
}

/// How a wait has ended for this decision.
fn end_of(outcome: &Result<Charge, Error>) -> WaitEnd {
    match outcome {
        Ok(_) => WaitEnd::Admitted,
        Err(_) => WaitEnd::Refused,
    }
}

/// A moment by which tokens are taken now: a past one, at most [`LATEST`] ago.
fn not_long_ago(moment: Instant) -> Instant {
    let now = Instant::now();
    moment.clamp(now.checked_sub(LATEST).unwrap_or(now), now)
}
