//! Concurrency limit: a permit for each request in flight, and a bounded queue
//! for a bounded time when there is none.
//!
//! A request that finds no permit and no room in the queue is refused with 503
//! (`cap`); one that waited in the queue for as long as it may, with 503
//! (`queue_timeout`), or with 504 (`total_timeout`) if its deadline came first.
//! A permit is held to the end of the response body. If the client leaves
//! before the response, the permit is held for as long as a server goes on to
//! work on the request, where that is known, and at most as long as an attempt
//! may take.
//!
//! tower's `ConcurrencyLimit` makes callers wait in `poll_ready`, without a
//! bound, and gives the permit back with the response head. This one queues the
//! request and not the connection, serves the queue by priority and in turns
//! between keys, and may follow the measured latency.
//!
//! * `limit` counts requests in flight and owns the queue; all workers share
//!   it, and it outlives reloads.
//! * `queue` says whose turn it is.
//! * `permit` and `wait` are guards: a request in flight, and one in the queue.
//! * `adaptive` measures latencies and moves the limit.
//!
//! This file is the layer: a permit before the inner service is called, held to
//! the end of the response body.
//!
//! # Order
//!
//! It belongs inside of the buffers, so that a client that sends slowly holds
//! no permit, and outside of retries, so that one permit covers all attempts at
//! a request. A route and its upstream may have a limit each; a request then
//! takes the permit of the route first.
//!
//! # Cancellation
//!
//! A request that is dropped while it waits leaves the queue, and its slot
//! there is free at once. A permit that is handed to a request in the moment in
//! which its client leaves goes on to the next one. A request that is dropped
//! in flight gives its permit back, or leaves it to the task that waits for the
//! server.

mod adaptive;
mod limit;
mod permit;
mod queue;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod wait;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

pub use self::{limit::ConcurrencyLimit, permit::Permit, queue::Turn, wait::Queued};
use super::{key, one_of::call_rarely};
use crate::{
    call::{Call, Exchange},
    error::{Error, Failed},
    limit::KeyBuilder,
    message::Response,
    policy::{KeyPart, Priority},
};

/// Adds [`Concurrency`].
#[derive(Debug, Clone)]
pub struct ConcurrencyLayer {
    applied: Arc<Applied>,
}

/// A limit as a route applies it.
#[derive(Debug)]
struct Applied {
    /// Shared by all layers that apply it.
    limit: Arc<ConcurrencyLimit>,
    /// The longest time for which a permit is held after the client has left;
    /// `None` drops it with the request.
    abandoned_timeout: Option<Duration>,
    /// The queue; `None` refuses requests that find no permit.
    queueing: Option<Queueing>,
}

/// How requests that find no permit wait in the queue.
#[derive(Debug)]
pub struct Queueing {
    /// Their priority.
    pub priority: Priority,
    /// The key between which the queue takes turns.
    pub fair_by: FairBy,
}

/// The key between which a queue takes turns. Requests that lack a part of it
/// share one key.
#[derive(Debug, Clone)]
pub struct FairBy {
    /// A key that begins with the name of the limit.
    pub begun: KeyBuilder,
    /// The parts of the key; without any, the first request in the queue is the
    /// first one out.
    pub parts: Vec<KeyPart>,
}

impl ConcurrencyLayer {
    /// Applies `limit`, which other layers may share. Requests that find no
    /// permit wait as `queueing` says, and are refused without it.
    /// `abandoned_timeout` is how long a permit is held, at most, for a server
    /// that works on a request whose client has left; without it, not at all.
    pub fn new(
        limit: Arc<ConcurrencyLimit>,
        abandoned_timeout: Option<Duration>,
        queueing: Option<Queueing>,
    ) -> Self {
        Self {
            applied: Arc::new(Applied {
                limit,
                abandoned_timeout,
                queueing,
            }),
        }
    }
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = Concurrency<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Concurrency {
            inner,
            applied: Arc::clone(&self.applied),
        }
    }
}

impl Applied {
    /// Puts a request into the queue.
    ///
    /// # Errors
    /// [`Error::ConcurrencyLimited`] if there is no queue or no room in it.
    fn enqueue(&self, call: &Call) -> Result<Queued, Failed> {
        let queueing = self.queueing.as_ref();
        let queueing = queueing.ok_or_else(|| self.limit.refusal())?;
        self.limit
            .enqueue(queueing.turn(&call.exchange), call.deadline)
    }
}

impl Queueing {
    /// The part of the queue that a request joins.
    ///
    /// A key of 0 is that of every request if the queue takes no turns.
    fn turn(&self, exchange: &Exchange) -> Turn {
        let FairBy { begun, parts } = &self.fair_by;
        if parts.is_empty() {
            return Turn {
                priority: self.priority,
                key: 0,
            };
        }
        let mut builder = begun.clone();
        for part in parts {
            key::add(&mut builder, part, exchange);
        }
        Turn {
            priority: self.priority,
            key: builder.finish().hash(),
        }
    }
}

