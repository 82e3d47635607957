//! Permits: held together with tokens, and given back in each way in which a
//! request ends.

use std::{
    future::{Future, pending, ready},
    num::{NonZeroU32, NonZeroUsize},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::StatusCode;
use proptest::prelude::*;
use tokio::time::Instant;
use tower::{Layer, Service, service_fn};

use crate::{
    body::Body,
    call::{Call, Exchange, Holds, LimitFacts},
    error::{Error, Failed},
    layer::{Buckets, Counter, RateLimitLayer, RouteLimit, RouteLimitState, foreign::call},
    limit::{KeyHasher, KeysInFlight, Limiter, Top},
    message::Response,
    policy::{Allowance, Candidate, Cost, KeyPart, Limit, Missing, Prefixes, Quota, Rate},
};

const SECOND: Duration = Duration::from_secs(1);

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// A rate of one token in a second.
fn rate(burst: u32) -> Allowance {
    let rate = Rate {
        count: 1,
        period: SECOND,
    };
    Allowance::Rate(Quota::new(rate, number(burst)).unwrap())
}

fn cap(most: u32) -> Allowance {
    Allowance::InFlight(number(most))
}

/// The limits of a route, each with the same key for everybody.
struct Limits {
    layer: RateLimitLayer,
    counters: Vec<Counter>,
    /// When all requests come.
    now: Instant,
}

/// The settings of a limit beside its allowance.
#[derive(Clone, Copy, Default)]
struct More {
    is_shadow: bool,
    candidate: Option<Allowance>,
}

fn counter(name: &str, allowance: Allowance) -> Counter {
    let max_keys = NonZeroUsize::new(100).unwrap();
    match allowance {
        Allowance::Rate(quota) => Counter::Tokens(Limiter::new(name, quota, max_keys).unwrap()),
        Allowance::InFlight(_) => Counter::InFlight(Arc::new(KeysInFlight::new(max_keys))),
    }
}

fn limits(all: &[(Allowance, More)]) -> Limits {
    let (mut limits, mut counters) = (Vec::new(), Vec::new());
    for (index, (allowance, more)) in all.iter().enumerate() {
        let name = format!("l{index}");
        let policy = Limit {
            name: (*name).into(),
            key: vec![KeyPart::ClientIp(Prefixes { v4: 32, v6: 64 })],
            missing: Missing::Refuse,
            stand_ins: None,
            allowance: *allowance,
            cost: Cost::Fixed(1),
            shadow: more.is_shadow,
            candidate: more.candidate.map(|allowance| Candidate {
                name: "candidate".into(),
                allowance,
            }),
            count: None,
            overrides: Vec::new(),
            plans: Vec::new(),
            tiers: Vec::new(),
            delay: None,
            ban: None,
            shared: false,
            max_keys: NonZeroUsize::MIN,
            status: StatusCode::from_u16(430 + index as u16).unwrap(),
            persist: false,
        };
        let own = counter(&name, *allowance);
        let candidate = more.candidate.map(|allowance| counter(&name, allowance));
        counters.extend([Some(own.clone()), candidate.clone()].into_iter().flatten());
        let buckets = Buckets {
            counter: own,
            top: Arc::new(Top::new(1)),
            begun: KeyHasher::with_seed([1, 2]).key(&name),
            shared: None,
            shared_cap: None,
        };
        limits.push(RouteLimit::new(
            Arc::new(policy),
            index,
            RouteLimitState {
                candidate,
                ..buckets.into()
            },
        ));
    }
    Limits {
        layer: RateLimitLayer::new(limits, None, SECOND),
        counters,
        now: Instant::now(),
    }
}

type Outcome = Result<Response, Failed>;
type Pending = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Limits {
    /// Requests in flight of the counter with this index, over all keys.
    fn held(&self, index: usize) -> u64 {
        match &self.counters[index] {
            Counter::InFlight(in_flight) => in_flight.stats().held,
            Counter::Tokens(_) => panic!("a rate"),
        }
    }

    /// A request that ends as `inner` says, and its exchange.
    fn begin(&self, inner: fn() -> Pending) -> (Pending, Arc<Exchange>) {
        let call = Call {
            now: self.now,
            ..call()
        };
        let exchange = Arc::clone(&call.exchange);
        let mut service = self.layer.layer(service_fn(move |call: Call| {
            assert_eq!(call.abandoned_timeout, Some(SECOND));
            inner()
        }));
        (Box::pin(service.call(call)), exchange)
    }

    /// A request that is decided, and how it ends if it does at once.
    fn ask(&self, inner: fn() -> Pending) -> (Option<Outcome>, Pending, LimitFacts) {
        let (mut future, exchange) = self.begin(inner);
        let outcome = match poll(&mut future) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        };
        let facts = exchange.facts.lock().limits;
        (outcome, future, facts)
    }
}

