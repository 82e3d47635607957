//! Rate limit: all of a route's limits decide together; nothing is taken if one refuses.
//!
//! What was taken is given back when the request is turned away further in, before any server could serve it. Read in
//! this order: `key` (who is asking), `cost` (what a request takes), `decision` (the usual one), `overrides` (who has
//! other numbers), `counting` (answers instead of requests), `trial` (the decision with all of these), `shared` (limits
//! that several gateways share).

mod cost;
mod counting;
mod decision;
mod key;
mod overrides;
mod shared;
mod trial;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::StatusCode;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

pub use self::{
    cost::Cost,
    counting::Statuses,
    key::Missing,
    overrides::{Overrides, Pattern},
    shared::{SharedBuckets, SharedPolicy},
};
use self::{decision::Taken, shared::Deciding};
use super::key::KeyPart;
use crate::{
    call::Call,
    error::{Error, Failed, Seen},
    limit::{Clock, KeyBuilder, Limiter, Top},
    message::Response,
    store::Store,
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
    /// Only answers with these statuses use up tokens; `None`: every request does.
    pub count: Option<Statuses>,
    /// Who has other numbers.
    pub overrides: Option<Arc<Overrides>>,
    /// Wider networks of IPv6 clients.
    pub tiers: Vec<Tier>,
    /// Its buckets, and those of its tiers, are in the store.
    pub shared: Option<SharedPolicy>,
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
            && self.shared.is_none()
            && self.tiers.is_empty()
    }
}

/// Adds [`RateLimit`].
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    limits: Arc<[LimitPolicy]>,
    /// All of them are.
    is_plain: bool,
    /// Where some of them are shared.
    store: Option<Arc<Store>>,
}

impl RateLimitLayer {
    /// Of a route's limits, at most 64 with their tiers.
    pub fn new(limits: impl IntoIterator<Item = LimitPolicy>, store: Option<Arc<Store>>) -> Self {
        let limits: Arc<[_]> = limits.into_iter().collect();
        let store = store.filter(|_| limits.iter().any(|limit| limit.shared.is_some()));
        Self {
            is_plain: limits.iter().all(LimitPolicy::is_plain),
            limits,
            store,
        }
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

/// Lets calls through at a bounded pace.
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
        if self.policy.limits.is_empty() {
            return ResponseFuture::Admitted {
                inner: self.inner.call(call),
                taken: None,
            };
        }
        let decided = decision::admit(&self.policy, &call.exchange);
        if self.policy.store.is_some() {
            return self.ask_store(call, decided);
        }
        match decided {
            Ok(taken) => ResponseFuture::Admitted {
                inner: self.inner.call(call),
                taken: Some(taken),
            },
            Err(error) => ResponseFuture::Refused { error: Some(error) },
        }
    }
}

impl<S> RateLimit<S>
where
    S: Service<Call, Response = Response, Error = Failed, Future: Send> + Clone + Send + 'static,
{
    /// After the local limits the shared ones. What has to wait for the store is boxed: it alone pays for that.
    #[cold]
    fn ask_store(
        &mut self,
        call: Call,
        decided: Result<Taken, Error>,
    ) -> ResponseFuture<S::Future> {
        let decided = decided.map(|taken| shared::admit(&self.policy, &call.exchange, taken));
        match decided {
            Ok(Deciding::Made(Ok(taken))) => ResponseFuture::Admitted {
                inner: self.inner.call(call),
                taken: Some(taken),
            },
            Ok(Deciding::Made(Err(error))) | Err(error) => {
                ResponseFuture::Refused { error: Some(error) }
            }
            Ok(Deciding::Pending(admitting)) => {
                let mut inner = self.inner.clone();
                let asked = async move {
                    let taken = admitting.await?;
                    let call = Call {
                        now: Instant::now(),
                        ..call
                    };
                    ResponseFuture::Admitted {
                        inner: inner.ready().await?.call(call),
                        taken: Some(taken),
                    }
                    .await
                };
                ResponseFuture::Asking {
                    asked: Box::pin(asked),
                }
            }
        }
    }
}

pin_project! {
    /// A call that was admitted or refused.
    #[project = State]
    pub enum ResponseFuture<F> {
        /// Turned away.
        Refused { error: Option<Error> },
        /// Let through.
        Admitted { #[pin] inner: F, taken: Option<Taken> },
        /// Waiting for the store, then for the rest.
        Asking { asked: Pin<Box<dyn Future<Output = Result<Response, Failed>> + Send>> },
    }
}

impl<F: Future<Output = Result<Response, Failed>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            State::Refused { error } => {
                Poll::Ready(Err(error.take().unwrap_or(Error::ClientGone).into()))
            }
            State::Asking { asked } => asked.as_mut().poll(cx),
            State::Admitted { inner, taken } => {
                let answer = ready!(inner.poll(cx));
                match (&answer, taken.take()) {
                    (
                        Ok(response),
                        Some(Taken {
                            more: Some(more), ..
                        }),
                    ) => more.answered(response.status),
                    (Err(failed), Some(taken)) if failed.seen == Seen::No => {
                        taken.give_back(Clock.now())
                    }
                    (
                        Err(failed),
                        Some(Taken {
                            more: Some(more), ..
                        }),
                    ) if !failed.error.is_by_client() => more.not_answered(),
                    _ => {}
                }
                Poll::Ready(answer)
            }
        }
    }
}
