//! Layers of tower-http in a route's stack.
//!
//! Calls are not `http` requests: they carry what a gateway knows of a request,
//! and their response header is kept as the bytes that will be written. A pair
//! of adapters puts a layer for `http` requests between two layers of this
//! crate: [`ToHttp`] outside of it, [`FromHttp`] inside. The ordinary stack
//! contains neither and does not pay for them. Changes that a foreign layer
//! makes in the request header are not taken over.
//!
//! # Reason
//!
//! The layers of this crate follow tower's contract, and these tests keep them
//! to it. An operator cannot add a layer; a developer can, and finds here how
//! one for `http` requests is put into a stack.
//!
//! The innermost service of the tests is strict about readiness: it panics when
//! it is called before it was ready, and so finds a layer that clones a service
//! and calls the clone.

use std::{
    future::{Future, Ready, ready},
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Version, header};
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt, layer::layer_fn};
use tower_http::set_header::SetResponseHeaderLayer;

use super::{
    AttemptTimeoutLayer, Budget, ConcurrencyLayer, ConcurrencyLimit, FairBy, Queueing, RetryLayer,
    Split,
};
use crate::{
    body::Body,
    call::{Call, Client, Exchange, Facts, Flag, Progress, RequestId, RouteTag, Target},
    error::{ConnectFailure, Error, Failed, LimitOwner},
    limit::KeyHasher,
    message::{Headers, Origin, RequestHead, Response},
    policy::{Bound, Concurrency, Failures, LimitHeaders, Priority, Retry},
    telemetry::{FixedFields, Metrics},
};

/// The call that an `http` request stands for. It travels in the extensions of
/// the request. Behind a lock and a pointer, since extensions have to be
/// cloneable and a call is not.
#[derive(Clone)]
struct Carried(Arc<Mutex<Option<Call>>>);

/// Turns calls into requests of the `http` crate.
#[derive(Clone)]
struct ToHttp<S>(S);

/// Turns the requests of [`ToHttp`] back into calls.
#[derive(Clone)]
struct FromHttp<S>(S);

type Result = std::result::Result<Response, Failed>;

impl<S> Service<Call> for ToHttp<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Failed>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), Failed>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let mut request = http::Request::new(std::mem::take(&mut call.body));
        *request.method_mut() = call.exchange.request.method.clone();
        *request.headers_mut() = call.exchange.request.headers.to_map();
        let carried = Carried(Arc::new(Mutex::new(Some(call))));
        request.extensions_mut().insert(carried);
        let responded = self.0.call(request);
        Box::pin(async move {
            let (head, body) = responded.await?.into_parts();
            let mut response = Response::new(head.status, body);
            for (name, value) in &head.headers {
                response.fields.push(name.as_str(), value.as_bytes());
            }
            Ok(response)
        })
    }
}

impl<S> Service<http::Request<Body>> for FromHttp<S>
where
    S: Service<Call, Response = Response, Error = Failed>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Failed;
    type Future =
        Pin<Box<dyn Future<Output = std::result::Result<http::Response<Body>, Failed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), Failed>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let carried = request.extensions_mut().remove::<Carried>().unwrap();
        let mut call = carried.0.lock().take().unwrap();
        call.body = request.into_body();
        let responded = self.0.call(call);
        Box::pin(async move {
            let response = responded.await?;
            let mut out = http::Response::new(response.body);
            *out.status_mut() = response.status;
            *out.headers_mut() = response.fields.into_map();
            Ok(out)
        })
    }
}

/// Fails with a refused connection as often as told, then responds with 200. It
/// is ready at the second look, and panics if it is called before it was ready,
/// as tower's contract allows.
struct Strict {
    /// Failures still to come, over all clones.
    failures: Arc<AtomicUsize>,
    /// How often this clone was polled for readiness since its last call.
    looks: usize,
}

impl Strict {
    fn failing(times: usize) -> Self {
        Self {
            failures: Arc::new(AtomicUsize::new(times)),
            looks: 0,
        }
    }
}

impl Clone for Strict {
    /// A clone has to be seen ready by itself.
    fn clone(&self) -> Self {
        Self {
            failures: Arc::clone(&self.failures),
            looks: 0,
        }
    }
}

impl Service<Call> for Strict {
    type Response = Response;
    type Error = Failed;
    type Future = Ready<Result>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), Failed>> {
        self.looks += 1;
        if self.looks < 2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Call) -> Self::Future {
        assert!(self.looks >= 2, "called before it was ready");
        self.looks = 0;
        let failed = self
            .failures
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        ready(match failed {
            Err(_) => Ok(Response::new(StatusCode::OK, Body::whole("ok"))),
            Ok(_) => Err(Failed::unseen(Error::ConnectFailed {
                upstream: "app".into(),
                cause: ConnectFailure::Refused,
            })),
        })
    }
}

