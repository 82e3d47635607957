//! Refusals before any bucket is asked: of a request without a key, and of one
//! whose key is banned. Also the count that leads to a ban.
//!
//! A limit that bans nobody pays for nothing here. One that does pays one load
//! while no key is banned.
//!
//! # Counted refusals
//!
//! Refusals by the own bucket of a limit count, under whichever allowance the
//! key has: those of tiers concern a whole network, and those of candidates
//! nobody. A request that nobody could decide about, or that lacks a key, is no
//! refusal of a key. A limit in shadow mode counts, and bans nobody.

use std::{sync::Arc, time::Duration};

use super::{
    limits::{KeyAllowance, RouteLimit},
    overrides::Rule,
    question::{AskedBucket, Inquiry, Question},
};
use crate::{
    call::LimitFacts,
    error::Error,
    limit::{Bans, Standing, Verdict},
    policy::{Allowance, BanAt, Missing},
};

impl RouteLimit {
    /// The rest of the ban of the key that is asked for; `None` if it is not
    /// banned, or may have everything by now.
    pub(super) fn ban_rest(&self, inquiry: &Inquiry<'_>, own: &Question) -> Option<Duration> {
        let rest = self.bans.as_ref()?.rest(inquiry.now, own.key)?;
        (inquiry.rule(own) != Some(Rule::Unlimited)).then_some(rest)
    }
}

impl Inquiry<'_> {
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
    pub(super) fn note_missing(
        &self,
        limit: &RouteLimit,
        facts: &mut LimitFacts,
    ) -> Result<(), Error> {
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

    /// Refuses a request whose key is banned. No bucket has been asked by then.
    /// `own` is the question to the own bucket of a limit with these `bans`.
    ///
    /// # Errors
    /// [`Error::Banned`], with the status of the limit and the rest of the ban.
    #[inline]
    pub(super) fn check_ban(
        &self,
        bans: &Bans,
        own: &Question,
        facts: &mut LimitFacts,
    ) -> Result<(), Error> {
        match own.limit(self.limits).ban_rest(self, own) {
            Some(rest) => Err(self.refuse_banned(bans, own, rest, facts)),
            None => Ok(()),
        }
    }

    /// Notes that the ban of a key, with this `rest`, refuses a request.
    #[cold]
    fn refuse_banned(
        &self,
        bans: &Bans,
        own: &Question,
        rest: Duration,
        facts: &mut LimitFacts,
    ) -> Error {
        bans.note_refused();
        let limit = own.limit(self.limits);
        let standing = self.banned_standing(own, rest);
        (facts.admitted, facts.refused) = (0, 1 << limit.name);
        facts.nearest = Some(own.nearest(self.limits, standing));
        self.record_alone(own, Verdict::Refused);
        Error::Banned {
            limit: Arc::clone(&self.exchange.route.limits[limit.name]),
            retry_after: rest,
            closes: self.is_closed_with_ban(limit),
            status: limit.policy.status,
        }
    }

    /// Whether a ban by this limit ends the connection: new ones are closed, and
    /// open ones would be a way around that. A proxy connects for many clients.
    fn is_closed_with_ban(&self, limit: &RouteLimit) -> bool {
        let ban = limit.policy.ban.as_ref();
        ban.is_some_and(|ban| ban.at == BanAt::Connection) && self.exchange.is_direct()
    }

    /// How a banned key stands: it has nothing left until the ban is over.
    pub(super) fn banned_standing(&self, own: &Question, rest: Duration) -> Standing {
        let allowance = own.limit(self.limits).policy.allowance;
        match (self.rule(own), allowance) {
            (Some(Rule::Allowed(KeyAllowance::Quota(gcra))), _) => Standing::banned(&gcra, rest),
            (Some(Rule::Allowed(KeyAllowance::InFlight(most))), _)
            | (_, Allowance::InFlight(most)) => Standing::in_flight(most, most.get()),
            (_, Allowance::Rate(quota)) => Standing::banned(&quota.into(), rest),
        }
    }

    /// Counts a refusal by the own bucket of a limit that bans keys.
    #[cold]
    pub(super) fn count_for_ban(&self, question: &Question) {
        let limit = question.limit(self.limits);
        let is_own = matches!(question.bucket, AskedBucket::Own | AskedBucket::OwnUnder(_));
        if let (Some(bans), Some(ban), true) = (&limit.bans, &limit.policy.ban, is_own) {
            let describe = |label: &mut _| self.describe(question, label);
            bans.count(self.now, question.key, (ban, limit.policy.shadow), describe);
        }
    }
}
