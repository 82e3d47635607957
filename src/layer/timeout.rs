//! The timeouts of a route: of a whole request ([`TotalTimeout`]) and of one
//! attempt at it ([`AttemptTimeout`]).
//!
//! A request that passes its deadline is refused with 504 (`total_timeout`) by
//! the layer that is waiting at that moment: the deadline is a value that
//! travels with the [`Call`] and not a timer, so that a request arms one timer
//! at a time. Every wait (in the queue of a concurrency limit, for an attempt,
//! before a retry) ends by then. An attempt that takes too long is dropped and
//! fails with 504 as well: `attempt_timeout`, or `total_timeout` if the deadline
//! came first.
//!
//! tower's `Timeout` bounds every call by the same duration, uploads included,
//! and boxes its error.
//!
//! # Uploads
//!
//! Services respond to an upload once they have it. Both times stand still while
//! the body of the request flows, whose pace has bounds of its own. The deadline
//! that a gRPC client gives is absolute and counts if it is the shorter one.
//!
//! An attempt sets its timer once. Only a request whose body arrives in pieces
//! moves it: each poll then asks the flow of the body how long it has flowed
//! since the attempt began, and adds that to the end.
//!
//! # Pace
//!
//! The pace bounds the silence of a body once it flows. It depends on the kind
//! of body: tunnels, event streams and gRPC calls are silent by nature and get
//! `timeouts.tunnel`, all others `timeouts.idle`. The end of the exchange,
//! `timeouts.body`, bounds both bodies however fast they move; tunnels have
//! none. The code that moves a body enforces its pace.
//!
//! # Fairness
//!
//! An attempt that is ended by the deadline of the request may have had little
//! time, because the request waited in a queue or was tried before. The
//! upstream is told the end of an attempt only if the attempt has at least half
//! of its timeout: no server is to blame for a shorter one.
//!
//! # Cancellation
//!
//! Dropping the future of an attempt drops the attempt first and the timer
//! afterwards. When the time is over, that future is ready with an error and the
//! attempt ends when it is dropped. The total timeout holds nothing.

#[cfg(test)]
mod tests;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::header;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::content::is_silent_by_nature;
use crate::{
    body::{Flow, Pace},
    call::{Call, Deadline, Uploading},
    error::Error,
    message::{FieldName, Response},
    policy::Timeouts,
    runtime::timer::PooledTimer,
};

/// Adds [`TotalTimeout`].
///
/// It has to be outside of everything that waits, or that is bounded by the
/// deadline of a call.
#[derive(Debug, Clone)]
pub struct TotalTimeoutLayer {
    timeouts: Arc<Timeouts>,
}

impl TotalTimeoutLayer {
    /// Applies all of these timeouts but that of an attempt, which belongs to a
    /// layer further in.
    pub fn new(timeouts: Timeouts) -> Self {
        let timeouts = Arc::new(timeouts);
        Self { timeouts }
    }
}

impl<S> Layer<S> for TotalTimeoutLayer {
    type Service = TotalTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TotalTimeout {
            inner,
            timeouts: Arc::clone(&self.timeouts),
        }
    }
}

/// Gives calls a deadline and their bodies a pace.
#[derive(Debug, Clone)]
pub struct TotalTimeout<S> {
    inner: S,
    /// Those of the route.
    timeouts: Arc<Timeouts>,
}

impl<S> Service<Call> for TotalTimeout<S>
where
    S: Service<Call, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = TotalFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, mut call: Call) -> Self::Future {
        let timeouts = &*self.timeouts;
        let started = call.exchange.started;
        // The client's own timeout counts if it is the shorter one.
        let of_client = call.exchange.grpc.and_then(|grpc| grpc.timeout);
        let total = of_client.map_or(timeouts.total, |time| time.min(timeouts.total));
        call.deadline = Some(Deadline::after(started, total));
        if !call.body.is_whole() {
            call.uploading = Some(uploading(&call, timeouts.total, of_client));
        }
        let end = timeouts.body.map(|body| started + body);
        if !call.body.is_empty() {
            // The content type is the client's to choose and decides nothing
            // here: only gRPC calls stream in both directions.
            let is_call = call.exchange.grpc.is_some();
            call.body.set_pace(Some(pace(timeouts, is_call, end)));
        }
        TotalFuture {
            inner: self.inner.call(call),
            timeouts: Arc::clone(&self.timeouts),
            end,
        }
    }
}

