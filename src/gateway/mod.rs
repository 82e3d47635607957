//! The gateway: the service that responds to every request. The layers below it
//! return errors; above it there are only responses.
//!
//! A request passes these steps:
//!
//! 1. [`Gateway::call`](tower::Service::call) looks at the current [`Snapshot`] of
//!    the routes. The request keeps its part of it to its end, also across
//!    reloads.
//! 2. `enter` checks everything that the request says of itself, once: its
//!    target and host, the client, the length of its body. It finds the route
//!    in the [`table`], and begins the exchange that emits the access line.
//! 3. The route's `stack` of layers works on the request, and returns a
//!    response or an error.
//! 4. `respond` turns an error into a response: the only place that knows which
//!    status, problem type and fields belong to which error.
//! 5. The fields that describe the limits are added (`limit_fields`), and the
//!    exchange observes the body of the response, so that it ends with the last
//!    byte.
//!
//! A panic in a layer ends its request with 500 and is counted; the worker and
//! its other requests go on.
//!
//! # Paths
//!
//! Routes decide which limits apply, so that a request must not reach a service
//! by another route than the one that the service will serve it by. Requests
//! are compared in one normal form of the path (`policy::path`). `disguise`
//! refuses, or assigns to the stricter route, a request whose path a lenient
//! service could read in another way; `path_variants` lists these ways, and
//! `compared_route` compares the policies of two routes.

mod accept;
mod acme_challenge;
mod bounded;
mod client;
mod compared_route;
mod cors;
mod disguise;
mod enter;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod https;
mod last_hop;
mod limit_fields;
mod networks;
mod path_variants;
mod problem;
mod refusal;
mod respond;
mod snapshot;
mod stack;
pub mod table;
mod unknown_proxies;
mod vary;

use std::{
    convert::Infallible,
    future::{self, Future},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use http::Version;
use tokio::time::Instant;
use tower::{Service, ServiceExt};

pub use self::snapshot::Snapshot;
pub(crate) use self::{
    client::Trust,
    disguise::Disguises,
    snapshot::{Route, Routes},
    stack::{Layers, RouteTarget, SentOnce, UpstreamLayers, sent_once},
    unknown_proxies::UnknownProxies,
};
use self::{enter::Entered, stack::Stack};
use crate::{
    call::{Call, Exchange, LimitText, RouteTag, grpc},
    error::{Error, Failed},
    layer::RefusedAtOnce,
    message::{Arrival, Origin, Request, Response},
    telemetry::Metrics,
};

/// The service that a worker's connections call. Each connection has a clone,
/// which costs two references.
///
/// It is always ready, and its future never fails: everything that goes wrong
/// with a request is a response. Dropping the future cancels the request.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// The current snapshot, whose routes a reload replaces.
    routes: Arc<Snapshot>,
    /// The number of the thread that serves these connections.
    worker: usize,
    /// Where panics are counted.
    metrics: Arc<Metrics>,
}

