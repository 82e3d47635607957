//! The limit on credentials that do not verify.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::super::key;
use crate::{
    call::Exchange,
    error::Error,
    limit::{Admission, Ask, Bans, Clock, Key, KeyBuilder, Limiter, Refusal, decide},
    policy::{BanAt, Limit},
};

/// Bounds the credentials that do not verify, for each address of a client, and
/// counts what it refuses for its bans. In shadow mode it refuses nothing.
#[derive(Debug)]
pub struct FailureLimit {
    /// The limit that is charged. Its key is the address of the client.
    pub limit: Arc<Limit>,
    /// Its buckets.
    pub limiter: Limiter,
    /// A key that has begun with its name.
    pub begun: KeyBuilder,
    /// Its bans; `None` if it bans nobody.
    pub bans: Option<Arc<Bans>>,
}

impl FailureLimit {
    /// Looks whether the client may send one more credential that is not known.
    /// Takes nothing.
    ///
    /// # Errors
    /// The limit is exhausted, or has banned the address.
    pub(super) fn check(&self, exchange: &Exchange, now: Instant) -> Result<(), Error> {
        if let Some(bans) = &self.bans
            && let Some(rest) = bans.rest(Clock.at(now), self.key(exchange))
        {
            bans.note_refused();
            return Err(self.banned(exchange, rest));
        }
        match self.ask(exchange, now) {
            Ok(admission) => admission.refund(Clock.at(now), [&self.limiter]),
            Err(refusal) if !self.limit.shadow => return Err(self.error(&refusal)),
            Err(_) => {}
        }
        Ok(())
    }

    /// Charges a credential that does not verify.
    ///
    /// # Errors
    /// The limit is exhausted.
    pub(super) fn charge(&self, exchange: &Exchange, now: Instant) -> Result<(), Error> {
        match self.ask(exchange, now) {
            Err(refusal) if !self.limit.shadow => Err(self.error(&refusal)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn ask(&self, exchange: &Exchange, now: Instant) -> Result<Admission, Refusal> {
        let (now, key) = (Clock.at(now), self.key(exchange));
        let decided = decide(now, &[Ask::new(&self.limiter, key, 1)]);
        if let (Err(_), Some(bans), Some(ban)) = (&decided, &self.bans, &self.limit.ban) {
            bans.count(now, key, (ban, self.limit.shadow), |label| {
                let parts = self.limit.key.iter();
                parts
                    .filter_map(|part| key::value(part, exchange))
                    .for_each(|value| label.add(&value));
            });
        }
        decided
    }

    fn key(&self, exchange: &Exchange) -> Key {
        let mut builder = self.begun.clone();
        for part in &self.limit.key {
            key::add(&mut builder, part, exchange);
        }
        builder.finish()
    }

    fn banned(&self, exchange: &Exchange, rest: Duration) -> Error {
        let at_connection = self
            .limit
            .ban
            .is_some_and(|ban| ban.at == BanAt::Connection);
        Error::Banned {
            limit: Arc::clone(&self.limit.name),
            retry_after: rest,
            closes: at_connection && exchange.is_direct(),
            status: self.limit.status,
        }
    }

    fn error(&self, refusal: &Refusal) -> Error {
        Error::RateLimited {
            limits: [Arc::clone(&self.limit.name)].into_iter().collect(),
            retry_after: refusal.retry_after,
            status: self.limit.status,
        }
    }
}