/// The deadlines of a request whose body arrives in pieces.
///
/// Both deadlines count from the request head. The body of a client that waits
/// for `100 (Continue)` flows from its first piece on, and any other from the
/// first pull on.
fn uploading(call: &Call, total: Duration, of_client: Option<Duration>) -> Arc<Uploading> {
    let exchange = &call.exchange;
    let waits = exchange.request.headers.has(FieldName::Expect);
    Arc::new(Uploading {
        flow: Arc::new(Flow::new(waits)),
        of_route: Deadline::after(exchange.started, total),
        of_client: of_client.map(|time| Deadline::after(exchange.started, time)),
    })
}

/// The pace of a body that may be silent by its nature, or not. `end` is the
/// end of the whole exchange, if that is bounded.
///
/// `half_closed` is how long a tunnel may be silent after one side has ended.
fn pace(timeouts: &Timeouts, is_silent_by_nature: bool, end: Option<Instant>) -> Pace {
    let idle = match is_silent_by_nature {
        true => timeouts.tunnel,
        false => timeouts.idle,
    };
    Pace {
        idle,
        half_closed: timeouts.idle,
        end,
    }
}

/// The pace of the body of a response. A tunnel is no exchange, so that the
/// bound on whole exchanges does not apply to it.
///
/// A stream that is silent by its nature gets `timeouts.tunnel`, by the content
/// type of the response. A body that is in memory gets `timeouts.idle`.
fn pace_of(response: &Response, timeouts: &Timeouts, end: Option<Instant>) -> Pace {
    let body = &response.body;
    if body.is_tunnel() {
        return pace(timeouts, true, None);
    }
    // A body that is in memory already never pauses, so that its content type
    // need not be looked up.
    let is_silent = !body.is_whole()
        && (response.fields.get(&header::CONTENT_TYPE)).is_some_and(is_silent_by_nature);
    pace(timeouts, is_silent, end)
}

pin_project! {
    /// Waits for the response and sets the pace of its body.
    #[derive(Debug)]
    pub struct TotalFuture<F> {
        #[pin]
        inner: F,
        timeouts: Arc<Timeouts>,
        // The end of the whole exchange; `None` if it is not bounded.
        end: Option<Instant>,
    }
}

impl<F, E> Future for TotalFuture<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = Result<Response, E>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut result {
            let pace = pace_of(response, this.timeouts, *this.end);
            response.body.set_pace(Some(pace));
        }
        Poll::Ready(result)
    }
}

/// Adds [`AttemptTimeout`].
///
/// It belongs inside of retries, and outside of everything that takes time for
/// one attempt: choosing a server, waiting for a connection, making one.
#[derive(Debug, Clone, Copy)]
pub struct AttemptTimeoutLayer {
    /// Longest time for one attempt, without the time in which the request body
    /// flows.
    pub attempt: Duration,
}

impl<S> Layer<S> for AttemptTimeoutLayer {
    type Service = AttemptTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AttemptTimeout {
            inner,
            attempt: self.attempt,
        }
    }
}

/// Drops an attempt that takes too long.
///
/// A call that takes too long fails with [`Error::AttemptTimeout`], or with
/// [`Error::TotalTimeout`] if the deadline of the request is what ended it.
#[derive(Debug, Clone)]
pub struct AttemptTimeout<S> {
    inner: S,
    /// The longest time for one attempt.
    attempt: Duration,
}

