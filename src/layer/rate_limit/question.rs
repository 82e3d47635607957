//! The questions that one request puts to the limits of its route: which
//! buckets, how many tokens, which quota.
//!
//! One or two plain limits need no list of questions (`plain`). In a longer
//! list, a plain limit takes the short way in [`Inquiry::collect`]: hash the
//! key, push one question. Everything that only some limits have (overrides,
//! temporary quotas, tiers, a candidate, shadow mode, the store) is behind one
//! test, in `collect_all`. No tokens are taken here; `local` and `shared` take
//! them, with the questions that an inquiry collects.
//!
//! A question refers to its limit by index and to its bucket by
//! [`AskedBucket`], in 16 bytes without a reference. So a list of questions may
//! travel with a request beyond the decision, be settled on another worker, and
//! outlive a reload: the limits that the indices lead to travel with it.
//! Questions are sorted into lists by how they are decided (see `questions`).
//!
//! # Facts
//!
//! Facts name limits by bits: bit `n` stands for the `n`th name among the names
//! of the route's limits, where the names of tiers follow that of their limit.
//! A route has at most 64 names, so that a set of limits is one `u64`.

use std::{num::NonZeroU32, sync::Arc};

use super::{
    key,
    limits::{Buckets, Counter, KeyAllowance, RouteLimit},
    overrides::Rule,
    questions::Questions,
};
use crate::{
    call::{Exchange, LimitFacts, Nearest},
    error::Error,
    limit::{self, Gcra, Key, KeysInFlight, Label, Limiter, Now, Standing, Verdict},
    policy::Allowance,
};

