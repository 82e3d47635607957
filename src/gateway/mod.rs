//! The gateway: below it there are errors, above it only responses.
//!
//! A request is matched on one snapshot of the routes, which it keeps to its end whatever is reloaded meanwhile; then
//! its route's stack has it. Everything that a request says of itself is checked here, once.

mod answer;
mod bounded;
mod client;
mod disguise;
mod enter;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard;
pub(crate) mod host;
mod last_hop;
mod limit_fields;
mod problem;
mod readings;
mod snapshot;
mod stack;
pub mod table;
mod unknown_proxies;

use std::{
    convert::Infallible,
    future::{Future, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use arc_swap::ArcSwap;
use futures_util::future::Either;
use http::Version;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Service, ServiceExt};

pub use self::snapshot::Snapshot;
use self::stack::Stack;
pub(crate) use self::{
    client::Trust,
    disguise::Disguises,
    snapshot::{Lane, Route},
    stack::{Layers, Target, ToMirror, Way, to_mirror},
    unknown_proxies::UnknownProxies,
};
use crate::{
    call::{Call, Exchange, grpc},
    error::{Error, Failed},
    message::{Origin, Request, Response},
    server::Arrival,
    telemetry::Metrics,
};

/// The service that a worker's connections call.
#[derive(Debug, Clone)]
pub struct Gateway {
    routes: Arc<ArcSwap<Snapshot>>,
    worker: usize,
    metrics: Arc<Metrics>,
}

impl Gateway {
    /// For one worker; `routes` is replaced by a reload.
    pub fn new(routes: Arc<ArcSwap<Snapshot>>, worker: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            routes,
            worker,
            metrics,
        }
    }

    fn begin(&self, request: Request) -> Answering {
        let snapshot = self.routes.load();
        let (exchange, entered) = enter::enter(snapshot.lane(self.worker), request);
        match entered {
            Ok((route, body)) => {
                if let Some(response) = route
                    .forwards
                    .then(|| last_hop::answer(&exchange))
                    .flatten()
                {
                    return Answering::Done {
                        response: Some(give(Ok(response), exchange)),
                    };
                }
                let now = exchange.started;
                let call = Call {
                    exchange: Arc::clone(&exchange),
                    body,
                    deadline: None,
                    uploading: None,
                    fresh: false,
                    now,
                    patience: None,
                    linger: None,
                };
                Answering::Working {
                    inner: start(route.stack.clone(), call),
                    exchange: Some(exchange),
                    metrics: Arc::clone(&self.metrics),
                }
            }
            Err(error) => Answering::Done {
                response: Some(give(Err(error), exchange)),
            },
        }
    }

    fn refuse(
        &self,
        error: Error,
        started: Instant,
        version: Version,
        origin: Arc<Origin>,
    ) -> Answering {
        let snapshot = self.routes.load();
        let exchange = enter::unreadable(snapshot.lane(self.worker), started, version, origin);
        Answering::Done {
            response: Some(give(Err(error), exchange)),
        }
    }
}

impl Service<Arrival> for Gateway {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrival: Arrival) -> Answering {
        match arrival {
            Arrival::Request(request) => self.begin(request),
            Arrival::Refused {
                error,
                started,
                version,
                origin,
            } => self.refuse(error, started, version, origin),
        }
    }
}

/// A request in a route's stack.
type Started = Either<<Stack as Service<Call>>::Future, Delayed>;

/// A request in a stack that is not ready at once.
type Delayed = Pin<Box<dyn Future<Output = Result<Response, Failed>> + Send>>;

/// Calls the stack once it is ready. The layers of this crate always are. A foreign layer may have to wait, and pays for
/// that with a box.
fn start(mut stack: Stack, call: Call) -> Started {
    match stack.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => Either::Left(stack.call(call)),
        Poll::Ready(Err(failed)) => Either::Right(Box::pin(ready(Err(failed)))),
        // Polls the stack again, with a waker.
        Poll::Pending => Either::Right(Box::pin(stack.oneshot(call))),
    }
}

pin_project! {
    /// An answer in the making.
    #[project = Step]
    #[expect(missing_docs, reason = "fields of private states")]
    pub enum Answering {
        /// The route's stack works on it.
        Working {
            #[pin]
            inner: Started,
            exchange: Option<Arc<Exchange>>,
            metrics: Arc<Metrics>,
        },
        /// There was nothing to work on.
        Done { response: Option<Response> },
    }
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Step::Done { response } => Poll::Ready(Ok(response.take().unwrap_or_default())),
            Step::Working {
                inner,
                exchange,
                metrics,
            } => {
                // There should be no panic. If there is one, it costs this request, not the worker.
                let polled =
                    catch_unwind(AssertUnwindSafe(|| inner.poll(cx))).unwrap_or_else(|_| {
                        metrics.panicked();
                        Poll::Ready(Err(Error::Panicked.into()))
                    });
                let Poll::Ready(answer) = polled else {
                    return Poll::Pending;
                };
                let exchange = exchange.take();
                Poll::Ready(Ok(exchange
                    .map(|exchange| give(answer.map_err(|failed| failed.error), exchange))
                    .unwrap_or_default()))
            }
        }
    }
}

/// Turns the outcome into a response, and lets the exchange hear of its end.
fn give(answer: Result<Response, Error>, exchange: Arc<Exchange>) -> Response {
    let route = &*exchange.route;
    let (mut response, error) = match answer {
        Ok(response) => (response, None),
        Err(error) if exchange.request.grpc.is_some() => {
            (answer::to_call(&error, exchange.id.as_bytes()), Some(error))
        }
        Err(error) => (
            answer::answer(&error, route.name.as_deref(), exchange.id.as_bytes()),
            Some(error),
        ),
    };
    if exchange.request.grpc.is_some() {
        // A call that fails at once says so in its head.
        exchange
            .facts
            .lock()
            .note_call(exchange.request.grpc, response.fields.get(&grpc::STATUS));
    }
    let nearest = exchange.answered(response.status.as_u16(), error.as_ref().map(Error::reason));
    let fields = &mut response.fields;
    if !error.is_some_and(|error| limit_fields::tell_cap(fields, route.limit_headers, &error))
        && let Some(nearest) = nearest
        && let Some(name) = route.limits.get(nearest.limit)
    {
        limit_fields::tell(fields, route.limit_headers, name, &nearest.standing);
    }
    response.body.watch(exchange);
    response
}
