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

/// The bucket of a client, and the quota that an operator has given it for a
/// while.
struct ClientBucket {
    key: Key,
    quota: Option<Gcra>,
}

impl FailureLimit {
    /// Looks whether the client may send one more credential that is not known.
    /// Takes nothing.
    ///
    /// # Errors
    /// The limit is exhausted, or has banned the address.
    pub(super) fn check(&self, exchange: &Exchange, now: Instant) -> Result<(), Error> {
        let now = Clock.at(now);
        let bucket = self.bucket(exchange, now);
        if let Some(bans) = &self.bans
            && let Some(rest) = bans.rest(now, bucket.key)
        {
            bans.note_refused();
            return Err(self.banned(exchange, now, &bucket, rest));
        }
        match would_refuse(now, &[self.ask(&bucket)]) {
            Some(refusal) => self.refuse(exchange, now, &bucket, &refusal),
            None => Ok(()),
        }
    }

    /// Charges a credential that does not verify.
    ///
    /// # Errors
    /// The limit is exhausted.
    pub(super) fn charge(&self, exchange: &Exchange, now: Instant) -> Result<(), Error> {
        let now = Clock.at(now);
        let bucket = self.bucket(exchange, now);
        let admission = match decide(now, &[self.ask(&bucket)]) {
            Ok(admission) => admission,
            Err(refusal) => return self.refuse(exchange, now, &bucket, &refusal),
        };
        self.record(exchange, now, &bucket, Verdict::Admitted);
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
    fn refuse(
        &self,
        exchange: &Exchange,
        now: Now,
        bucket: &ClientBucket,
        refusal: &Refusal,
    ) -> Result<(), Error> {
        let bit = 1 << self.name;
        let facts = &mut exchange.facts.lock().limits;
        // A limit in shadow mode is asked twice about a wrong credential.
        if facts.shadow_refused & bit == 0 {
            self.record(exchange, now, bucket, Verdict::Refused);
            if let (Some(bans), Some(ban)) = (&self.bans, &self.limit.ban) {
                let describe = |label: &mut _| self.describe(exchange, label);
                bans.count(now, bucket.key, (ban, self.limit.shadow), describe);
            }
        }
        if self.limit.shadow {
            facts.shadow_refused |= bit;
            return Ok(());
        }
        facts.refused = bit;
        let standing = Standing::refused(self.gcra(bucket), COST, refusal.retry_after);
        facts.nearest = Some(self.nearest(bucket, standing));
        Err(Error::RateLimited {
            limits: [Arc::clone(&self.limit.name)].into_iter().collect(),
            retry_after: refusal.retry_after,
            status: self.limit.status,
        })
    }

    /// The refusal of an address by its ban, of which `rest` is left.
    #[cold]
    fn banned(
        &self,
        exchange: &Exchange,
        now: Now,
        bucket: &ClientBucket,
        rest: Duration,
    ) -> Error {
        self.record(exchange, now, bucket, Verdict::Refused);
        let facts = &mut exchange.facts.lock().limits;
        facts.refused = 1 << self.name;
        let standing = Standing::banned(self.gcra(bucket), rest);
        facts.nearest = Some(self.nearest(bucket, standing));
        let ban = self.limit.ban.as_ref();
        let is_closing = ban.is_some_and(|ban| ban.at == BanAt::Connection);
        Error::Banned {
            limit: Arc::clone(&self.limit.name),
            retry_after: rest,
            closes: is_closing && exchange.is_direct(),
            status: self.limit.status,
        }
    }

    fn gcra<'a>(&'a self, bucket: &'a ClientBucket) -> &'a Gcra {
        bucket.quota.as_ref().unwrap_or(self.limiter.gcra())
    }

    fn bucket(&self, exchange: &Exchange, now: Now) -> ClientBucket {
        let mut builder = self.begun.clone();
        for part in &self.limit.key {
            key::add(&mut builder, part, exchange);
        }
        let key = builder.finish();
        let given = self.limiter.temporary(now, key);
        ClientBucket {
            key,
            quota: given.map(|given| given.given.gcra),
        }
    }

    fn ask<'a>(&'a self, bucket: &'a ClientBucket) -> Ask<'a> {
        Ask {
            quota: bucket.quota.as_ref(),
            ..Ask::new(&self.limiter, bucket.key, COST)
        }
    }

    fn nearest(&self, bucket: &ClientBucket, standing: Standing) -> Nearest {
        Nearest {
            limit: self.name,
            key: bucket.key,
            standing,
        }
    }

    /// Counts the credential for the list of the heaviest keys.
    fn record(&self, exchange: &Exchange, now: Now, bucket: &ClientBucket, verdict: Verdict) {
        let describe = |label: &mut _| self.describe(exchange, label);
        self.top.record(now, bucket.key, verdict, describe);
    }

    /// Writes the parts of the key of this client.
    fn describe(&self, exchange: &Exchange, label: &mut Label) {
        for part in &self.limit.key {
            if let Some(value) = key::value(part, exchange) {
                label.add(&value);
            }
        }
    }
}
