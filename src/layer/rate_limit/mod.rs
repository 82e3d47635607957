//! Rate limit: all of a route's limits decide together; nothing is taken if one refuses.
//!
//! What was taken is given back when the request is turned away further in, before any server could serve it. Read in
//! this order: `key` (who is asking), `cost` (what a request takes), `decision` (the usual one), `overrides` (who has
//! other numbers), `counting` (answers instead of requests), `trial` (the decision with all of these).

mod cost;
mod counting;
mod decision;
mod key;
mod overrides;
mod trial;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::StatusCode;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use self::decision::Taken;
pub use self::{
    cost::Cost,
    counting::Statuses,
    key::{KeyPart, Missing},
    overrides::{Overrides, Pattern},
};
use crate::{
    call::Call,
    error::Error,
    limit::{Clock, KeyBuilder, Limiter, Top},
    message::Response,
};

/// One limit as a route applies it.
#[derive(Debug, Clone)]
pub struct LimitPolicy {
    /// The buckets.
    pub limiter: Limiter,
    /// Who asks most.
    pub top: Arc<Top>,
    /// Place of its name among those of the route's limits and tiers; the names of its own tiers follow.
    pub name: usize,
    /// A key that has begun with the limit's name.
    pub begun: KeyBuilder,
    /// What tells one bucket from another; empty: one for everyone.
    pub key: Vec<KeyPart>,
    /// What to do for a part that is absent or empty.
    pub missing: Missing,
    /// Status of a refusal.
    pub status: StatusCode,
    /// Tokens that a request takes.
    pub cost: Cost,
    /// Decides and is told, and refuses nothing.
    pub shadow: bool,
    /// Buckets of other numbers that are on trial.
    pub candidate: Option<Limiter>,
    /// Only answers with these statuses take tokens; `None`: every request does.
    pub count: Option<Statuses>,
    /// Who has other numbers.
    pub overrides: Option<Arc<Overrides>>,
    /// Wider networks of IPv6 clients.
    pub tiers: Vec<Tier>,
}

/// A wider network of IPv6 clients, with buckets of its own.
#[derive(Debug, Clone)]
pub struct Tier {
    /// The buckets.
    pub limiter: Limiter,
    /// Who asks most.
    pub top: Arc<Top>,
    /// A key that has begun with the tier's name.
    pub begun: KeyBuilder,
    /// Bits of the address that count.
    pub prefix: u8,
}

impl LimitPolicy {
    /// Takes a fixed cost from one bucket, and refuses when it is not there: nothing else.
    fn is_plain(&self) -> bool {
        matches!(self.cost, Cost::Fixed(_))
            && !self.shadow
            && self.candidate.is_none()
            && self.count.is_none()
            && self.overrides.is_none()
            && self.tiers.is_empty()
    }
}

/// Adds [`RateLimit`].
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    limits: Arc<[LimitPolicy]>,
    /// All of them are.
    is_plain: bool,
}

impl RateLimitLayer {
    /// Of a route's limits, at most 64 with their tiers.
    pub fn new(limits: impl IntoIterator<Item = LimitPolicy>) -> Self {
        let limits: Arc<[_]> = limits.into_iter().collect();
        Self { is_plain: limits.iter().all(LimitPolicy::is_plain), limits }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit { inner, policy: self.clone() }
    }
}

/// Lets calls through at a bounded pace.
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    policy: RateLimitLayer,
}

impl<S> Service<Call> for RateLimit<S>
where
    S: Service<Call, Response = Response, Error = Error>,
{
    type Response = Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        if self.policy.limits.is_empty() {
            return ResponseFuture::Admitted { inner: self.inner.call(call), taken: None };
        }
        match decision::admit(&self.policy, &call.exchange) {
            Ok(taken) => ResponseFuture::Admitted { inner: self.inner.call(call), taken: Some(taken) },
            Err(error) => ResponseFuture::Refused { error: Some(error) },
        }
    }
}

pin_project! {
    /// A call that was admitted or refused.
    #[project = State]
    #[derive(Debug)]
    pub enum ResponseFuture<F> {
        /// Turned away.
        Refused { error: Option<Error> },
        /// Let through.
        Admitted { #[pin] inner: F, taken: Option<Taken> },
    }
}

impl<F: Future<Output = Result<Response, Error>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            State::Refused { error } => Poll::Ready(Err(error.take().unwrap_or(Error::ClientGone))),
            State::Admitted { inner, taken } => {
                let answer = ready!(inner.poll(cx));
                match (&answer, taken.take()) {
                    (Ok(response), Some(Taken { limits, more: Some(more), .. })) => {
                        more.charge(&limits, response.status);
                    }
                    (Err(error), Some(taken)) if error.served_nothing() => taken.give_back(Clock.now()),
                    _ => {}
                }
                Poll::Ready(answer)
            }
        }
    }
}
