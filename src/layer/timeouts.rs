//! Deadline: when an answer must have begun, and how its bodies are paced.
//!
//! The deadline is a value that travels with the call, not a timer: whatever waits (the queue of the cap, an attempt, a
//! back-off) waits no longer than it, so that a request arms one timer at a time. It begins with the request's head, and
//! stands still while the request's body flows.
//!
//! How long a body may be silent depends on what it is: silence is the nature of tunnels, streams of events and calls.

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
    message::Response,
};

/// Adds [`Timeouts`].
#[derive(Debug, Clone, Copy)]
pub struct TimeoutsLayer {
    /// From the request's head to the answer's head, without the time in which the request's body flows.
    pub total: Duration,
    /// Longest silence once bodies flow.
    pub idle: Duration,
    /// The same for what is silent by nature: tunnels, streams of events, gRPC.
    pub tunnel: Duration,
    /// The whole exchange.
    pub body: Option<Duration>,
}

impl<S> Layer<S> for TimeoutsLayer {
    type Service = Timeouts<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeouts {
            inner,
            bounds: *self,
        }
    }
}

/// How long bodies may be silent.
#[derive(Debug, Clone, Copy)]
struct Silence {
    idle: Duration,
    tunnel: Duration,
}

impl Silence {
    /// That of a body that is silent by nature, or not.
    fn pace(&self, is_silent_by_nature: bool, end: Option<Instant>) -> Pace {
        let idle = if is_silent_by_nature {
            self.tunnel
        } else {
            self.idle
        };
        Pace {
            idle,
            half_closed: self.idle,
            end,
        }
    }
}

/// Gives calls a deadline and their bodies a pace.
#[derive(Debug, Clone)]
pub struct Timeouts<S> {
    inner: S,
    bounds: TimeoutsLayer,
}

impl<S> Service<Call> for Timeouts<S>
where
    S: Service<Call, Response = Response, Error = Error>,
{
    type Response = Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let TimeoutsLayer {
            total,
            idle,
            tunnel,
            body,
        } = self.bounds;
        let silence = Silence { idle, tunnel };
        let started = call.exchange.started;
        // A call's own bound, where it is the shorter one.
        let asked = call.exchange.request.grpc.and_then(|grpc| grpc.timeout);
        call.deadline = Some(Deadline::after(
            started,
            asked.map_or(total, |asked| asked.min(total)),
        ));
        if !call.body.is_whole() {
            let waits = call.exchange.request.headers.contains_key(header::EXPECT);
            call.uploading = Some(Arc::new(Uploading {
                flow: Arc::new(Flow::new(waits)),
                of_route: Deadline::after(started, total),
                of_client: asked.map(|asked| Deadline::after(started, asked)),
            }));
        }
        let end = body.map(|body| started + body);
        if !call.body.is_empty() {
            // Not by its content type, which is the client's to choose: only calls stream in both directions.
            let is_call = call.exchange.request.grpc.is_some();
            call.body.set_pace(Some(silence.pace(is_call, end)));
        }
        ResponseFuture {
            inner: self.inner.call(call),
            silence,
            end,
        }
    }
}

pin_project! {
    /// Paces the body of the answer.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        silence: Silence,
        end: Option<Instant>,
    }
}

impl<F: Future<Output = Result<Response, Error>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut answer = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut answer {
            let pace = pace(response, *this.silence, *this.end);
            response.body.set_pace(Some(pace));
        }
        Poll::Ready(answer)
    }
}

/// How the body of an answer is paced. A tunnel is no exchange, so that the bound on exchanges says nothing of it.
fn pace(response: &Response, silence: Silence, end: Option<Instant>) -> Pace {
    if response.body.is_tunnel() {
        return Pace {
            idle: silence.tunnel,
            half_closed: silence.idle,
            end: None,
        };
    }
    // What is here whole never pauses: its fields need not be looked through.
    let is_whole = response.body.is_whole();
    let content_type = if is_whole {
        None
    } else {
        response.fields.get(&header::CONTENT_TYPE)
    };
    silence.pace(content_type.is_some_and(is_silent_by_nature), end)
}
