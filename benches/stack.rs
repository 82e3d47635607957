//! The cost of a request in the gateway's own code, without sockets: each layer
//! over a service that does nothing, the parsing of heads, and a whole route
//! from arrival to response.

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    pin::pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{Method, StatusCode, Version};
use tidegate::{
    body::Body,
    build::{Process, build},
    call::{Call, Client, Exchange, Facts, Flag, Outgoing, Progress, RequestId, RouteTag, Target},
    config,
    error::{Failed, LimitOwner},
    gateway::Gateway,
    http1,
    layer::{
        AttemptTimeoutLayer, Buckets, Budget, ConcurrencyLayer, ConcurrencyLimit, Counter, FairBy,
        ForwardLayer, ForwardPolicy, HiddenCredentials, Queueing, RateLimitLayer, RetryLayer,
        RouteLimit, TotalTimeoutLayer,
    },
    limit::{KeyHasher, Limiter, Top},
    message::{Arrival, Headers, Origin, Request, RequestHead, Response},
    policy::{
        Allowance, Bound, Concurrency, Cost, Failures, HeadLimits, HeaderChanges, KeyPart, Limit,
        LogFormat, Missing, Prefixes, Priority, Quota, Rate, RequestChanges, Retry, Statuses,
        Timeouts,
    },
    runtime::worker,
    telemetry::{AccessLog, FixedFields, Form, Metrics},
};
use tokio::time::Instant;
use tower::{Layer, Service};

const REQUEST: &[u8] =
    b"GET /orders/7?full=1 HTTP/1.1\r\nHost: orders.example.com\r\nUser-Agent: bench\r\n\
    Accept: */*\r\nAccept-Encoding: gzip\r\nX-Api-Key: 0123456789abcdef\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 130\r\nConnection: keep-alive\r\n\r\n";
const LIMITS: HeadLimits = HeadLimits {
    bytes: 32 * 1024,
    headers: 100,
    keeps_underscores: false,
};

/// A service that responds at once.
#[derive(Debug, Clone)]
struct Nothing;

impl<R> Service<R> for Nothing {
    type Response = Response;
    type Error = Failed;
    type Future = Ready<Result<Response, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: R) -> Self::Future {
        ready(Ok(Response::default()))
    }
}

fn origin() -> Arc<Origin> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 40000));
    let listener = Arc::new(FixedFields::listener("127.0.0.1:8080".into()));
    Arc::new(Origin::new(listener, address, address))
}

fn headers() -> Headers {
    let host = ("Host", "orders.example.com");
    Headers::from_iter([host, ("User-Agent", "bench"), ("Accept", "*/*")])
}

fn tag(metrics: &Metrics) -> Arc<RouteTag> {
    let metrics = metrics.route("bench");
    Arc::new(RouteTag {
        name: Some("bench".into()),
        limits: Vec::new(),
        limit_texts: [].into(),
        limit_headers: Default::default(),
        cors: None,
        refusal: None,
        metrics,
        access: None,
        traced: None,
    })
}

fn exchange(origin: &Arc<Origin>, route: &Arc<RouteTag>) -> Arc<Exchange> {
    let headers = headers();
    Arc::new(Exchange {
        id: RequestId::of(&headers),
        request: head(headers),
        target: Target::parse(Bytes::from_static(b"/orders/7?full=1")).expect("a target"),
        host: "orders.example.com".into(),
        grpc: None,
        interim: None,
        origin: Arc::clone(origin),
        client: Client {
            ip: Ipv4Addr::LOCALHOST.into(),
            chain: None,
        },
        started: Instant::now(),
        facts: Facts::begin(&route.metrics),
        route: Arc::clone(route),
        trace: None,
        parameters: Vec::new(),
        identified: OnceLock::new(),
        is_sent: Flag::default(),
        progress: Progress::default(),
    })
}

fn head(headers: Headers) -> Box<RequestHead> {
    Box::new(RequestHead {
        method: Method::GET,
        version: Version::HTTP_11,
        headers,
        names_hops: false,
        upgrade: None,
    })
}

