//! One request before the limits of its route: the questions it puts to them,
//! and the facts that their decisions become.
//!
//! A plain limit takes the short way in [`Inquiry::collect`]: hash the key,
//! push one question. Everything that only some limits have (overrides,
//! temporary quotas, tiers, a candidate, shadow mode, the store) is behind one
//! test, in `collect_all`.
//!
//! An inquiry borrows everything and costs a reading of the clock. It is made
//! for the local decision, and again for each use after a call to the store. It
//! takes no tokens by itself; `local` and `shared` do, with the questions that
//! it collects.
//!
//! # Facts
//!
//! Facts name limits by bits: bit `n` stands for the `n`th name among the names
//! of the route's limits, where the names of tiers follow that of their limit.
//! A route has at most 64 names, so that a set of limits is one `u64`.

use std::sync::Arc;

use super::{
    cost, key,
    limits::RouteLimit,
    overrides::Rule,
    question::{Bucket, Question, Questions},
};
use crate::{
    call::{Exchange, LimitFacts, Nearest},
    error::Error,
    limit::{Gcra, Label, Now, Refusal, Standing, Verdict},
    policy::Missing,
    runtime::worker,
};

/// One request before the limits of its route.
#[derive(Clone, Copy)]
pub(super) struct Inquiry<'a> {
    /// The limits of the route, in the order of the configuration.
    pub(super) limits: &'a Arc<[RouteLimit]>,
    /// The request, with its route and its client.
    pub(super) exchange: &'a Arc<Exchange>,
    /// The one reading of the clock by which all limits decide.
    pub(super) now: Now,
}

