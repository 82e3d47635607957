//! The limit on credentials that do not verify.
//!
//! It decides apart from the limits of the route, and is noted as they are: in
//! the access line, in the metrics of the route, and in the list of the
//! heaviest keys.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::super::key;
use crate::{
    call::{Exchange, Nearest},
    error::Error,
    limit::{
        Ask, Bans, Clock, Gcra, Key, KeyBuilder, Label, Limiter, Now, Refusal, Standing, Top,
        Verdict, decide, would_refuse,
    },
    policy::{BanAt, Limit},
};

/// Tokens that a credential takes.
const COST: u32 = 1;

/// Bounds the credentials that do not verify, for each address of a client, and
/// counts what it refuses for its bans. In shadow mode it refuses nothing.
#[derive(Debug)]
pub struct FailureLimit {
    /// The limit that is charged. Its key is the address of the client.
    pub limit: Arc<Limit>,
    /// Its buckets.
    pub limiter: Limiter,
    /// Counts its heaviest keys.
    pub top: Arc<Top>,
    /// A key that has begun with its name.
    pub begun: KeyBuilder,
    /// Its bans; `None` if it bans nobody.
    pub bans: Option<Arc<Bans>>,
    /// Index of its name among the names of the route's limits, below 64.
    pub name: usize,
}

/// The bucket of a client at one reading of the clock.
struct ClientBucket<'e> {
    exchange: &'e Exchange,
    now: Now,
    key: Key,
    /// The quota that an operator has given it for a while.
    quota: Option<Gcra>,
}

impl FailureLimit {
    /// Looks whether the client may send one more credential that is not known.
    /// Takes nothing.
    ///
    /// # Errors
    /// The limit is exhausted, or has banned the address.
    pub(super) fn check(&self, exchange: &Exchange, now: Instant) -> Result<(), Error> {
        let bucket = self.bucket(exchange, now);
        self.check_ban(&bucket)?;
        match would_refuse(bucket.now, &[self.ask(&bucket)]) {
            Some(refusal) => self.refuse(&bucket, &refusal),
            None => Ok(()),
        }
    }

    /// Charges a credential that does not verify.
    ///
    /// # Errors
    /// The limit is exhausted, or has banned the address.
    pub(super) fn charge(&self, exchange: &Exchange, now: Instant) -> Result<(), Error> {
        let bucket = self.bucket(exchange, now);
        self.check_ban(&bucket)?;
        let admission = match decide(bucket.now, &[self.ask(&bucket)]) {
            Ok(admission) => admission,
            Err(refusal) => return self.refuse(&bucket, &refusal),
        };
        self.record(&bucket, Verdict::Admitted);
        let facts = &mut exchange.facts.lock().limits;
        facts.admitted |= 1 << self.name;
        let standing = admission.nearest().map(|(_, standing)| standing);
        facts.nearest = standing.map(|standing| self.nearest(&bucket, standing));
        Ok(())
    }

    /// Notes that the limit is exhausted. In shadow mode nothing follows.
    ///
    /// # Errors
    /// The limit is live.
    #[cold]
    fn refuse(&self, bucket: &ClientBucket<'_>, refusal: &Refusal) -> Result<(), Error> {
        let bit = 1 << self.name;
        let is_known = bucket.exchange.facts.lock().limits.shadow_refused & bit != 0;
        // A limit in shadow mode is asked twice about a wrong credential.
        if !is_known {
            self.record(bucket, Verdict::Refused);
            self.count_for_ban(bucket);
        }
        if self.limit.shadow {
            bucket.exchange.facts.lock().limits.shadow_refused |= bit;
            return Ok(());
        }
        let standing = Standing::refused(self.gcra(bucket), COST, refusal.retry_after);
        self.note_refused(bucket, standing);
        Err(Error::RateLimited {
            limits: [Arc::clone(&self.limit.name)].into_iter().collect(),
            retry_after: refusal.retry_after,
            status: self.limit.status,
        })
    }

    /// # Errors
    /// The address is banned.
    fn check_ban(&self, bucket: &ClientBucket<'_>) -> Result<(), Error> {
        let Some(bans) = &self.bans else {
            return Ok(());
        };
        match bans.rest(bucket.now, bucket.key) {
            Some(rest) => Err(self.banned(bans, bucket, rest)),
            None => Ok(()),
        }
    }

    /// Notes that a ban with this `rest` refuses the request.
    #[cold]
    fn banned(&self, bans: &Bans, bucket: &ClientBucket<'_>, rest: Duration) -> Error {
        bans.note_refused();
        self.record(bucket, Verdict::Refused);
        self.note_refused(bucket, Standing::banned(self.gcra(bucket), rest));
        let ban = self.limit.ban.as_ref();
        let at_connection = ban.is_some_and(|ban| ban.at == BanAt::Connection);
        Error::Banned {
            limit: Arc::clone(&self.limit.name),
            retry_after: rest,
            closes: at_connection && bucket.exchange.is_direct(),
            status: self.limit.status,
        }
    }

    fn bucket<'e>(&self, exchange: &'e Exchange, now: Instant) -> ClientBucket<'e> {
        let mut builder = self.begun.clone();
        for part in &self.limit.key {
            key::add(&mut builder, part, exchange);
        }
        let (now, key) = (Clock.at(now), builder.finish());
        let given = self.limiter.temporary(now, key);
        ClientBucket {
            exchange,
            now,
            key,
            quota: given.map(|given| given.given.gcra),
        }
    }

    fn ask<'a>(&'a self, bucket: &'a ClientBucket<'_>) -> Ask<'a> {
        Ask {
            quota: bucket.quota.as_ref(),
            ..Ask::new(&self.limiter, bucket.key, COST)
        }
    }

    /// The quota that counts for a bucket.
    fn gcra<'a>(&'a self, bucket: &'a ClientBucket<'_>) -> &'a Gcra {
        bucket.quota.as_ref().unwrap_or(self.limiter.gcra())
    }

    fn nearest(&self, bucket: &ClientBucket<'_>, standing: Standing) -> Nearest {
        Nearest {
            limit: self.name,
            key: bucket.key,
            standing,
        }
    }

    fn note_refused(&self, bucket: &ClientBucket<'_>, standing: Standing) {
        let facts = &mut bucket.exchange.facts.lock().limits;
        facts.refused = 1 << self.name;
        facts.nearest = Some(self.nearest(bucket, standing));
    }

    /// Counts the credential for the list of the heaviest keys.
    fn record(&self, bucket: &ClientBucket<'_>, verdict: Verdict) {
        let describe = |label: &mut Label| self.describe(bucket.exchange, label);
        self.top.record(bucket.now, bucket.key, verdict, describe);
    }

    /// Counts a refusal for the ban of the address.
    fn count_for_ban(&self, bucket: &ClientBucket<'_>) {
        if let (Some(bans), Some(ban)) = (&self.bans, &self.limit.ban) {
            let describe = |label: &mut Label| self.describe(bucket.exchange, label);
            let policy = (ban, self.limit.shadow);
            bans.count(bucket.now, bucket.key, policy, describe);
        }
    }

    /// Writes the parts of the key for people.
    fn describe(&self, exchange: &Exchange, label: &mut Label) {
        let values = self.limit.key.iter();
        values
            .filter_map(|part| key::value(part, exchange))
            .for_each(|value| label.add(&value));
    }
}