fn drive<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    group.bench_function("request in", |b| {
        b.iter(|| {
            let mut buffer = BytesMut::from(REQUEST);
            http1::parse_request(&mut buffer, &LIMITS).expect("a sound head")
        });
    });
    group.bench_function("response in", |b| {
        b.iter(|| http1::parse_response(black_box(RESPONSE), &Method::GET).expect("a sound head"));
    });
    group.finish();
}

/// One layer over a service that does nothing; subtract "none" to get the layer
/// alone.
fn layers(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let metrics = Metrics::new(1);
    let (origin, route) = (origin(), tag(&metrics));
    let call = || Call::new(exchange(&origin, &route), Body::empty(), Instant::now());
    let second = Duration::from_secs(1);
    let mut group = c.benchmark_group("layer");
    group.bench_function("none", |b| {
        b.iter(|| drive(Nothing.call(black_box(call()))))
    });
    let mut limited = two_limits().layer(Nothing);
    group.bench_function("rate limit, two limits", |b| {
        b.iter(|| drive(limited.call(call())))
    });
    let mut timeouts = TotalTimeoutLayer::new(Timeouts {
        total: 30 * second,
        attempt: 10 * second,
        idle: 60 * second,
        tunnel: 3600 * second,
        body: None,
    })
    .layer(Nothing);
    group.bench_function("total timeout", |b| b.iter(|| drive(timeouts.call(call()))));
    let mut concurrency = at_most_64().layer(Nothing);
    group.bench_function("concurrency", |b| {
        b.iter(|| drive(concurrency.call(call())))
    });
    let mut retry = retry().layer(Nothing);
    group.bench_function("retry", |b| b.iter(|| drive(retry.call(call()))));
    let mut attempt = AttemptTimeoutLayer {
        attempt: 10 * second,
    }
    .layer(Nothing);
    group.bench_function("attempt timeout", |b| {
        b.iter(|| drive(attempt.call(call())))
    });
    let policy = ForwardPolicy {
        request: RequestChanges {
            preserve_host: true,
            ..RequestChanges::default()
        },
        response: HeaderChanges::default(),
        locations: None,
        key: None,
        hidden: HiddenCredentials::default(),
    };
    let mut forward = ForwardLayer {
        policy: Arc::new(policy),
    }
    .layer(Nothing);
    group.bench_function("forward", |b| {
        b.iter(|| drive(Service::<Call>::call(&mut forward, call())))
    });
    group.finish();
    drop(Service::<Outgoing>::call(&mut Nothing, outgoing(call())));
}

/// A limit for each client and a limit for all requests.
fn two_limits() -> RateLimitLayer {
    let rate = Rate {
        count: u32::MAX,
        period: Duration::from_secs(5),
    };
    let quota = Quota::new(rate, NonZeroU32::MAX).expect("a sound quota");
    let client = KeyPart::ClientIp(Prefixes { v4: 32, v6: 64 });
    let limits = [
        limit(0, "per-client", quota, vec![client]),
        limit(1, "everyone", quota, Vec::new()),
    ];
    RateLimitLayer::new(limits, None, Duration::from_secs(30))
}

fn limit(index: usize, name: &str, quota: Quota, key: Vec<KeyPart>) -> RouteLimit {
    let buckets = Buckets {
        counter: Counter::Tokens(
            Limiter::new(name, quota, NonZeroUsize::MIN).expect("a sound limit"),
        ),
        top: Arc::new(Top::new(1)),
        begun: KeyHasher::new().key(name),
        shared: None,
        shared_cap: None,
    };
    let policy = Limit {
        name: name.into(),
        key,
        missing: Missing::Refuse,
        stand_ins: None,
        allowance: Allowance::Rate(quota),
        cost: Cost::Fixed(1),
        shadow: false,
        candidate: None,
        count: None,
        overrides: Vec::new(),
        plans: Vec::new(),
        tiers: Vec::new(),
        delay: None,
        ban: None,
        shared: false,
        max_keys: NonZeroUsize::MIN,
        status: StatusCode::TOO_MANY_REQUESTS,
        persist: false,
    };
    RouteLimit::new(Arc::new(policy), index, buckets.into())
}

