//! Rate limit: all limits of a route decide together, and nothing is taken if
//! one refuses.
//!
//! A request is decided in three steps. [`Inquiry::collect`] finds its keys and
//! turns the route's limits into questions: one bucket each, more with tiers or
//! a candidate. `local` puts those to the limiters of this gateway, `shared`
//! the remaining ones to the store. The outcome is a refusal, or a [`Charge`]
//! that travels with the request and is settled when the response is known.
//! Beside it, facts are noted for the fields of the response, the access line
//! and metrics.
//!
//! Read in this order: `limits` (what a route has), `key` and `overrides` (what
//! of a request decides), `question`, `at_once`, `local`, `plain` (the same, for
//! the usual routes), `delay` (requests that wait before they are decided),
//! `permits` (of limits of requests in flight), `shared`, `charge`,
//! `pieces` and `meter` (costs that are known in the end), `noted` (keys for
//! access lines).
//!
//! # Order
//!
//! All limits of a request decide on one reading of the clock. The limits of
//! this gateway that can refuse decide first and together; those in the store
//! decide after them, since a refund of local tokens costs a few instructions
//! and one of shared tokens a call. Limits in shadow mode and candidates cannot
//! refuse, and each decides for itself.
//!
//! # Cost
//!
//! A decision of local limits is synchronous. It allocates nothing for one or
//! two plain limits: a fixed number of tokens, from one bucket each. A decision
//! that has to wait for the store is boxed; it alone pays for that.
//!
//! # Cancellation
//!
//! The tokens of a request belong to its [`Charge`], which the future of the
//! response holds. A client that leaves drops that future. Plain tokens stay
//! taken then, since the request was made; those of limits that count responses
//! come back unless a server was sent the request. The local tokens of a
//! request that still waits for the store are settled in the same way.

mod at_once;
mod charge;
mod delay;
mod key;
mod limits;
mod local;
mod meter;
mod noted;
mod overrides;
mod permits;
mod pieces;
mod plain;
mod question;
mod questions;
mod report;
mod response;
mod shared;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

use self::{
    charge::Charge,
    delay::DecisionTime,
    local::Collected,
    question::Inquiry,
    response::{LateChanges, ResponseFuture, change, settle},
    shared::Deciding,
};
pub use self::{
    limits::{Buckets, Counter, RouteLimit, RouteLimitState, SharedBuckets, SharedCap},
    overrides::Overrides,
    report::LimitReport,
};
use super::one_of::call_rarely;
use crate::{
    call::Call,
    error::{Error, Failed},
    limit::Clock,
    message::Response,
    policy::HeaderChanges,
    store::Store,
};

/// Adds [`RateLimit`]: the limits of one route, in the order of the
/// configuration. Every worker has a clone; the limits are shared.
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    limits: Arc<[RouteLimit]>,
    /// The store, if some of the limits are in it.
    store: Option<Arc<Store>>,
    /// The longest time for which permits are held after the client has left.
    abandoned_timeout: Duration,
    /// Whether requests may wait for tokens of some of the limits.
    has_delays: bool,
    /// Whether the keys of requests are noted for their access lines.
    notes_keys: bool,
    /// The changes of the route in responses, if a limit reads a field that they
    /// concern: they are made after it was read. `None` if they are made further
    /// in.
    changes: Option<Arc<HeaderChanges>>,
}

impl RateLimitLayer {
    /// A layer for the limits of one route: at most 64, with their tiers.
    /// Permits of limits of requests in flight are held for at most
    /// `abandoned_timeout` while a server works on a request whose client has
    /// left.
    pub fn new(
        limits: impl IntoIterator<Item = RouteLimit>,
        store: Option<Arc<Store>>,
        abandoned_timeout: Duration,
    ) -> Self {
        let mut limits: Vec<_> = limits.into_iter().collect();
        if let Some((first, others)) = limits.split_first_mut() {
            for other in others {
                other.has_parts_of_first = other.has_parts_of(first);
            }
        }
        let limits: Arc<[_]> = limits.into();
        let store = store.filter(|_| limits.iter().any(RouteLimit::is_shared));
        Self {
            has_delays: limits.iter().any(|limit| limit.policy.delay.is_some()),
            limits,
            store,
            abandoned_timeout,
            notes_keys: false,
            changes: None,
        }
    }

    /// The same layer, which notes the keys of requests for their access lines
    /// if `notes_keys` is true.
    #[must_use]
    pub fn noting_keys(self, notes_keys: bool) -> Self {
        Self { notes_keys, ..self }
    }

    /// The same layer, which makes these changes in responses once the limits
    /// have read them.
    #[must_use]
    pub fn with_changes(self, changes: Option<HeaderChanges>) -> Self {
        Self {
            changes: changes.map(Arc::new),
            ..self
        }
    }

    /// Decides by limits of this gateway. A route without limits admits every
    /// request, and charges nothing.
    #[inline(always)]
    fn decide(&self, call: &Call) -> Result<Option<Charge>, Error> {
        if self.limits.is_empty() {
            return Ok(None);
        }
        let inquiry = self.inquiry(call);
        let plain = {
            let mut facts = call.exchange.facts.lock();
            inquiry.decide_plain(&mut facts.limits)
        };
        let outcome = plain.unwrap_or_else(|| decide_at_length(&inquiry));
        outcome.map(Some)
    }

    /// The call before the limits of its route.
    #[inline(always)]
    fn inquiry<'a>(&'a self, call: &'a Call) -> Inquiry<'a> {
        Inquiry {
            limits: &self.limits,
            exchange: &call.exchange,
            now: Clock.at(call.now),
        }
    }