impl Inquiry<'_> {
    /// Finds the keys of the request and the quotas that count for them. Limits
    /// that decide without a bucket are noted in `facts`.
    ///
    /// # Errors
    /// Fails if the request lacks a part of a key without which a limit
    /// refuses.
    #[inline]
    pub(super) fn collect(
        &self,
        questions: &mut Questions,
        facts: &mut LimitFacts,
    ) -> Result<(), Error> {
        for (index, limit) in self.limits.iter().enumerate() {
            let Some(key) = key::whole(&limit.own.begun, &limit.policy, self.exchange) else {
                self.note_missing(limit, facts)?;
                continue;
            };
            let cost = cost::of(&limit.policy.cost, &self.exchange.request.headers);
            let question = Question::new(index, key.finish(), cost);
            if limit.is_plain && !limit.own.limiter.has_temporaries() {
                questions.live.push(question);
            } else {
                self.collect_all(question, questions, facts);
            }
        }
        Ok(())
    }

    /// Notes a request that lacks a part of the key.
    ///
    /// The policy says one of three things. With `skip`, the limit does not
    /// apply to the request. In shadow mode, the refusal is noted and does not
    /// happen. In all other cases the request is refused, and no bucket has
    /// been asked by then.
    ///
    /// # Errors
    /// [`Error::KeyMissing`], with the status of the limit.
    #[cold]
    fn note_missing(&self, limit: &RouteLimit, facts: &mut LimitFacts) -> Result<(), Error> {
        if limit.policy.missing == Missing::Skip {
            return Ok(());
        }
        if limit.policy.shadow {
            facts.shadow_refused |= 1 << limit.name;
            return Ok(());
        }
        (facts.admitted, facts.refused) = (0, 1 << limit.name);
        Err(Error::KeyMissing {
            limit: Arc::clone(&self.exchange.route.limits[limit.name]),
            status: limit.policy.status,
        })
    }

    /// Adds all questions to a limit that is more than one bucket under one
    /// quota. `own` is the one to its own bucket.
    fn collect_all(&self, own: Question, questions: &mut Questions, facts: &mut LimitFacts) {
        let limit = own.limit(self.limits);
        match self.rule(&own) {
            Some(Rule::Unlimited) => {
                facts.admitted |= 1 << limit.name;
                self.record(&own, Verdict::Admitted);
                return;
            }
            Some(Rule::Quota(quota)) => {
                let index = questions.quotas.len() as u8; // at most one for each of 64 limits
                questions.quotas.push(quota);
                self.push(own.with(Bucket::OwnUnder(index)), questions);
            }
            None => {
                self.push(own, questions);
                // A key with a quota of its own takes no part in the trial of
                // another one for the limit.
                if limit.candidate.is_some() {
                    questions.candidates.push(own.with(Bucket::Candidate));
                }
            }
        }
        if self.exchange.client.ip.is_ipv6() {
            self.collect_tiers(own, questions);
        }
    }

    /// The quota that replaces the limit's own for this key: a temporary one of
    /// an operator, or else an override.
    ///
    /// An operator's quota wins, since it is the newer decision and ends by
    /// itself.
    fn rule(&self, own: &Question) -> Option<Rule> {
        let limit = own.limit(self.limits);
        if let Some(given) = limit.own.limiter.temporary(self.now, own.key) {
            return Some(Rule::Quota(given.gcra));
        }
        let overrides = limit.overrides.as_ref()?;
        overrides.find(&limit.own.begun, &limit.policy, own.key, self.exchange)
    }

    /// Adds the questions to the tiers of a limit: one bucket for each wider
    /// network that the address of an IPv6 client is in. A tier is left out if
    /// no address is in the key.
    fn collect_tiers(&self, own: Question, questions: &mut Questions) {
        let limit = own.limit(self.limits);
        for (index, (tier, buckets)) in limit.policy.tiers.iter().zip(&limit.tiers).enumerate() {
            let key = key::wider(&buckets.begun, &limit.policy, tier.prefix, self.exchange);
            if let Some(key) = key {
                self.push(own.of_tier(index, key.finish()), questions);
            }
        }
    }

    /// Adds a question to the list that says how it is decided: here or in the
    /// store, with or without the power to refuse.
    fn push(&self, question: Question, questions: &mut Questions) {
        let limit = question.limit(self.limits);
        match (limit.is_shared(), limit.policy.shadow) {
            (false, false) => questions.live.push(question),
            (false, true) => questions.shadow.push(question),
            (true, false) => questions.shared.live.push(question),
            (true, true) => questions.shared.shadow.push(question),
        }
    }

    /// Counts the request for the list of the heaviest keys.
    ///
    /// The description of the key is made by a function, so that it costs
    /// nothing unless the key enters the list. Candidates are not counted.
    #[inline]
    pub(super) fn record(&self, question: &Question, verdict: Verdict) {
        let Some(buckets) = question.buckets(self.limits) else {
            return;
        };
        let describe = |label: &mut Label| {
            let policy = &question.limit(self.limits).policy;
            key::describe(label, policy, question.prefix(self.limits), self.exchange);
        };
        let worker = worker::current();
        (buckets.top).record(worker, self.now, question.key, verdict, describe);
    }

    /// Notes that the buckets of `questions` have admitted the request.
    #[inline]
    pub(super) fn note_admitted(&self, questions: &[Question], facts: &mut LimitFacts) {
        for question in questions {
            self.record(question, Verdict::Admitted);
            facts.admitted |= 1 << question.name(self.limits);
        }
    }

    /// Notes which of `questions` were refused; nothing was taken. `quotas` are
    /// those of the request.
    ///
    /// The refusal with the longest wait gives the status of the response and
    /// the limit that is described in its fields; all limits that refused are
    /// named in the error. Facts of earlier limits are overwritten: tokens are
    /// given back, so none has admitted.
    #[cold]
    pub(super) fn refused(
        &self,
        questions: &[Question],
        quotas: &[Gcra],
        refusal: &Refusal,
        facts: &mut LimitFacts,
    ) -> Error {
        let mut refused = 0_u64;
        for index in refusal.indices() {
            self.record(&questions[index], Verdict::Refused);
            refused |= 1 << questions[index].name(self.limits);
        }
        let longest = &questions[refusal.index];
        let gcra = longest
            .quota(quotas)
            .unwrap_or(longest.limiter(self.limits).gcra());
        let standing = Standing::refused(gcra, longest.cost, refusal.retry_after);
        facts.nearest = Some(nearest(longest, self.limits, standing));
        (facts.admitted, facts.refused) = (0, refused);
        let names = self.exchange.route.limits.iter().enumerate();
        Error::RateLimited {
            limits: names
                .filter(|(index, _)| refused & (1 << index) != 0)
                .map(|(_, name)| Arc::clone(name))
                .collect(),
            retry_after: refusal.retry_after,
            status: longest.limit(self.limits).policy.status,
        }
    }
}

/// The bucket of `question` as it is emitted.
pub(super) fn nearest(question: &Question, limits: &[RouteLimit], standing: Standing) -> Nearest {
    Nearest {
        limit: question.name(limits),
        key: question.key,
        standing,
    }
}

/// The bucket that is nearest to exhaustion, of those that are `wanted` and
/// that somebody counts in. `standings` are in the order of the questions.
///
/// Of equals, the first question wins. `None` if no question is wanted or none
/// has a standing. A standing is `None` for a bucket in the store of which
/// nothing is known.
#[inline]
pub(super) fn nearest_of(
    questions: &[Question],
    limits: &[RouteLimit],
    standings: impl Iterator<Item = Option<Standing>>,
    is_wanted: impl Fn(&Question) -> bool,
) -> Option<Nearest> {
    let mut found: Option<(&Question, Standing)> = None;
    for (question, standing) in questions.iter().zip(standings) {
        let Some(standing) = standing.filter(|_| is_wanted(question)) else {
            continue;
        };
        if found.is_none_or(|(_, best)| standing.is_nearer(&best)) {
            found = Some((question, standing));
        }
    }
    found.map(|(question, standing)| nearest(question, limits, standing))
}
