//! The gateway: below it there are errors, above it only responses.
//!
//! A request is matched on one snapshot of the routes, which it keeps to its end whatever is reloaded meanwhile; then
//! its route's stack has it. Everything that a request says of itself is checked here, once.

mod answer;
mod bounded;
mod client;
mod host;
mod rebuild;
mod report;
mod snapshot;
mod stack;
mod state;
pub mod table;

use std::{
    convert::Infallible,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use http::Method;
use pin_project_lite::pin_project;
use tower::Service;

pub use self::{
    rebuild::{BuildError, Built, build},
    report::{Change, Report},
    snapshot::Snapshot,
    state::{Process, State},
};
use self::{snapshot::Lane, stack::Stack};
use crate::{
    call::{Call, Client, Exchange, Facts, Head, Incoming, RequestId, Target},
    error::Error,
    message::{Request, Response},
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
        Self { routes, worker, metrics }
    }

    fn begin(&self, request: Request) -> Answering {
        let snapshot = self.routes.load();
        let lane = snapshot.lane(self.worker);
        match enter(lane, request) {
            Ok((call, mut stack)) => {
                let exchange = Arc::clone(&call.exchange);
                let inner = stack.call(call);
                Answering::Working { inner, exchange: Some(exchange), metrics: Arc::clone(&self.metrics) }
            }
            Err((error, exchange)) => Answering::Done { response: Some(give(Err(error), exchange)) },
        }
    }

    fn refuse(&self, error: Error, refused: Refused) -> Answering {
        let snapshot = self.routes.load();
        let exchange = refused.exchange(snapshot.lane(self.worker));
        Answering::Done { response: Some(give(Err(error), exchange)) }
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
            Arrival::Refused { error, started, origin } => self.refuse(error, Refused { started, origin }),
        }
    }
}

pin_project! {
    /// An answer in the making.
    #[project = State_]
    #[expect(missing_docs, reason = "fields of private states")]
    pub enum Answering {
        /// The route's stack works on it.
        Working {
            #[pin]
            inner: <Stack as Service<Call>>::Future,
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
            State_::Done { response } => Poll::Ready(Ok(response.take().unwrap_or_default())),
            State_::Working { inner, exchange, metrics } => {
                // There should be no panic. If there is one, it costs this request, not the worker.
                let polled = catch_unwind(AssertUnwindSafe(|| inner.poll(cx))).unwrap_or_else(|_| {
                    metrics.panicked();
                    Poll::Ready(Err(Error::Panicked))
                });
                let Poll::Ready(answer) = polled else { return Poll::Pending };
                let exchange = exchange.take();
                Poll::Ready(Ok(exchange.map(|exchange| give(answer, exchange)).unwrap_or_default()))
            }
        }
    }
}

/// Turns the outcome into a response, and lets the exchange hear of its end.
fn give(answer: Result<Response, Error>, exchange: Arc<Exchange>) -> Response {
    let mut response = match answer {
        Ok(response) => {
            exchange.answered(response.status().as_u16(), None);
            response
        }
        Err(error) => {
            let response = answer::answer(&error, exchange.route.name.as_deref(), exchange.id.as_str());
            exchange.answered(response.status().as_u16(), Some(error.reason()));
            response
        }
    };
    response.body_mut().watch(exchange);
    response
}

/// Checks a request, finds its route and makes a call of it.
fn enter(lane: &Lane, request: Request) -> Result<(Call, Stack), (Error, Arc<Exchange>)> {
    let Request { method, target, version, headers, body, names_hops, started, origin, interim } = request;
    let mut body = body;
    let client = lane.trust.client(origin.peer.ip(), &headers);
    let id = RequestId::of(&headers);
    let checked = Target::parse(target).and_then(|target| {
        check_form(&method, &target)?;
        let host = host::of(&target, &headers, version)?;
        Ok((target, host))
    });
    let (target, host, error) = match checked {
        Ok((target, host)) => (target, host, None),
        Err(error) => (Target::unreadable(), Box::default(), Some(error)),
    };
    let found = match error {
        Some(error) => Err(error),
        None => lane.find(&host, &target, &method, &headers).ok_or(Error::NoRoute),
    };
    let (route, parameters, error) = match found {
        Ok((route, parameters)) => (Some(route), parameters, None),
        Err(error) => (None, Vec::new(), Some(error)),
    };
    let exchange = Arc::new(Exchange {
        request: Head { method, target, version, headers, host, names_hops, interim },
        origin,
        client,
        id,
        started,
        route: Arc::clone(route.map_or(&lane.unmatched, |route| &route.tag)),
        parameters,
        facts: parking_lot::Mutex::new(Facts::default()),
    });
    let Some(route) = route else { return Err((error.unwrap_or(Error::NoRoute), exchange)) };
    if let Err(error) = bounded::bound(&mut body, route.max_body) {
        return Err((error, exchange));
    }
    if !body.is_empty() {
        body.watch(Arc::new(Incoming(Arc::clone(&exchange))));
    }
    Ok((Call { exchange, body, deadline: None, fresh: false, now: started }, route.stack.clone()))
}

/// Some targets belong to some methods (RFC 9112, 3.2). An upstream that agreed to CONNECT would make a tunnel of its
/// pooled connection.
fn check_form(method: &Method, target: &Target) -> Result<(), Error> {
    match (method, target.path()) {
        (&Method::CONNECT, _) => Err(Error::Malformed("CONNECT is for forward proxies, which this is not")),
        (&Method::OPTIONS, _) => Ok(()),
        (_, b"*") => Err(Error::Malformed("the target * is for OPTIONS only")),
        _ => Ok(()),
    }
}

/// Something that came instead of a request.
struct Refused {
    started: tokio::time::Instant,
    origin: Arc<crate::message::Origin>,
}

impl Refused {
    /// An exchange that tells of it.
    fn exchange(self, lane: &Lane) -> Arc<Exchange> {
        let headers = http::HeaderMap::new();
        let client = Client { ip: self.origin.peer.ip().to_canonical(), peer_is_trusted: false };
        Arc::new(Exchange {
            id: RequestId::of(&headers),
            request: Head {
                method: http::Method::from_bytes(b"-").unwrap_or_default(),
                target: Target::unreadable(),
                version: http::Version::HTTP_11,
                headers,
                host: Box::default(),
                names_hops: false,
                interim: None,
            },
            origin: self.origin,
            client,
            started: self.started,
            route: Arc::clone(&lane.unmatched),
            parameters: Vec::new(),
            facts: parking_lot::Mutex::new(Facts::default()),
        })
    }
}