/// A `GET /` without a body, from a client on this machine, to a route without
/// limits.
pub(super) fn call() -> Call {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 40000));
    let route = Arc::new(RouteTag {
        name: Some("r".into()),
        limits: Vec::new(),
        limit_texts: [].into(),
        limit_headers: LimitHeaders::Off,
        cors: None,
        refusal: None,
        metrics: Metrics::new(1).route("r"),
        access: None,
        traced: None,
    });
    let listener = Arc::new(FixedFields::listener("127.0.0.1:8080".into()));
    let exchange = Arc::new(Exchange {
        id: RequestId::made(),
        request: Box::new(RequestHead {
            method: Method::GET,
            version: Version::HTTP_11,
            headers: Headers::default(),
            names_hops: false,
            upgrade: None,
        }),
        target: Target::parse(Bytes::from_static(b"/")).unwrap(),
        host: "example.com".into(),
        grpc: None,
        interim: None,
        origin: Arc::new(Origin::new(listener, address, address)),
        client: Client {
            ip: address.ip(),
            chain: None,
        },
        identified: OnceLock::new(),
        started: Instant::now(),
        trace: None,
        facts: Facts::begin(&route.metrics),
        route,
        parameters: Vec::new(),
        is_sent: Flag::default(),
        progress: Progress::default(),
    });
    let now = exchange.started;
    Call::new(exchange, Body::empty(), now)
}

/// Up to three attempts after failed connects, with a budget that never runs
/// out here.
fn retries() -> RetryLayer {
    let policy = Retry {
        attempts: NonZeroU32::new(3).unwrap(),
        on: Failures {
            connect: true,
            ..Failures::default()
        },
        methods: Vec::new(),
        backoff: Duration::from_millis(10),
        max_backoff: Duration::from_millis(10),
        budget: 1.0,
        budget_min: 10,
        buffer: 1024,
    };
    RetryLayer::new(&policy, &Arc::new(Budget::new(1.0, 10, 1)))
}

/// A concurrency limit of one request with a queue of one.
fn at_most_one() -> Arc<ConcurrencyLimit> {
    let settings = Concurrency {
        bound: Bound::Fixed(NonZeroUsize::MIN),
        queue: 1,
        queue_timeout: Duration::from_secs(1),
        fair_by: Vec::new(),
    };
    let owner = LimitOwner::Route("r".into());
    Arc::new(ConcurrencyLimit::new(owner, &settings))
}

/// A timeout that none of these tests reaches.
const ATTEMPT: AttemptTimeoutLayer = AttemptTimeoutLayer {
    attempt: Duration::from_secs(10),
};

/// Two failures make the retries call the strict service three times, inside of
/// the foreign layer.
#[tokio::test(start_paused = true)]
async fn a_layer_of_tower_http_takes_part_in_a_stack_of_these_layers() {
    let server = HeaderValue::from_static("tower-http");
    let stack = ServiceBuilder::new()
        .layer(ConcurrencyLayer::new(at_most_one(), None, None))
        .layer(layer_fn(ToHttp))
        .layer(SetResponseHeaderLayer::overriding(header::SERVER, server))
        .layer(layer_fn(FromHttp))
        .layer(retries())
        .layer(ATTEMPT)
        .service(Strict::failing(2));
    let response = stack.oneshot(call()).await.unwrap();
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(
        response.fields.get(&header::SERVER),
        Some(&b"tower-http"[..])
    );
    assert_eq!(response.body.as_whole().as_deref(), Some(&b"ok"[..]));
}

/// Once with a single service and once with two, since a split draws only in
/// the second case.
#[tokio::test(start_paused = true)]
async fn retries_and_splits_call_no_service_before_it_is_ready() {
    let way = || {
        ServiceBuilder::new()
            .layer(retries())
            .service(Strict::failing(2))
    };
    let weight = NonZeroU32::MIN;
    for others in [vec![], vec![(weight, way())]] {
        let split = Split::new((weight, way()), others);
        assert!(split.oneshot(call()).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_for_a_permit_calls_no_service_before_it_is_ready() {
    let limit = at_most_one();
    let queueing = Queueing {
        priority: Priority::Normal,
        fair_by: FairBy {
            begun: KeyHasher::new().key("r"),
            parts: Vec::new(),
        },
    };
    let stack = ServiceBuilder::new()
        .layer(ConcurrencyLayer::new(
            Arc::clone(&limit),
            None,
            Some(queueing),
        ))
        .service(Strict::failing(0));
    let held = limit.try_acquire(Instant::now());
    let mut waiting = pin!(stack.oneshot(call()));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(held);
    assert!(waiting.await.is_ok());
}