impl<S> Service<Call> for AttemptTimeout<S>
where
    S: Service<Call>,
    S::Error: From<Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = AttemptFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, mut call: Call) -> Self::Future {
        let upload = match call.uploading.clone() {
            Some(of) => Some(Box::new(Upload::begin(of, &mut call, self.attempt))),
            None => None,
        };
        let deadline = match &upload {
            Some(upload) => upload.of.deadline(),
            None => call.deadline,
        };
        let mut end = call.now + self.attempt;
        let first = deadline.filter(|deadline| deadline.at <= end);
        let mut is_fair = true;
        if let Some(deadline) = first {
            // A request that waited in a queue, or was tried before, may have
            // too little time left for any server.
            is_fair = deadline.at >= call.now + self.attempt / 2;
            end = deadline.at;
        }
        call.attempt_deadline = is_fair.then_some(end);
        AttemptFuture {
            timer: PooledTimer::until(end),
            inner: self.inner.call(call),
            attempt: self.attempt,
            total: first.map(|deadline| deadline.total),
            upload,
        }
    }
}

pin_project! {
    /// An attempt and its timer.
    #[derive(Debug)]
    pub struct AttemptFuture<F> {
        #[pin]
        inner: F,
        timer: PooledTimer,
        // The timeout of the attempt.
        attempt: Duration,
        // The timeout of the request, if that ends the attempt. Decided when
        // the attempt begins, and anew with each poll of an attempt whose body
        // arrives in pieces.
        total: Option<Duration>,
        // Set if the body arrives in pieces. It says when the attempt ends
        // then.
        upload: Option<Box<Upload>>,
    }
}

/// An attempt whose body arrives in pieces.
#[derive(Debug)]
struct Upload {
    /// The deadlines of the request, and the flow of its body.
    of: Arc<Uploading>,
    /// When the attempt would end if the body took no time.
    end: Instant,
    /// The time that the body had flowed before the attempt. Subtracted from
    /// the time that the body has flowed in all, as earlier attempts may have
    /// pulled a part of it.
    flowed: Duration,
}

impl Upload {
    /// The attempt that begins with `call`, and may take as long as `attempt`
    /// beside the time in which its body flows.
    ///
    /// Has the body report its flow to the request, so that the time for which
    /// it flows can be told.
    fn begin(of: Arc<Uploading>, call: &mut Call, attempt: Duration) -> Self {
        if !call.body.is_whole() {
            call.body.set_flow(Arc::clone(&of.flow));
        }
        Self {
            end: call.now + attempt,
            flowed: of.flow.passed().unwrap_or_default(),
            of,
        }
    }

    /// Sets the timer to the end of the attempt as of now. Gives the deadline,
    /// where that is the one; `None` when nothing but the pace of the body
    /// bounds the attempt.
    ///
    /// The inner `None` says that the timeout of the attempt itself comes
    /// first.
    fn set(&self, timer: &mut PooledTimer) -> Option<Option<Deadline>> {
        let end = self
            .of
            .flow
            .passed()
            .map(|flowed| self.end + flowed.saturating_sub(self.flowed));
        let deadline = self
            .of
            .deadline()
            .filter(|deadline| end.is_none_or(|end| deadline.at <= end));
        timer.set(deadline.map(|deadline| deadline.at).or(end)?);
        Some(deadline)
    }
}

impl<F, R, E> Future for AttemptFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: From<Error>,
{
    type Output = F::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.inner.poll(cx) {
            return Poll::Ready(result);
        }
        if let Some(upload) = this.upload {
            let Some(deadline) = upload.set(this.timer) else {
                return Poll::Pending;
            };
            *this.total = deadline.map(|deadline| deadline.total);
        }
        ready!(this.timer.poll(cx));
        Poll::Ready(Err(E::from(match *this.total {
            Some(after) => Error::TotalTimeout { after },
            None => Error::AttemptTimeout {
                after: *this.attempt,
            },
        })))
    }
}