/// One request before the limits of its route.
///
/// Borrows everything. It is made for the local decision, with the time at which
/// the request arrived; and again for each use after a call to the store, with a
/// reading of the clock.
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
            let Some(key) = limit.key(self.exchange) else {
                self.note_missing(limit, facts)?;
                continue;
            };
            let question = Question {
                key,
                cost: key::cost(&limit.policy.cost, &self.exchange.request.headers),
                limit: index as u8, // at most 64
                bucket: AskedBucket::Own,
            };
            if let Some(bans) = &limit.bans {
                self.check_ban(bans, &question, facts)?;
            }
            match (
                limit.is_plain && !limit.own.counter.has_temporaries(),
                limit.is_in_flight(),
            ) {
                (true, false) => questions.live.push(question),
                (true, true) => questions.in_flight.live.push(question),
                (false, _) => self.collect_all(question, questions, facts),
            }
        }
        Ok(())
    }

    /// Adds all questions to a limit that is more than one bucket under one
    /// quota. `own` is the one to its own bucket.
    fn collect_all(&self, own: Question, questions: &mut Questions, facts: &mut LimitFacts) {
        if !self.collect_buckets(own, questions) {
            facts.admitted |= 1 << own.limit(self.limits).name;
            self.record(&own, Verdict::Admitted);
        }
    }

    /// Adds all questions to the buckets of a limit; `own` is the one to its own
    /// bucket. False if the limit admits everything of this key.
    pub(super) fn collect_buckets(&self, own: Question, questions: &mut Questions) -> bool {
        let limit = own.limit(self.limits);
        match self.rule(&own) {
            Some(Rule::Unlimited) => return false,
            Some(Rule::Allowed(allowed)) => {
                let index = questions.quotas.len() as u8; // at most one for each of 64 limits
                questions.quotas.push(allowed);
                let bucket = AskedBucket::OwnUnder(index);
                self.push(Question { bucket, ..own }, questions);
            }
            None => {
                self.push(own, questions);
                // A key with a quota of its own takes no part in the trial of
                // another one for the limit.
                if limit.candidate.is_some() {
                    let bucket = AskedBucket::Candidate;
                    let list = match limit.is_in_flight() {
                        true => &mut questions.in_flight.candidates,
                        false => &mut questions.candidates,
                    };
                    list.push(Question { bucket, ..own });
                }
            }
        }
        if !limit.tiers.is_empty() {
            self.collect_tiers(own, questions);
        }
        true
    }

    /// The allowance that replaces the limit's own for this key: a temporary one
    /// of an operator, or else an override.
    ///
    /// An operator's allowance wins, since it is the newer decision and ends by
    /// itself.
    pub(super) fn rule(&self, own: &Question) -> Option<Rule> {
        let limit = own.limit(self.limits);
        if let Some(given) = limit.own.counter.temporary(self.now, own.key) {
            return Some(Rule::Allowed(given));
        }
        let overrides = limit.overrides.as_ref()?;
        overrides.find(&limit.own.begun, &limit.policy, own.key, self.exchange)
    }

    /// Adds the questions to the tiers of a limit: one bucket for each wider
    /// network that the address of the client is in. A tier is left out if it
    /// has no networks of this kind of address, or if no address is in the key.
    fn collect_tiers(&self, own: Question, questions: &mut Questions) {
        let limit = own.limit(self.limits);
        for (index, (tier, buckets)) in limit.policy.tiers.iter().zip(&limit.tiers).enumerate() {
            let Some(bits) = tier.bits(self.exchange.client.ip) else {
                continue;
            };
            let key = key::wider(&buckets.begun, &limit.policy, bits, self.exchange);
            if let Some(key) = key {
                let question = Question {
                    key: key.finish(),
                    bucket: AskedBucket::Tier(index as u8), // at most 64, as limits
                    ..own
                };
                self.push(question, questions);
            }
        }
    }

    /// Adds a question to the list that says how it is decided: by tokens or by
    /// permits, here or in the store, with or without the power to refuse.
    fn push(&self, question: Question, questions: &mut Questions) {
        let limit = question.limit(self.limits);
        if limit.is_in_flight() {
            let in_flight = &mut questions.in_flight;
            let list = match limit.policy.shadow {
                false => &mut in_flight.live,
                true => &mut in_flight.shadow,
            };
            return list.push(question);
        }
        match (limit.is_shared(), limit.policy.shadow) {
            (false, false) => questions.live.push(question),
            (false, true) => questions.shadow.push(question),
            (true, false) => questions.shared.live.push(question),
            (true, true) => questions.shared.shadow.push(question),
        }
    }

    /// Counts the request for the list of the heaviest keys, and a refusal for
    /// the bans of its limit.
    ///
    /// The description of the key is made by a function, so that it costs
    /// nothing unless the key enters the list. Candidates are not counted.
    #[inline]
    pub(super) fn record(&self, question: &Question, verdict: Verdict) {
        self.record_alone(question, verdict);
        if verdict == Verdict::Refused && question.limit(self.limits).bans.is_some() {
            self.count_for_ban(question);
        }
    }

    /// Counts the request for the list of the heaviest keys, and not for a ban.
    #[inline]
    pub(super) fn record_alone(&self, question: &Question, verdict: Verdict) {
        let top = &question.buckets(self.limits).top;
        let describe = |label: &mut Label| self.describe(question, label);
        top.record(self.now, question.key, verdict, describe);
    }

    /// Writes the parts of the key that is asked for.
    pub(super) fn describe(&self, question: &Question, label: &mut Label) {
        let policy = &question.limit(self.limits).policy;
        let bits = question.tier_bits(self.limits, self.exchange);
        key::describe(label, policy, bits, self.exchange);
    }
}

/// One bucket that is asked for tokens. Kept small: the questions of a request
/// are moved about with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    /// The key of the bucket in its limiter.
    pub(super) key: Key,
    /// Tokens. 0 takes none and is always admitted.
    pub(super) cost: u32,
    /// Index of the limit among the route's limits, of which there are at most
    /// 64.
    limit: u8,
    /// Which of the limit's buckets it is.
    pub(super) bucket: AskedBucket,
}

/// Which bucket of a limit is asked, and under which quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskedBucket {
    /// The limit's own, under its own quota.
    Own,
    /// The limit's own, under a quota of the key: an index into
    /// [`Questions::quotas`].
    OwnUnder(u8),
    /// That of the tier with this index. The key has fewer bits of the client's
    /// address.
    Tier(u8),
    /// That of the candidate, which never refuses.
    Candidate,
}

impl Question {
    /// The question to the own bucket of the limit with this `index`, for a
    /// fixed `cost`.
    #[inline]
    pub(super) fn plain(index: usize, key: Key, cost: u32) -> Self {
        Self {
            key,
            cost,
            limit: index as u8, // at most 64
            bucket: AskedBucket::Own,
        }
    }