/// Bounds the number of requests in the inner service.
#[derive(Debug, Clone)]
pub struct Concurrency<S> {
    inner: S,
    applied: Arc<Applied>,
}

impl<S> Service<Call> for Concurrency<S>
where
    S: Service<Call, Response = Response, Error = Failed> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Failed;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, mut call: Call) -> Self::Future {
        let applied = &*self.applied;
        // A layer further out may hold something for as long.
        call.abandoned_timeout = call.abandoned_timeout.or(applied.abandoned_timeout);
        if let Some(permit) = applied.limit.try_acquire(call.now) {
            let held = HeldPermit::new(permit, &call);
            return ResponseFuture::InFlight {
                inner: self.inner.call(call),
                held: Some(held),
            };
        }
        match applied.enqueue(&call) {
            Err(failed) => ResponseFuture::Refused {
                failed: Some(failed),
            },
            Ok(queued) => ResponseFuture::Queued {
                result: Box::pin(wait(queued, call, self.inner.clone())),
            },
        }
    }
}

/// Waits for a permit, then calls `inner`.
///
/// The time in the queue is noted in the exchange whether a permit comes or
/// not. The inner service is polled for readiness again, since its earlier
/// readiness belonged to the service that this one is a clone of.
///
/// # Errors
/// Fails if the wait has ended without a permit, and with the error of `inner`.
async fn wait<S>(queued: Queued, mut call: Call, mut inner: S) -> Result<Response, Failed>
where
    S: Service<Call, Response = Response, Error = Failed>,
{
    let since = Instant::now();
    let permit = queued.acquire().await;
    call.now = Instant::now();
    call.exchange.queued(call.now - since);
    let held = HeldPermit::new(permit?, &call);
    let mut result = call_rarely(inner.ready().await?, call).await;
    held.responded(&mut result);
    result
}

/// The permit of a request that has no response yet.
struct HeldPermit {
    /// `None` once the response holds the permit.
    permit: Option<Permit>,
    /// Knows whether a server works on after the client has left. It also has
    /// the time of the last attempt, which is measured in place of the whole
    /// time.
    exchange: Arc<Exchange>,
}

impl HeldPermit {
    /// Holds `permit` for the request of `call`.
    fn new(permit: Permit, call: &Call) -> Self {
        Self {
            permit: Some(permit),
            exchange: Arc::clone(&call.exchange),
        }
    }

    /// Moves the permit into the body of the response.
    ///
    /// A failed request gives its permit back here. A response holds it to the
    /// end of its body.
    fn responded(mut self, result: &mut Result<Response, Failed>) {
        // The client left in the middle of its body. A server may work on the
        // part that it has: see the drop.
        if matches!(result, Err(failed) if failed.error == Error::ClientGone) {
            return;
        }
        let Some(mut permit) = self.permit.take() else {
            return;
        };
        if permit.is_measured() {
            let last = self.exchange.progress.last_of_several.get();
            permit.responded(result, last.copied());
        }
        if let Ok(response) = result {
            permit.held_by(&mut response.body);
        }
    }
}

impl Drop for HeldPermit {
    /// Dropped with its permit, the client has left. The inner future was
    /// dropped before, and has noted by then whether a server works on.
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.exchange.outlive(|| permit.abandon());
        }
    }
}

pin_project! {
    /// A request before, in or behind the queue.
    #[project = StateProj]
    pub enum ResponseFuture<F> {
        /// Neither a permit nor room in the queue was left.
        Refused { failed: Option<Failed> },
        /// Waits for a permit, then for the response. Boxed, so that requests
        /// that need not wait do not carry its state.
        Queued { result: Pin<Box<dyn Future<Output = Result<Response, Failed>> + Send>> },
        /// Has a permit. `inner` is dropped first.
        InFlight { #[pin] inner: F, held: Option<HeldPermit> },
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, Failed>>,
{
    type Output = F::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            StateProj::Refused { failed } => match failed.take() {
                Some(failed) => Poll::Ready(Err(failed)),
                None => Poll::Pending,
            },
            StateProj::Queued { result } => result.as_mut().poll(cx),
            StateProj::InFlight { inner, held } => {
                let mut result = ready!(inner.poll(cx));
                if let Some(held) = held.take() {
                    held.responded(&mut result);
                }
                Poll::Ready(result)
            }
        }
    }
}

impl<F> std::fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Refused { .. } => "Refused",
            Self::Queued { .. } => "Queued",
            Self::InFlight { .. } => "InFlight",
        })
    }
}
