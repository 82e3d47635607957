//! `Retry-After` is exact to the second: checked on a paused clock, through the
//! whole stack of a route.

use std::{
    convert::Infallible,
    fmt::Write as _,
    future::Future,
    net::Ipv4Addr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Version};
use proptest::prelude::*;
use tidegate::{
    body::Body,
    build::{Process, build},
    config,
    gateway::Gateway,
    limit::KeyHasher,
    message::{Arrival, Headers, Origin, Request, RequestHead, Response},
    policy::LogFormat,
    telemetry::{AccessLog, FixedFields, Form, Metrics},
};
use tokio::time::{Instant, advance};
use tower::Service;

/// One limit of the route.
#[derive(Debug, Clone)]
struct Limit {
    rate: u32,
    unit: &'static str,
    burst: u32,
    counts_responses: bool,
    tier: Option<u32>,
}

fn limits() -> impl Strategy<Value = Vec<Limit>> {
    let unit = prop_oneof![Just("s"), Just("m"), Just("h"), Just("7s")];
    let limit = (
        1..40_u32,
        unit,
        3..12_u32,
        any::<bool>(),
        prop::option::of(3..12_u32),
    );
    let limit = limit.prop_map(|(rate, unit, burst, counts_responses, tier)| Limit {
        rate,
        unit,
        burst,
        counts_responses,
        tier,
    });
    prop::collection::vec(limit, 1..4)
}

/// Builds a gateway inside this process, with one route that responds by
/// itself.
fn gateway(limits: &[Limit]) -> Gateway {
    let mut text =
        String::from("[client_ip]\ntrusted_proxies = ['127.0.0.1']\n[log]\naccess = false\n");
    for (
        n,
        Limit {
            rate,
            unit,
            burst,
            counts_responses,
            tier,
        },
    ) in limits.iter().enumerate()
    {
        let count = if *counts_responses {
            "count = ['2xx']"
        } else {
            ""
        };
        let _ = write!(
            text,
            "[limits.l{n}]\nkey = 'client-ip'\nrate = '{rate}/{unit}'\nburst = {burst}\n{count}\n"
        );
        let _ = writeln!(
            text,
            "cost = {{ header = 'x-cost', max = 3 }}\nmax_keys = 64"
        );
        if let Some(burst) = tier {
            let _ = writeln!(
                text,
                "tiers = [{{ prefix = 48, rate = '{rate}/{unit}', burst = {burst} }}]"
            );
        }
    }
    let names: Vec<_> = (0..limits.len()).map(|n| format!("l{n}")).collect();
    let _ = write!(
        text,
        "[[routes]]\nname = 'r'\nrespond = {{}}\nlimits = {names:?}\n"
    );
    let config = config::parse("test.toml", &text, &config::Environment::new()).unwrap();
    let metrics = Metrics::new(1);
    let (access, guard) = AccessLog::start(
        Form::Full(LogFormat::Json),
        std::io::sink(),
        1,
        metrics.dropped(),
    )
    .unwrap();
    drop(guard);
    let process = Process {
        workers: 1,
        metrics: Arc::clone(&metrics),
        access,
        hasher: KeyHasher::new(),
        buffers: Arc::default(),
        challenges: Arc::default(),
    };
    let built = build(Arc::new(config), None, &process).unwrap();
    Gateway::new(Arc::new(built.snapshot), 0, metrics)
}

/// Sends a request, whose head took a while to come. Returns the seconds of `Retry-After` if it is refused.
fn ask(gateway: &mut Gateway, network: u8, cost: u8) -> Option<u64> {
    let headers = Headers::from_iter([
        ("host", "a".to_owned()),
        ("x-cost", cost.to_string()),
        ("x-forwarded-for", format!("2001:db8:0:{network:x}::1")),
    ]);
    let peer = (Ipv4Addr::LOCALHOST, 1).into();
    let head = Box::new(RequestHead {
        method: Method::GET,
        version: Version::HTTP_11,
        headers,
        names_hops: false,
        upgrade: None,
    });
    let now = Instant::now();
    let listener = Arc::new(FixedFields::listener("test".into()));
    let request = Request {
        head,
        target: Bytes::from_static(b"/"),
        body: Body::empty(),
        started: now - Duration::from_secs(cost.into()),
        arrived: now,
        origin: Arc::new(Origin::new(listener, peer, peer)),
        interim: None,
    };
    let response: Result<Response, Infallible> = at_once(gateway.call(Arrival::Request(request)));
    let Ok(response) = response;
    let after = response.fields.get(&http::header::RETRY_AFTER);
    after.map(|after| std::str::from_utf8(after).unwrap().parse().unwrap())
}

/// Polls a future once; it has to be ready.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a response without an upstream is ready at once"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_request_is_admitted_after_retry_after_and_refused_a_second_before(
        limits in limits(),
        steps in prop::collection::vec((0..3_u8, 0..4_u8, 0..4000_u64), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut gateway = gateway(&limits);
            for (network, cost, pause) in steps {
                let Some(seconds) = ask(&mut gateway, network, cost) else {
                    advance(Duration::from_millis(pause / 20)).await;
                    continue;
                };
                prop_assert!(seconds > 0);
                advance(Duration::from_secs(seconds - 1)).await;
                prop_assert!(ask(&mut gateway, network, cost).is_some(), "admitted a second before");
                advance(Duration::from_secs(1)).await;
                prop_assert_eq!(ask(&mut gateway, network, cost), None, "refused after {} s", seconds);
            }
            Ok(())
        })?;
    }
}