fn poll(future: &mut Pending) -> Poll<Outcome> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// A server that never responds.
fn hangs() -> Pending {
    Box::pin(pending())
}

fn responds() -> Pending {
    Box::pin(ready(Ok(Response::new(
        StatusCode::OK,
        Body::whole("hello"),
    ))))
}

fn one_cap(most: u32) -> Limits {
    limits(&[(cap(most), More::default())])
}

#[tokio::test(start_paused = true)]
async fn a_response_holds_its_permit_until_its_body_is_over() {
    let limits = one_cap(1);
    let (outcome, future, facts) = limits.ask(responds);
    assert_eq!(facts.nearest.unwrap().standing.remaining, 0);
    drop(future);
    let mut response = outcome.unwrap().unwrap();
    assert_eq!(limits.held(0), 1);
    response.body.let_go();
    assert_eq!(limits.held(0), 0);
    let (outcome, ..) = limits.ask(responds);
    assert_eq!(limits.held(0), 1);
    drop(outcome);
    assert_eq!(limits.held(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_gives_the_permit_back_whoever_is_to_blame() {
    let limits = one_cap(1);
    let failures: [fn() -> Pending; 5] = [
        || Box::pin(ready(Err(Failed::unseen(Error::Panicked)))),
        || Box::pin(ready(Err(Error::Panicked.into()))),
        || Box::pin(ready(Err(Error::ClientGone.into()))),
        || Box::pin(ready(Err(Error::TotalTimeout { after: SECOND }.into()))),
        || Box::pin(ready(Err(Error::SlowBody { after: SECOND }.into()))),
    ];
    for failure in failures {
        let (outcome, future, _) = limits.ask(failure);
        assert!(outcome.unwrap().is_err());
        drop(future);
        assert_eq!(limits.held(0), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_gives_its_permit_back() {
    let limits = one_cap(1);
    let (_, future, _) = limits.ask(hangs);
    assert_eq!(limits.held(0), 1);
    drop(future);
    assert_eq!(limits.held(0), 0);
    // Before the future is polled for the first time.
    drop(limits.begin(hangs));
    assert_eq!(limits.held(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_works_on_keeps_the_permit_of_a_client_that_left() {
    let limits = one_cap(1);
    let (future, exchange) = limits.begin(hangs);
    let holds = Arc::new(Holds::default());
    exchange.abandon(&holds);
    drop(future);
    assert_eq!(limits.held(0), 1);
    drop(holds);
    assert_eq!(limits.held(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_gives_the_permit_back() {
    let limits = one_cap(1);
    let (mut future, _) = limits.begin(|| Box::pin(async { panic!("a bug") }));
    let panicked = catch_unwind(AssertUnwindSafe(|| drop(poll(&mut future))));
    assert!(panicked.is_err());
    drop(future);
    assert_eq!(limits.held(0), 0);
}

#[tokio::test(start_paused = true)]
async fn tokens_and_permits_are_taken_together_or_not_at_all() {
    let limits = limits(&[
        (rate(3), More::default()),
        (cap(2), More::default()),
        (cap(1), More::default()),
    ]);
    let (_, first, facts) = limits.ask(hangs);
    assert_eq!(
        (facts.admitted, limits.held(1), limits.held(2)),
        (0b111, 1, 1)
    );
    let nearest = facts.nearest.unwrap();
    assert_eq!((nearest.limit, nearest.standing.remaining), (2, 0));
    // The third limit has no permit: the first two keep what they have.
    for _ in 0..5 {
        let (outcome, _, facts) = limits.ask(hangs);
        let Some(Err(failed)) = outcome else {
            panic!("refused at once")
        };
        let Error::RateLimited {
            retry_after,
            status,
            ..
        } = failed.error
        else {
            panic!("{}", failed.error)
        };
        assert_eq!((retry_after, status.as_u16()), (SECOND, 432));
        assert_eq!((facts.admitted, facts.refused), (0, 0b100));
    }
    assert_eq!((limits.held(1), limits.held(2)), (1, 1));
    drop(first);
    // Two tokens are left, and then the rate refuses.
    for _ in 0..2 {
        assert!(limits.ask(responds).0.unwrap().is_ok());
    }
    let (outcome, _, facts) = limits.ask(hangs);
    assert!(outcome.unwrap().is_err());
    assert_eq!(
        (facts.refused, limits.held(1), limits.held(2)),
        (0b001, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_rates_and_caps_and_tells_the_longest_wait() {
    for (burst, longest) in [(1, 0_u16), (2, 1)] {
        let limits = limits(&[(rate(burst), More::default()), (cap(1), More::default())]);
        let (_, _first, _) = limits.ask(hangs);
        let (outcome, _, facts) = limits.ask(hangs);
        let Some(Err(failed)) = outcome else {
            panic!("refused at once")
        };
        let Error::RateLimited { status, .. } = failed.error else {
            panic!("{}", failed.error)
        };
        assert_eq!(facts.refused, if burst == 1 { 0b11 } else { 0b10 });
        assert_eq!(status.as_u16(), 430 + longest);
        assert_eq!(facts.nearest.unwrap().limit, usize::from(longest));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cap_in_shadow_mode_holds_permits_and_refuses_nothing() {
    let shadow = More {
        is_shadow: true,
        ..More::default()
    };
    let limits = limits(&[(cap(1), shadow), (cap(3), More::default())]);
    let (_, first, facts) = limits.ask(hangs);
    assert_eq!((facts.admitted, facts.shadow_refused), (0b11, 0));
    let (_, _second, facts) = limits.ask(hangs);
    assert_eq!((facts.admitted, facts.shadow_refused), (0b10, 0b01));
    assert_eq!((limits.held(0), limits.held(1)), (1, 2));
    drop(first);
    let (_, _third, facts) = limits.ask(hangs);
    assert_eq!(facts.shadow_refused, 0);
    let (_, _fourth, _) = limits.ask(hangs);
    let (outcome, _, facts) = limits.ask(hangs);
    assert!(outcome.unwrap().is_err());
    assert_eq!((facts.refused, facts.shadow_refused), (0b10, 0b01));
    assert_eq!((limits.held(0), limits.held(1)), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_candidate_holds_permits_of_admitted_requests_only() {
    let candidate = |most| More {
        candidate: Some(cap(most)),
        ..More::default()
    };
    // The candidate would admit fewer.
    let few = limits(&[(cap(2), candidate(1))]);
    let (_, _first, _) = few.ask(hangs);
    let (_, _second, facts) = few.ask(hangs);
    assert_eq!((facts.admitted, facts.candidate_refused), (1, 1));
    assert_eq!((few.held(0), few.held(1)), (2, 1));
    // The candidate would admit more.
    let many = limits(&[(cap(1), candidate(2))]);
    let (_, _first, _) = many.ask(hangs);
    let (outcome, _, facts) = many.ask(hangs);
    assert!(outcome.unwrap().is_err());
    assert_eq!(facts.candidate_refused, 0);
    assert_eq!((many.held(0), many.held(1)), (1, 1));
}

proptest! {
    /// A rate and a cap are decided in the short way, unless a third limit is
    /// there, which admits everything.
    #[test]
    fn a_rate_and_a_cap_decide_as_all_limits_do(
        (tokens, most, is_swapped) in (1_u32..20, 1_u32..4, any::<bool>()),
        steps in prop::collection::vec(any::<bool>(), 1..40),
    ) {
        let mut pair = vec![(rate(tokens), More::default()), (cap(most), More::default())];
        let cap_at = usize::from(!is_swapped);
        if is_swapped {
            pair.reverse();
        }
        let short = limits(&pair);
        pair.push((cap(1000), More::default()));
        let mut long = limits(&pair);
        long.now = short.now;
        let (mut of_short, mut of_long) = (Vec::new(), Vec::new());
        for is_request in steps {
            if !is_request {
                drop((of_short.pop(), of_long.pop()));
                continue;
            }
            let [one, other] = [&short, &long].map(|limits| limits.ask(hangs));
            let error = |outcome: &Option<Outcome>| match outcome {
                Some(Err(failed)) => Some(failed.error.to_string()),
                _ => None,
            };
            prop_assert_eq!(error(&one.0), error(&other.0));
            let (facts, mut expected) = (one.2, other.2);
            expected.admitted &= 0b11;
            prop_assert_eq!(facts, expected);
            if one.0.is_none() {
                of_short.push(one.1);
                of_long.push(other.1);
            }
            prop_assert_eq!(short.held(cap_at), of_short.len() as u64);
            prop_assert_eq!(long.held(cap_at), of_long.len() as u64);
        }
    }
}
