//! The layer: a permit before the inner service is called, held to the end of
//! the response body.

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

use super::{super::key, limit::ConcurrencyLimit, permit::Permit, queue::Turn, wait::Queued};
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
    applied: Option<Arc<Applied>>,
}

/// A limit as a route applies it.
#[derive(Debug)]
struct Applied {
    limit: Arc<ConcurrencyLimit>,
    abandoned_timeout: Option<Duration>,
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
    /// Lets every request through.
    pub fn unlimited() -> Self {
        Self { applied: None }
    }

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
            applied: Some(Arc::new(Applied {
                limit,
                abandoned_timeout,
                queueing,
            })),
        }
    }
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = Concurrency<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Concurrency {
            inner,
            applied: self.applied.clone(),
        }
    }
}

impl Applied {
    fn enqueue(&self, call: &Call) -> Result<Queued, Failed> {
        let queueing = self.queueing.as_ref();
        let queueing = queueing.ok_or_else(|| self.limit.refusal())?;
        self.limit
            .enqueue(queueing.turn(&call.exchange), call.deadline)
    }
}

impl Queueing {
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
    applied: Option<Arc<Applied>>,
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

    fn call(&mut self, mut call: Call) -> Self::Future {
        let Some(applied) = &self.applied else {
            return ResponseFuture::InFlight {
                inner: self.inner.call(call),
                held: None,
            };
        };
        call.abandoned_timeout = applied.abandoned_timeout;
        if let Some(permit) = applied.limit.try_acquire(call.now) {
            let held = Some(HeldPermit::new(permit, &call));
            return ResponseFuture::InFlight {
                inner: self.inner.call(call),
                held,
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
async fn wait<S>(queued: Queued, mut call: Call, mut inner: S) -> Result<Response, Failed>
where
    S: Service<Call, Response = Response, Error = Failed>,
{
    let since = Instant::now();
    let permit = queued.acquire().await;
    call.now = Instant::now();
    call.exchange.queued(call.now - since);
    let held = HeldPermit::new(permit?, &call);
    let mut result = inner.ready().await?.call(call).await;
    held.answered(&mut result);
    result
}

/// The permit of a request that has no response yet.
struct HeldPermit {
    permit: Option<Permit>,
    exchange: Arc<Exchange>,
}

impl HeldPermit {
    fn new(permit: Permit, call: &Call) -> Self {
        Self {
            permit: Some(permit),
            exchange: Arc::clone(&call.exchange),
        }
    }

    /// Moves the permit into the body of the response.
    fn answered(mut self, result: &mut Result<Response, Failed>) {
        // The client left in the middle of its body. A server may work on the
        // part that it has: see the drop.
        if matches!(result, Err(failed) if failed.error == Error::ClientGone) {
            return;
        }
        let Some(mut permit) = self.permit.take() else {
            return;
        };
        let last_attempt = permit
            .is_measured()
            .then(|| self.exchange.progress.last_of_several.get().copied())
            .flatten();
        permit.answered(result, last_attempt);
        if let Ok(response) = result {
            response.body.hold(permit);
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
                    held.answered(&mut result);
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
