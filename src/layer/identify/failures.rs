//! The limit on credentials that do not verify.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::key;
use crate::{
    call::Exchange,
    error::Error,
    limit::{Admission, Ask, Clock, Key, KeyBuilder, Limiter, Refusal, decide},
    policy::Limit,
};

/// Bounds the credentials that do not verify, for each address of a client. In
/// shadow mode it refuses nothing.
#[derive(Debug)]
pub struct FailureLimit {
    /// The limit that is charged. Its key is the address of the client.
    pub limit: Arc<Limit>,
    /// Its buckets.
    pub limiter: Limiter,
    /// A key that has begun with its name.
    pub begun: KeyBuilder,
}

impl FailureLimit {
    /// Looks whether the client may send one more credential that is not known.
    /// Takes nothing.
    ///
    /// # Errors
    /// The limit is exhausted.
    pub(super) fn check(&self, exchange: &Exchange, now: Instant) -> Result<(), Error> {
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
        let ask = Ask::new(&self.limiter, self.key(exchange), 1);
        decide(Clock.at(now), &[ask])
    }

    fn key(&self, exchange: &Exchange) -> Key {
        let mut builder = self.begun.clone();
        for part in &self.limit.key {
            key::add(&mut builder, part, exchange);
        }
        builder.finish()
    }

    fn error(&self, refusal: &Refusal) -> Error {
        Error::RateLimited {
            limits: [Arc::clone(&self.limit.name)].into_iter().collect(),
            retry_after: refusal.retry_after,
            status: self.limit.status,
        }
    }
}
