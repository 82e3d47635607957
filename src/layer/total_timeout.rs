//! Total timeout: sets the time by which the response head must have arrived,
//! and the pace at which bodies must move.
//!
//! A request that passes its deadline is refused with 504 (`total_timeout`) by
//! the layer that is waiting at that moment: the deadline is a value that
//! travels with the [`Call`] and not a timer, so that a request arms one timer
//! at a time. Every wait (in the queue of a concurrency limit, for an attempt,
//! before a retry) ends by then. The time begins with the
//! request head and stands still while the request body flows.
//!
//! The pace bounds the silence of a body once it flows. It depends on the kind
//! of body: tunnels, event streams and gRPC calls are silent by nature and get
//! `timeouts.tunnel`, all others `timeouts.idle`. The code that moves a body
//! enforces its pace.
//!
//! tower's `Timeout` layer wraps each call in a timer and ends at the response
//! head. This one holds nothing.
//!
//! # Deadlines
//!
//! A request has up to three ends. The deadline of the route stands still while
//! the body flows. The deadline that a gRPC client gives is absolute and counts
//! if it is the shorter one. The end of the exchange, `timeouts.body`, bounds
//! both bodies however fast they move; tunnels have none.
//!
//! # Concurrency
//!
//! The layer shares nothing between requests but the policy. A deadline is a
//! value, so that two layers that read it cannot disagree.

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
    call::{Call, Deadline, Exchange, Uploading},
    message::Response,
    policy::Timeouts,
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
    /// Applies all of these timeouts but that of an attempt.
    ///
    /// The timeout of an attempt belongs to a layer further in.
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
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

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
        ResponseFuture {
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
    let Exchange {
        request, started, ..
    } = &*call.exchange;
    let waits = request.headers.contains_key(header::EXPECT);
    Arc::new(Uploading {
        flow: Arc::new(Flow::new(waits)),
        of_route: Deadline::after(*started, total),
        of_client: of_client.map(|time| Deadline::after(*started, time)),
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
    let half_closed = timeouts.idle;
    Pace {
        idle,
        half_closed,
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
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        timeouts: Arc<Timeouts>,
        // The end of the whole exchange; `None` if it is not bounded.
        end: Option<Instant>,
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = Result<Response, E>;

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