    /// The limit that is asked.
    #[inline]
    pub(super) fn limit<'a>(&self, limits: &'a [RouteLimit]) -> &'a RouteLimit {
        &limits[usize::from(self.limit)]
    }

    /// The buckets that it asks one of. Those of a candidate have a limiter of
    /// their own, and are neither counted nor shared.
    #[inline]
    pub(super) fn buckets<'a>(&self, limits: &'a [RouteLimit]) -> &'a Buckets {
        let limit = self.limit(limits);
        match self.bucket {
            AskedBucket::Tier(index) => &limit.tiers[usize::from(index)],
            _ => &limit.own,
        }
    }

    /// The counter that is asked.
    #[inline]
    fn counter<'a>(&self, limits: &'a [RouteLimit]) -> &'a Counter {
        match (self.bucket, &self.limit(limits).candidate) {
            (AskedBucket::Candidate, Some(candidate)) => candidate,
            _ => &self.buckets(limits).counter,
        }
    }

    /// The bucket's limiter; `None` for a limit of requests in flight, whose
    /// questions are in lists of their own.
    #[inline]
    pub(super) fn limiter<'a>(&self, limits: &'a [RouteLimit]) -> Option<&'a Limiter> {
        self.counter(limits).limiter()
    }

    /// The counter of requests in flight, and the most that the key may have;
    /// `None` for a rate.
    pub(super) fn in_flight<'a>(
        &self,
        limits: &'a [RouteLimit],
        quotas: &[KeyAllowance],
    ) -> Option<(&'a Arc<KeysInFlight>, NonZeroU32)> {
        let policy = &self.limit(limits).policy;
        let allowance = match self.bucket {
            AskedBucket::Own => policy.allowance,
            AskedBucket::OwnUnder(index) => match quotas.get(usize::from(index))? {
                KeyAllowance::InFlight(most) => Allowance::InFlight(*most),
                KeyAllowance::Quota(_) => return None,
            },
            AskedBucket::Tier(index) => policy.tiers.get(usize::from(index))?.allowance,
            AskedBucket::Candidate => policy.candidate.as_ref()?.allowance,
        };
        Some((self.counter(limits).in_flight()?, allowance.in_flight()?))
    }

    /// Bits of the client's address in the key of a tier.
    pub(super) fn tier_bits(&self, limits: &[RouteLimit], exchange: &Exchange) -> Option<u8> {
        match self.bucket {
            AskedBucket::Tier(index) => {
                let tiers = &self.limit(limits).policy.tiers;
                tiers.get(usize::from(index))?.bits(exchange.client.ip)
            }
            _ => None,
        }
    }

    /// Whether it is one for a permit of a cap that several gateways share.
    pub(super) fn is_shared_cap(&self, limits: &[RouteLimit]) -> bool {
        self.buckets(limits).shared_cap.is_some()
    }

    /// The question as the limiter is asked it; `None` if it is one for a
    /// permit. `quotas` are those of the request.
    #[inline]
    pub(super) fn ask<'a>(
        &self,
        limits: &'a [RouteLimit],
        quotas: &'a [KeyAllowance],
    ) -> Option<limit::Ask<'a>> {
        Some(limit::Ask {
            limiter: self.limiter(limits)?,
            key: self.key,
            cost: self.cost,
            quota: self.quota(quotas),
        })
    }

    /// The quota that counts instead of the limiter's own.
    #[inline]
    pub(super) fn quota<'a>(&self, quotas: &'a [KeyAllowance]) -> Option<&'a Gcra> {
        match self.bucket {
            AskedBucket::OwnUnder(index) => match quotas.get(usize::from(index))? {
                KeyAllowance::Quota(gcra) => Some(gcra),
                KeyAllowance::InFlight(_) => None,
            },
            _ => None,
        }
    }

    /// Index of the limit's or tier's name among the names of the route's
    /// limits.
    #[inline]
    pub(super) fn name(&self, limits: &[RouteLimit]) -> usize {
        let own = self.limit(limits).name;
        match self.bucket {
            AskedBucket::Tier(index) => own + 1 + usize::from(index),
            _ => own,
        }
    }

    /// Whether its tokens come back when the response has a status that does
    /// not count.
    pub(super) fn counts_responses(&self, limits: &[RouteLimit]) -> bool {
        self.limit(limits).policy.count.is_some()
    }

    /// Whether the bucket can refuse a request.
    pub(super) fn is_live(&self, limits: &[RouteLimit]) -> bool {
        self.bucket != AskedBucket::Candidate && !self.limit(limits).policy.shadow
    }

    /// The bucket as it is emitted.
    pub(super) fn nearest(&self, limits: &[RouteLimit], standing: Standing) -> Nearest {
        Nearest {
            limit: self.name(limits),
            key: self.key,
            standing,
        }
    }
}
