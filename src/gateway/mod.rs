//! The gateway: the service that responds to every request. The layers below it
//! return errors; above it there are only responses.
//!
//! `enter` checks everything that a request says of itself, once, and finds its
//! route in one `snapshot` of the routes, which the request keeps to its end
//! whatever is reloaded meanwhile. Then the route's `stack` of layers works on
//! it. `respond` turns an error into a response.

mod bounded;
mod client;
mod disguise;
mod enter;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard;
mod last_hop;
mod limit_fields;
mod path_variants;
mod problem;
mod respond;
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
pub(crate) use self::{
    client::Trust,
    disguise::Disguises,
    snapshot::{Route, Routes},
    stack::{Layers, Target, ToMirror, Way, to_mirror},
    unknown_proxies::UnknownProxies,
};
use self::{
    enter::{Admitted, Entered},
    stack::Stack,
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
    /// The service of worker number `worker`. A reload replaces the snapshot in
    /// `routes`.
    pub fn new(routes: Arc<ArcSwap<Snapshot>>, worker: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            routes,
            worker,
            metrics,
        }
    }

    fn begin(&self, request: Request) -> ResponseFuture {
        let snapshot = self.routes.load();
        let Entered { exchange, admitted } = enter::enter(snapshot.routes(self.worker), request);
        let Admitted { route, body } = match admitted {
            Ok(admitted) => admitted,
            Err(error) => return ResponseFuture::done(Err(error), exchange),
        };
        if route.forwards
            && exchange.request.may_count_hops()
            && let Some(response) = last_hop::respond(&exchange)
        {
            return ResponseFuture::done(Ok(response), exchange);
        }
        let call = Call::new(Arc::clone(&exchange), body, exchange.started);
        ResponseFuture::Working {
            inner: start(route.stack.clone(), call),
            exchange: Some(exchange),
            metrics: Arc::clone(&self.metrics),
        }
    }

    fn refuse(
        &self,
        error: Error,
        started: Instant,
        version: Version,
        origin: Arc<Origin>,
    ) -> ResponseFuture {
        let snapshot = self.routes.load();
        let routes = snapshot.routes(self.worker);
        let exchange = enter::unreadable(routes, started, version, origin);
        ResponseFuture::done(Err(error), exchange)
    }
}

impl Service<Arrival> for Gateway {
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrival: Arrival) -> ResponseFuture {
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

/// Calls the stack once it is ready. The layers of this crate always are. A
/// foreign layer may have to wait, and pays for that with a box.
fn start(mut stack: Stack, call: Call) -> Started {
    match stack.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => Either::Left(stack.call(call)),
        Poll::Ready(Err(failed)) => Either::Right(Box::pin(ready(Err(failed)))),
        // Polls the stack again, with a waker.
        Poll::Pending => Either::Right(Box::pin(stack.oneshot(call))),
    }
}

pin_project! {
    /// The future of a response.
    #[project = Step]
    #[expect(missing_docs, reason = "fields of private states")]
    pub enum ResponseFuture {
        /// The route's stack works on the request.
        Working {
            #[pin]
            inner: Started,
            exchange: Option<Arc<Exchange>>,
            metrics: Arc<Metrics>,
        },
        /// The gateway itself has responded.
        Done { response: Option<Response> },
    }
}

impl ResponseFuture {
    fn done(result: Result<Response, Error>, exchange: Arc<Exchange>) -> Self {
        Self::Done {
            response: Some(finish(result, exchange)),
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Step::Done { response } => Poll::Ready(Ok(response.take().unwrap_or_default())),
            Step::Working {
                inner,
                exchange,
                metrics,
            } => {
                // There should be no panic. If there is one, it ends this
                // request and not the worker.
                let polled =
                    catch_unwind(AssertUnwindSafe(|| inner.poll(cx))).unwrap_or_else(|_| {
                        metrics.panicked();
                        Poll::Ready(Err(Error::Panicked.into()))
                    });
                let Poll::Ready(result) = polled else {
                    return Poll::Pending;
                };
                let exchange = exchange.take();
                Poll::Ready(Ok(exchange
                    .map(|exchange| finish(result.map_err(|failed| failed.error), exchange))
                    .unwrap_or_default()))
            }
        }
    }
}

/// Turns the result into the response that is sent, with the fields that every
/// response has, and has the exchange observe the end of its body.
fn finish(result: Result<Response, Error>, exchange: Arc<Exchange>) -> Response {
    let route = &*exchange.route;
    let (mut response, error) = match result {
        Ok(response) => (response, None),
        Err(error) if exchange.request.grpc.is_some() => (
            respond::to_call(&error, exchange.id.as_bytes()),
            Some(error),
        ),
        Err(error) => (
            respond::to_request(&error, route.name.as_deref(), exchange.id.as_bytes()),
            Some(error),
        ),
    };
    if exchange.request.grpc.is_some() {
        // A call that fails at once has its status in the head.
        exchange
            .facts
            .lock()
            .note_call(exchange.request.grpc, response.fields.get(&grpc::STATUS));
    }
    let nearest = exchange.responded(response.status.as_u16(), error.as_ref().map(Error::reason));
    let fields = &mut response.fields;
    if !error.is_some_and(|error| {
        limit_fields::describe_concurrency(fields, route.limit_headers, &error)
    }) && let Some(nearest) = nearest
        && let Some(name) = route.limits.get(nearest.limit)
    {
        limit_fields::describe(fields, route.limit_headers, name, &nearest.standing);
    }
    response.body.observe(exchange);
    response
}
