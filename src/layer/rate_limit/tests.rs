//! Promises of the layer that need no gateway around it: which clock decides,
//! and that the way of plain limits decides as the way of all others.

use std::{
    future::{Future, ready},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::{NonZeroU32, NonZeroUsize},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::StatusCode;
use proptest::prelude::*;
use tokio::time::Instant;
use tower::{Layer, Service, service_fn};

use super::{Buckets, Counter, Overrides, RateLimitLayer, RouteLimit, RouteLimitState};
use crate::{
    body::Body,
    call::{Call, LimitFacts},
    error::{Error, Failed},
    layer::foreign::call,
    limit::{KeyHasher, Limiter, Top},
    message::Response,
    policy::{Allowance, Cost, KeyPart, Limit, Missing, Prefixes, Quota, Rate},
};

const SECOND: Duration = Duration::from_secs(1);

fn quota(burst: u32) -> Quota {
    let rate = Rate {
        count: 1,
        period: SECOND,
    };
    Quota::new(rate, NonZeroU32::new(burst).unwrap()).unwrap()
}

/// A limit of one token a second for each client, or for everybody. `is_plain`
/// is whether it is decided in the short way: overrides for requests that lack
/// an address, of which there are none, change nothing else.
fn limit(index: usize, burst: u32, is_everybodys: bool, is_plain: bool) -> RouteLimit {
    let (name, quota) = (format!("l{index}"), quota(burst));
    let policy = Limit {
        name: (*name).into(),
        key: if is_everybodys {
            Vec::new()
        } else {
            vec![KeyPart::ClientIp(Prefixes { v4: 32, v6: 64 })]
        },
        missing: Missing::Refuse,
        stand_ins: (!is_plain).then_some(Allowance::Rate(quota)),
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
    let buckets = Buckets {
        counter: Counter::Tokens(
            Limiter::new(&*name, quota, NonZeroUsize::new(100).unwrap()).unwrap(),
        ),
        top: Arc::new(Top::new(1)),
        begun: KeyHasher::with_seed([1, 2]).key(&name),
        shared: None,
        shared_cap: None,
    };
    let overrides = Overrides::build(&policy, &buckets.counter, &buckets.begun).unwrap();
    let overrides = overrides.map(Arc::new);
    let limit = RouteLimit::new(
        Arc::new(policy),
        index,
        RouteLimitState {
            overrides,
            ..buckets.into()
        },
    );
    assert_eq!(limit.is_plain, is_plain);
    limit
}

fn call_from(client: IpAddr, now: Instant) -> Call {
    let mut call = call();
    Arc::get_mut(&mut call.exchange).unwrap().client.ip = client;
    Call { now, ..call }
}

/// Has the limits of `layer` decide about `call`, and the service behind them
/// end with `outcome`. Returns how the call ended, and what is emitted.
fn decide(
    layer: &RateLimitLayer,
    call: Call,
    outcome: Result<StatusCode, Failed>,
) -> (Result<StatusCode, Error>, LimitFacts) {
    let exchange = Arc::clone(&call.exchange);
    let respond = move |_: Call| {
        let outcome = outcome.clone();
        ready(outcome.map(|status| Response::new(status, Body::empty())))
    };
    let mut future = pin!(layer.layer(service_fn(respond)).call(call));
    let Poll::Ready(outcome) = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("nothing here waits");
    };
    let facts = exchange.facts.lock().limits;
    let outcome = outcome.map(|response| response.status);
    (outcome.map_err(|failed| failed.error), facts)
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OK: Result<StatusCode, Failed> = Ok(StatusCode::OK);

/// A client that sends its head slowly gets the tokens that came meanwhile, and
/// no more than those.
#[tokio::test(start_paused = true)]
async fn a_request_is_decided_at_the_time_at_which_its_head_had_come() {
    let layer = RateLimitLayer::new([limit(0, 1, false, true)], None, SECOND);
    let now = Instant::now();
    let is_admitted = |after| {
        let call = call_from(CLIENT, now + after);
        decide(&layer, call, OK).0.is_ok()
    };
    assert!(is_admitted(Duration::ZERO));
    assert!(!is_admitted(SECOND - Duration::from_nanos(1)));
    assert!(is_admitted(SECOND));
    assert!(
        !is_admitted(Duration::ZERO),
        "an earlier time has no tokens"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_server_has_seen_gets_plain_tokens_back() {
    let limits = [limit(0, 2, false, true), limit(1, 1, true, true)];
    let layer = RateLimitLayer::new(limits, None, SECOND);
    let call = || call_from(CLIENT, Instant::now());
    let unseen = Failed::unseen(Error::Panicked);
    for _ in 0..3 {
        let (outcome, facts) = decide(&layer, call(), Err(unseen.clone()));
        assert_eq!((outcome, facts.admitted), (Err(Error::Panicked), 0b11));
    }
    let seen = Failed::from(Error::Panicked);
    assert_eq!(decide(&layer, call(), Err(seen)).1.admitted, 0b11);
    assert_eq!(decide(&layer, call(), OK).1.refused, 0b10);
}

proptest! {
    /// Requests of some clients, each some time after the one before, under one
    /// or two limits.
    #[test]
    fn plain_limits_decide_as_all_others_do(
        bursts in prop::collection::vec((1_u32..4, any::<bool>()), 1..=2),
        requests in prop::collection::vec((0_u64..4, 0_u64..1500, 0_u8..3), 1..40),
    ) {
        let layer = |is_plain| {
            let limits = bursts.iter().enumerate();
            let limits = limits.map(|(index, (burst, is_everybodys))| {
                limit(index, *burst, *is_everybodys, is_plain)
            });
            RateLimitLayer::new(limits, None, SECOND)
        };
        let (plain, other) = (layer(true), layer(false));
        let mut now = Instant::now();
        for (client, after, outcome) in requests {
            now += Duration::from_millis(after);
            let client = match client {
                0 => IpAddr::V6(Ipv6Addr::LOCALHOST),
                1 => IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()),
                last => IpAddr::V4(Ipv4Addr::new(127, 0, 0, last as u8)),
            };
            let outcome = match outcome {
                0 => Err(Failed::unseen(Error::Panicked)),
                1 => Err(Failed::from(Error::Panicked)),
                _ => OK,
            };
            prop_assert_eq!(
                decide(&plain, call_from(client, now), outcome.clone()),
                decide(&other, call_from(client, now), outcome)
            );
        }
    }
}
