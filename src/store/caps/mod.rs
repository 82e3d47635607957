//! Caps on requests in flight that several gateways share: a permit is a lease
//! in the store, which its gateway renews, and which ends with its gateway.
//!
//! * `table`: the keys that have requests in flight here, and why there is
//!   never one too many.
//! * `caps.lua` and `question`: the count at the store.
//! * `keeper`: the one task that talks to the store about them.
//!
//! This file is what a request calls.
//!
//! # One task, one call after the other
//!
//! All requests of a process that begin or end while a call is on its way share
//! the next one, whatever their keys and their workers are. So the number of
//! calls is bounded by the round trips and not by the requests, and what the
//! store hears about a key is in order. A request waits for at most the rest of
//! one call and for its own.
//!
//! # Failures
//!
//! A request that has no reply within the store's `timeout` goes by `on_error`:
//! `deny` refuses it, and the others admit it on the count of this gateway
//! alone, which has admitted it already.
//!
//! # Cancellation
//!
//! A request that is dropped while it waits leaves its wish behind: the next
//! question does not have it, and a permit that comes for it is returned.

mod keeper;
mod question;
mod table;
#[cfg(test)]
mod tests;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use smallvec::SmallVec;
use tokio::time::Instant;

use self::table::{CapDecision, CapOutcome, CapRefused};
pub use self::table::{CapTable, SharedPermit};
pub(super) use self::{
    question::CapScript,
    table::{CapQuestion, CapReply, GatewayId},
};
use super::{Store, name::Name};
use crate::{
    limit::{Clock, Standing},
    policy::StoreOnError,
    runtime::timer::timeout_at,
};

/// `Retry-After` while the store is unavailable, as for rates.
const SOON: Duration = Duration::from_secs(1);

/// The question of one request to one shared cap.
#[derive(Debug, Clone)]
pub struct CapAsk {
    /// The name of the limit or tier.
    pub limit: Arc<str>,
    /// The key.
    pub name: Name,
    /// The most requests in flight that it may have.
    pub most: NonZeroU32,
}

/// Questions that decide together.
pub type CapAsks = SmallVec<[CapAsk; 1]>;

/// The permits of a request, in the order of its questions, each with how the
/// key stands over all gateways; `None` if only this gateway knows of it.
pub type SharedPermits = SmallVec<[(SharedPermit, Option<Standing>); 1]>;

/// Why a request has no permits of shared caps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CapsRefused {
    /// The questions with these indices found all permits taken.
    Full(SmallVec<[usize; 1]>),
    /// The store does not answer, and `on_error` refuses then.
    Unavailable {
        /// When the store is asked again, from now.
        retry_after: Duration,
    },
}

impl Store {
    /// Acquires the permits of all `asks`, or none: those that were granted are
    /// given back at a refusal.
    ///
    /// Waits for the store, for at most its timeout.
    ///
    /// # Errors
    /// All permits of a key are taken, or the store does not answer and
    /// `on_error` refuses then.
    pub async fn acquire(self: &Arc<Self>, asks: &CapAsks) -> Result<SharedPermits, CapsRefused> {
        let deadline = Instant::now() + self.settings.timeout;
        let client = self.client();
        let permit = client.permit();
        if permit.is_none() {
            self.metrics.failed("overload");
        }
        let mut decisions: SmallVec<[Option<CapDecision>; 1]> = SmallVec::new();
        for ask in asks {
            let is_asked =
                permit.is_some() && !self.is_key_left_alone(&ask.name.cap_key(&ask.limit));
            let now = Clock.now().as_nanos();
            let decide = || self.caps.acquire(now, ask.name, &ask.limit, ask.most);
            decisions.push(is_asked.then(decide));
        }
        self.keep_caps();
        let mut permits = SharedPermits::new();
        let mut full = SmallVec::new();
        for (index, (ask, decision)) in asks.iter().zip(decisions).enumerate() {
            match self.outcome_of_cap(decision, deadline).await {
                Ok((permit, standing)) => permits.push((permit, Some(standing))),
                Err(CapRefused::Full) => full.push(index),
                Err(CapRefused::Unavailable) => match self.settings.on_error {
                    StoreOnError::Deny => {
                        return Err(CapsRefused::Unavailable { retry_after: SOON });
                    }
                    StoreOnError::Local | StoreOnError::Allow => {
                        let permit = self.caps.admit_alone(ask.name, &ask.limit, ask.most);
                        permits.push((permit, None));
                    }
                },
            }
        }
        match full.is_empty() {
            true => Ok(permits),
            false => Err(CapsRefused::Full(full)),
        }
    }

    /// Waits for the outcome of a decision. One that is not asked, or not
    /// answered in time, has none.
    async fn outcome_of_cap(&self, decision: Option<CapDecision>, deadline: Instant) -> CapOutcome {
        match decision {
            None => Err(CapRefused::Unavailable),
            Some(CapDecision::Granted(permit, standing)) => {
                self.metrics.saved("lease");
                Ok((permit, standing))
            }
            Some(CapDecision::Waiting(receiver)) => match timeout_at(deadline, receiver).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) | Err(_) => Err(CapRefused::Unavailable),
            },
        }
    }
}