    /// The changes of the route that are made in the response to this call once
    /// the limits have read it.
    #[inline(always)]
    fn late_changes(&self, call: &Call) -> Option<LateChanges> {
        let changes = self.changes.as_ref()?;
        Some((Arc::clone(changes), Arc::clone(&call.exchange)))
    }

    /// The call as it goes on, under this charge.
    #[inline(always)]
    fn admitted(&self, mut call: Call, charge: &mut Option<Charge>) -> Call {
        if let Some(charge) = charge {
            if !charge.permits.is_empty() {
                call.abandoned_timeout = Some(self.abandoned_timeout);
            }
            charge.measure(&mut call.body);
        }
        call
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit {
            inner,
            policy: self.clone(),
        }
    }
}

/// Admits calls at a bounded rate.
///
/// A refused call fails with [`Error::RateLimited`], with [`Error::Banned`] if
/// its key has been refused often, or with [`Error::KeyMissing`] if it lacks a
/// part of a key without which its limit refuses, and never reaches the inner
/// service. If the store cannot decide and the configuration says `deny`, it
/// fails with [`Error::StoreUnavailable`].
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    policy: RateLimitLayer,
}

impl<S> Service<Call> for RateLimit<S>
where
    S: Service<Call, Response = Response, Error = Failed, Future: Send> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = Failed;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        if self.policy.has_delays | self.policy.notes_keys {
            if self.policy.notes_keys {
                self.policy.inquiry(&call).note_keys();
            }
            if self.policy.has_delays {
                return self.call_in_turn(call);
            }
        }
        if let Some(store) = &self.policy.store {
            let inquiry = self.policy.inquiry(&call);
            let deciding = match Collected::of(&inquiry) {
                Ok(collected) => shared::decide(store, &inquiry, collected),
                Err(error) => Deciding::Made(Err(error)),
            };
            return self.proceed_in_time(call, deciding);
        }
        match self.policy.decide(&call) {
            Ok(mut charge) => ResponseFuture::Admitted {
                changes: self.policy.late_changes(&call),
                inner: self.inner.call(self.policy.admitted(call, &mut charge)),
                charge,
            },
            Err(error) => ResponseFuture::Refused { error: Some(error) },
        }
    }
}

/// Decides by limits that are not all plain, or many.
#[inline(never)]
fn decide_at_length(inquiry: &Inquiry<'_>) -> Result<Charge, Error> {
    decide_here(inquiry, Collected::of(inquiry)?)
}

/// Decides by limits of this gateway, whose questions are found.
#[inline]
fn decide_here(inquiry: &Inquiry<'_>, mut collected: Collected) -> Result<Charge, Error> {
    let outcome = inquiry.decide(&mut collected);
    inquiry.exchange.facts.lock().limits = collected.facts;
    outcome
}

impl<S> RateLimit<S>
where
    S: Service<Call, Response = Response, Error = Failed, Future: Send> + Clone + Send + 'static,
{
    /// Proceeds at once, or when the store has answered.
    #[cold]
    fn proceed_in_time(&mut self, call: Call, deciding: Deciding) -> ResponseFuture<S::Future> {
        let pending = match deciding {
            Deciding::Made(Ok(charge)) => {
                let mut charge = Some(charge);
                let changes = self.policy.late_changes(&call);
                let call = self.policy.admitted(call, &mut charge);
                return ResponseFuture::Admitted {
                    inner: call_rarely(&mut self.inner, call),
                    charge,
                    changes,
                };
            }
            Deciding::Made(Err(error)) => return ResponseFuture::Refused { error: Some(error) },
            Deciding::Pending(pending) => pending,
        };
        let (inner, policy) = (self.inner.clone(), self.policy.clone());
        let waiting = async move {
            let charge = pending.decide().await?;
            proceed_late(inner, &policy, call, charge).await
        };
        ResponseFuture::Waiting {
            waiting: Box::pin(waiting),
        }
    }

    /// Decides at once, or when the request has waited for its tokens.
    #[cold]
    fn call_in_turn(&mut self, call: Call) -> ResponseFuture<S::Future> {
        let inquiry = self.policy.inquiry(&call);
        let waiting = match delay::decide(&inquiry, call.now) {
            Ok(DecisionTime::Now(collected)) => {
                let deciding = match &self.policy.store {
                    Some(store) => shared::decide(store, &inquiry, collected),
                    None => Deciding::Made(decide_here(&inquiry, collected)),
                };
                return self.proceed_in_time(call, deciding);
            }
            Ok(DecisionTime::Later(waiting)) => waiting,
            Err(error) => return ResponseFuture::Refused { error: Some(error) },
        };
        let (inner, policy) = (self.inner.clone(), self.policy.clone());
        let waiting = async move {
            let charge = waiting.decide(policy.store.as_ref()).await?;
            proceed_late(inner, &policy, call, charge).await
        };
        ResponseFuture::Waiting {
            waiting: Box::pin(waiting),
        }
    }
}

/// Goes on with a call that has waited for its admission.
async fn proceed_late<S>(
    mut inner: S,
    policy: &RateLimitLayer,
    call: Call,
    charge: Charge,
) -> Result<Response, Failed>
where
    S: Service<Call, Response = Response, Error = Failed>,
{
    let mut charge = Some(charge);
    let mut changes = policy.late_changes(&call);
    let call = Call {
        now: Instant::now(),
        ..policy.admitted(call, &mut charge)
    };
    let mut response = call_rarely(inner.ready().await?, call).await;
    settle(&mut charge, &mut response);
    change(&mut changes, &mut response);
    response
}