fn at_most_64() -> ConcurrencyLayer {
    let settings = Concurrency {
        bound: Bound::Fixed(NonZeroUsize::new(64).expect("not zero")),
        queue: 64,
        queue_timeout: Duration::from_secs(1),
        fair_by: Vec::new(),
    };
    let limit = ConcurrencyLimit::new(LimitOwner::Route("bench".into()), &settings);
    let fair_by = FairBy {
        begun: KeyHasher::new().key("bench"),
        parts: Vec::new(),
    };
    let queueing = Queueing {
        priority: Priority::Normal,
        fair_by,
    };
    let abandoned_timeout = Some(Duration::from_secs(30));
    ConcurrencyLayer::new(Arc::new(limit), abandoned_timeout, Some(queueing))
}

fn outgoing(call: Call) -> Outgoing {
    Outgoing {
        call,
        head: Vec::new(),
        has_host: true,
        names_length: false,
        trailers: Box::default(),
        trailers_to_http1: false,
        key: None,
    }
}

fn retry() -> RetryLayer {
    let policy = Retry {
        attempts: NonZeroU32::new(2).expect("not zero"),
        on: Failures {
            connect: true,
            reset: true,
            timeout: false,
            statuses: [Statuses {
                first: 502,
                last: 502,
            }]
            .into_iter()
            .collect(),
        },
        methods: vec![Method::GET],
        backoff: Duration::from_millis(25),
        max_backoff: Duration::from_secs(1),
        budget: 0.2,
        budget_min: 10,
        buffer: 65536,
    };
    RetryLayer::new(&policy, &Arc::new(Budget::new(0.2, 10, 1)))
}

/// From arrival to response, with everything but the upstream: match, limits,
/// cap, metrics, access line.
fn whole_stack(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    worker::set_current(0);
    let mut group = c.benchmark_group("whole stack");
    for (name, limit) in [("answered", "1000000/s"), ("refused", "1/d")] {
        let mut gateway = gateway(limit);
        let origin = origin();
        let mut written = Vec::new();
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let answer: Result<Response, Infallible> =
                    drive(gateway.call(Arrival::Request(request(&origin))));
                let Ok(mut answer) = answer;
                written.clear();
                answer.body.append_whole(&mut written);
                answer.body.delivered();
            });
        });
    }
    group.finish();
}

fn request(origin: &Arc<Origin>) -> Request {
    let now = Instant::now();
    Request {
        head: head(headers()),
        target: Bytes::from_static(b"/orders/7?full=1"),
        body: Body::empty(),
        started: now,
        arrived: now,
        origin: Arc::clone(origin),
        interim: None,
    }
}

fn gateway(rate: &str) -> Gateway {
    let text = format!(
        r#"
        [limits.per-client]
        key = "client-ip"
        rate = "{rate}"
        [limits.everyone]
        rate = "1000000/s"
        [[routes]]
        name = "orders"
        respond = {{ status = 200, body = "ok" }}
        limits = ["per-client", "everyone"]
        match = {{ path_prefix = "/orders" }}
        concurrency = {{ max = 100, queue = 100 }}
        "#
    );
    let config = Arc::new(
        config::parse("bench.toml", &text, &config::Environment::new()).expect("a sound text"),
    );
    let metrics = Metrics::new(1);
    let (access, guard) = AccessLog::start(
        Form::Full(LogFormat::Json),
        std::io::sink(),
        1,
        metrics.dropped(),
    )
    .expect("a thread to write lines");
    // The guard is leaked, so that lines are written until the process ends.
    std::mem::forget(guard);
    let buffers = Arc::default();
    let process = Process {
        workers: 1,
        metrics: Arc::clone(&metrics),
        access,
        hasher: KeyHasher::new(),
        buffers,
        challenges: Arc::default(),
    };
    let built = build(config, None, &process).expect("a gateway");
    Gateway::new(Arc::new(built.snapshot), 0, metrics)
}

criterion_group!(benches, heads, layers, whole_stack);
criterion_main!(benches);
