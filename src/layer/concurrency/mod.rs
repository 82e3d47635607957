//! Concurrency cap: a permit for each request in flight, kept to the end of the answer's body; a bounded line for a
//! bounded time when there is none; 503 otherwise. The permit of a client that leaves before its answer is held for as
//! long as a server works on the request, where that is known.
//!
//! `cap` counts and hands places on, `queue` says whose turn it is, `wait` is a place in the line. A cap may follow the
//! measured latency: `meter` collects, `window` holds, `adaptive` decides.

mod adaptive;
mod cap;
mod meter;
mod queue;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod wait;
mod window;

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

pub use self::{
    adaptive::Bounds,
    cap::{Bound, Cap, CapSettings, Permit},
    queue::{Priority, Turn},
    wait::Queued,
};
use super::key;
use crate::{
    call::{Call, Exchange},
    error::{Error, Failed},
    limit::KeyBuilder,
    message::Response,
    policy::KeyPart,
};

/// A cap as a route applies it.
#[derive(Debug)]
pub struct CapPolicy {
    /// The cap, shared with everyone else under it.
    pub cap: Arc<Cap>,
    /// How long a permit is held, at most, for a server that works on a request whose client has left; absent: not at all.
    pub linger: Option<Duration>,
    /// How who finds no place stands in its line; absent: not at all, but is refused.
    pub line: Option<Standing>,
}

/// Where requests stand in the line of a cap.
#[derive(Debug)]
pub struct Standing {
    /// Before and behind whom.
    pub priority: Priority,
    /// Between whom the line takes turns.
    pub fair_by: FairBy,
}

/// Between whom a line takes turns. Requests without the part that tells them apart are one of them, together.
#[derive(Debug, Clone)]
pub struct FairBy {
    /// A key that has begun with the cap's name.
    pub begun: KeyBuilder,
    /// What tells one from another; empty: first come, first served.
    pub parts: Vec<KeyPart>,
}

impl CapPolicy {
    /// A place in the line, for whom there is none under the cap.
    fn line_up(&self, call: &Call) -> Result<Queued, Failed> {
        let standing = self.line.as_ref().ok_or_else(|| self.cap.reached())?;
        self.cap
            .line_up(standing.turn(&call.exchange), call.deadline)
    }
}

impl Standing {
    /// Only computed for those who wait.
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

/// Adds [`Concurrency`]; without a cap it lets everything through.
#[derive(Debug, Clone)]
pub struct ConcurrencyLayer {
    /// The cap; absent: none.
    pub policy: Option<Arc<CapPolicy>>,
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = Concurrency<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Concurrency {
            inner,
            policy: self.policy.clone(),
        }
    }
}

/// Lets a bounded number of calls through.
#[derive(Debug, Clone)]
pub struct Concurrency<S> {
    inner: S,
    policy: Option<Arc<CapPolicy>>,
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
        let Some(policy) = &self.policy else {
            return ResponseFuture::InFlight {
                inner: self.inner.call(call),
                seat: None,
            };
        };
        call.linger = policy.linger;
        if let Some(permit) = policy.cap.try_enter(call.now) {
            let seat = Some(Seat::new(permit, &call));
            return ResponseFuture::InFlight {
                inner: self.inner.call(call),
                seat,
            };
        }
        match policy.line_up(&call) {
            Err(error) => ResponseFuture::Refused { error: Some(error) },
            Ok(place) => {
                let inner = self.inner.clone();
                ResponseFuture::Queued {
                    wait: Box::pin(wait(place, call, inner)),
                }
            }
        }
    }
}

/// Waits for a place, then calls.
async fn wait<S>(place: Queued, mut call: Call, mut inner: S) -> Result<Seated<S::Future>, Failed>
where
    S: Service<Call, Error = Failed>,
{
    let since = Instant::now();
    let permit = place.enter().await;
    call.now = Instant::now();
    call.exchange.queued(call.now - since);
    let permit = permit?;
    let seat = Seat::new(permit, &call);
    Ok((inner.ready().await?.call(call), seat))
}

/// The permit of a request that is not answered yet.
struct Seat {
    permit: Option<Permit>,
    exchange: Arc<Exchange>,
}

impl Seat {
    fn new(permit: Permit, call: &Call) -> Self {
        Self {
            permit: Some(permit),
            exchange: Arc::clone(&call.exchange),
        }
    }

    /// From the answer's head on the permit is held to the end of its body.
    fn answered(mut self, answer: &mut Result<Response, Failed>) {
        let Some(mut permit) = self.permit.take() else {
            return;
        };
        let last = permit
            .is_measured()
            .then(|| self.exchange.last_of_several())
            .flatten();
        permit.answered(answer, last);
        if let Ok(response) = answer {
            response.body.hold(permit);
        }
    }
}

impl Drop for Seat {
    /// Dropped with its permit, the client has left. Whoever sent the request was dropped before, and has said by then
    /// whether a server works on.
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.exchange.outlive(|| permit.abandon());
        }
    }
}

/// One that has a place, and what it does with it.
type Seated<F> = (F, Seat);

/// A wait in the line. Boxed, as only those wait for whom there is no place: the others need not carry its state.
type Wait<F> = Pin<Box<dyn Future<Output = Result<Seated<F>, Failed>> + Send>>;

pin_project! {
    /// A call before, in or behind the line.
    #[project = State]
    pub enum ResponseFuture<F> {
        /// Turned away.
        Refused { error: Option<Failed> },
        /// In the line.
        Queued { wait: Wait<F> },
        /// Let through. `inner` is dropped first.
        InFlight { #[pin] inner: F, seat: Option<Seat> },
    }
}

impl<F: Future<Output = Result<Response, Failed>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        loop {
            match self.as_mut().project() {
                State::Refused { error } => {
                    return Poll::Ready(Err(error
                        .take()
                        .unwrap_or_else(|| Error::ClientGone.into())));
                }
                State::Queued { wait } => match ready!(wait.as_mut().poll(cx)) {
                    Ok((inner, seat)) => self.set(ResponseFuture::InFlight {
                        inner,
                        seat: Some(seat),
                    }),
                    Err(error) => return Poll::Ready(Err(error)),
                },
                State::InFlight { inner, seat } => {
                    let mut answer = ready!(inner.poll(cx));
                    match seat.take() {
                        // It left in its own body: what the server has of the request it may work on.
                        Some(seat) if matches!(&answer, Err(failed) if failed.error == Error::ClientGone) =>
                        {
                            drop(seat);
                        }
                        Some(seat) => seat.answered(&mut answer),
                        None => {}
                    }
                    return Poll::Ready(answer);
                }
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