impl Gateway {
    /// The service of worker number `worker`. A reload replaces what is in
    /// `routes`.
    pub fn new(routes: Arc<Snapshot>, worker: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            routes,
            worker,
            metrics,
        }
    }

    /// Finds the route of a request and starts its stack; or responds at once
    /// if no route takes it, or if it must not be forwarded any further.
    #[inline]
    fn begin(&self, request: Request) -> ResponseFuture {
        let mut routes = self.routes.routes(self.worker);
        let arrived = request.arrived;
        let Entered {
            exchange,
            route,
            body,
            is_preflight,
        } = enter::enter(&routes, request);
        if let Some(response) = acme_challenge::respond(&routes.challenges, &exchange) {
            return ResponseFuture::done(end(response, exchange, Some(acme_challenge::REASON)));
        }
        let route = match route {
            Ok(index) => &mut routes.routes[index],
            Err(error) => return ResponseFuture::done(refuse(&error, exchange)),
        };
        if let Some(cors) = exchange.route.cors.as_ref().filter(|_| is_preflight) {
            let response = cors::to_preflight(cors, &exchange.request.headers);
            return ResponseFuture::done(end(response, exchange, None));
        }
        if route.forwards && exchange.request.hops_left() == Some(0) {
            let response = last_hop::respond(&exchange);
            return ResponseFuture::done(finish(response, exchange));
        }
        let call = Call::new(Arc::clone(&exchange), body, arrived);
        // The layers of this crate are always ready.
        let inner: StackFuture = match route
            .stack
            .poll_ready(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(Ok(())) => {
                let mut called = route.stack.call(call);
                // Most responses of an overloaded gateway are made here, without
                // a future that is allocated and polled.
                if let Some(error) = called.refused() {
                    return ResponseFuture::done(refuse(&error, exchange));
                }
                Box::pin(called)
            }
            other => {
                // The others do not wait for this one.
                let clone = route.stack.clone();
                let stack = mem::replace(&mut route.stack, clone);
                delayed(other, stack, call)
            }
        };
        ResponseFuture::Working {
            inner,
            exchange: Some(exchange),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// Responds to bytes that are not a request. They have an access line, too,
    /// without a route.
    fn refuse(
        &self,
        error: Error,
        started: Instant,
        version: Version,
        origin: Arc<Origin>,
    ) -> ResponseFuture {
        let routes = self.routes.routes(self.worker);
        let exchange = enter::unreadable(&routes, started, version, origin);
        ResponseFuture::done(refuse(&error, exchange))
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

/// A stack that works on a request. In a box, as it is large: without it, a
/// connection would need room for it also while it is idle.
type StackFuture = Pin<Box<dyn Future<Output = Result<Response, Failed>> + Send>>;

/// Calls a stack with a foreign layer that has to wait; or fails as the stack
/// does.
#[cold]
fn delayed(ready: Poll<Result<(), Failed>>, mut stack: Stack, call: Call) -> StackFuture {
    match ready {
        Poll::Ready(Err(failed)) => Box::pin(future::ready(Err(failed))),
        // Polls the stack again, with a waker.
        _ => Box::pin(async move {
            let stack = stack.ready().await?;
            let now = Instant::now();
            stack.call(Call { now, ..call }).await
        }),
    }
}

/// The future of a response.
#[expect(
    missing_debug_implementations,
    reason = "the futures of layers have none"
)]
#[expect(missing_docs, reason = "fields of private states")]
pub enum ResponseFuture {
    /// The route's stack works on the request, or is not ready yet.
    Working {
        inner: StackFuture,
        exchange: Option<Arc<Exchange>>,
        metrics: Arc<Metrics>,
    },
    /// The gateway itself has responded.
    Done { response: Option<Box<Response>> },
}

impl ResponseFuture {
    /// The future of a response that is there already.
    fn done(response: Response) -> Self {
        let response = Some(Box::new(response));
        Self::Done { response }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Done { response } => {
                Poll::Ready(Ok(response.take().map(|one| *one).unwrap_or_default()))
            }
            Self::Working {
                inner,
                exchange,
                metrics,
            } => {
                // There should be no panic. If there is one, it ends this
                // request and not the worker.
                let polled = catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll(cx)));
                let result = ready!(polled.unwrap_or_else(|_| panicked(metrics)));
                // Taken with the outcome, so that each exchange is finished or
                // refused once.
                Poll::Ready(Ok(match (result, exchange.take()) {
                    (Ok(response), Some(exchange)) => finish(response, exchange),
                    (Err(failed), Some(exchange)) => refuse(&failed.error, exchange),
                    (_, None) => Response::default(),
                }))
            }
        }
    }
}

/// Counts a panic, which ends its request with 500.
#[cold]
fn panicked(metrics: &Metrics) -> Poll<Result<Response, Failed>> {
    metrics.panicked();
    Poll::Ready(Err(Error::Panicked.into()))
}

/// Adds to a response the fields that every response has, and has the exchange
/// observe the end of its body.
fn finish(mut response: Response, exchange: Arc<Exchange>) -> Response {
    note_call(&exchange, &response);
    if let Some(nearest) = exchange.responded(response.status.as_u16(), None) {
        limit_fields::describe_nearest(&mut response.fields, &exchange.route, &nearest);
    }
    permit(&mut response, &exchange);
    exchange.note_fields(&response.fields);
    response.body.observe(exchange);
    response
}

/// Ends the work on a request whose response has all of its fields.
fn end(mut response: Response, exchange: Arc<Exchange>, reason: Option<&'static str>) -> Response {
    exchange.responded(response.status.as_u16(), reason);
    exchange.note_fields(&response.fields);
    response.body.observe(exchange);
    response
}

/// Lets pages of the origins that the route lists read a response.
#[inline]
fn permit(response: &mut Response, exchange: &Exchange) {
    if let Some(cors) = &exchange.route.cors {
        cors::describe(&mut response.fields, cors, &exchange.request.headers);
    }
}

/// The response to a request that failed with `error`: as a gRPC status to a
/// call, and as a problem body to all other requests.
///
/// The exchange is told the status and the reason of the error, which its
/// access line shows. The response describes the concurrency limit that
/// refused, or else the limit nearest to exhaustion.
fn refuse(error: &Error, exchange: Arc<Exchange>) -> Response {
    let (route, id) = (&*exchange.route, exchange.id.as_bytes());
    let mut response = if let Error::HttpsOnly { location } = error {
        respond::to_https(location, id)
    } else if exchange.grpc.is_some() {
        respond::to_call(error, id)
    } else {
        own_body(error, &exchange).unwrap_or_else(|| {
            let text = text_of_refusal(error, route);
            respond::to_request(error, route.name.as_deref(), text, id)
        })
    };
    if let Some(own) = &route.refusal {
        let is_chosen = refusal::takes_own_body(error, &exchange);
        refusal::describe(&mut response.fields, own, (error, is_chosen));
    }
    note_call(&exchange, &response);
    let nearest = exchange.responded(response.status.as_u16(), Some(error.reason()));
    let fields = &mut response.fields;
    if !limit_fields::describe_concurrency(fields, route.limit_headers, error)
        && let Some(nearest) = nearest
    {
        limit_fields::describe_nearest(&mut response.fields, route, &nearest);
    }
    permit(&mut response, &exchange);
    exchange.note_fields(&response.fields);
    response.body.observe(exchange);
    response
}

/// The refusal with a body of the route's own; `None` if the route has none for
/// this client.
#[inline]
fn own_body(error: &Error, exchange: &Exchange) -> Option<Response> {
    let (route, headers) = (&exchange.route, &exchange.request.headers);
    let names = (
        route.name.as_deref().unwrap_or_default(),
        exchange.id.as_bytes(),
    );
    let own = route.refusal.as_deref()?;
    if !refusal::takes_own_body(error, exchange) {
        return None;
    }
    refusal::own_body(error, own, headers, names)
}

/// The text about the limit that alone has refused a request for a time; `None`
/// for all other errors, and for a refusal that has another message.
fn text_of_refusal<'r>(error: &Error, route: &'r RouteTag) -> Option<&'r LimitText> {
    let limit = match error {
        Error::RateLimited {
            limits,
            retry_after,
            ..
        } if *retry_after < Duration::MAX => match &**limits {
            [limit] => limit,
            _ => return None,
        },
        Error::Banned { limit, .. } => limit,
        _ => return None,
    };
    let mut names = route.limits.iter();
    let index = names.position(|name| Arc::ptr_eq(name, limit))?;
    route.limit_texts.get(index)
}

/// Notes how a gRPC call ended that has its status in the head, as one that
/// fails at once does.
fn note_call(exchange: &Exchange, response: &Response) {
    if let Some(call) = exchange.grpc {
        let status = response.fields.get(&grpc::STATUS);
        exchange.facts.lock().note_call(Some(call), status);
    }
}
