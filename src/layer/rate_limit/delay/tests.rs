//! Promises to requests that wait for their tokens.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use http::StatusCode;
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::{
    runtime,
    time::{Instant, advance, sleep, sleep_until, timeout_at},
};
use tower::{Layer, Service, service_fn};

use crate::{
    body::Body,
    call::Call,
    error::{Error, Failed},
    layer::{
        foreign::call,
        rate_limit::{Buckets, Counter, RateLimitLayer, RouteLimit},
    },
    limit::{KeyHasher, Limiter, TokenQueues, Top},
    message::Response,
    policy::{Allowance, Cost, KeyPart, Limit, Missing, Prefixes, Quota, Rate, Statuses},
};

const SECOND: Duration = Duration::from_secs(1);
/// Ten tokens come in a second.
const TOKEN: Duration = Duration::from_millis(100);
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A limit of ten tokens a second for each client, which lets requests wait for
/// `delay`.
fn limit(index: usize, burst: u32, delay: Option<Duration>) -> RouteLimit {
    limit_of(10, index, burst, delay)
}

/// The same with another number of tokens a second.
fn limit_of(count: u32, index: usize, burst: u32, delay: Option<Duration>) -> RouteLimit {
    counting(None, count, index, burst, delay)
}

/// The same where only responses with some statuses use tokens.
fn counting(
    statuses: Option<Statuses>,
    count: u32,
    index: usize,
    burst: u32,
    delay: Option<Duration>,
) -> RouteLimit {
    let rate = Rate {
        count,
        period: SECOND,
    };
    let quota = Quota::new(rate, NonZeroU32::new(burst).unwrap()).unwrap();
    let name = format!("l{index}");
    let limiter = Limiter::new(&*name, quota, NonZeroUsize::new(100).unwrap()).unwrap();
    let policy = Limit {
        name: (*name).into(),
        key: vec![KeyPart::ClientIp(Prefixes { v4: 32, v6: 64 })],
        missing: Missing::Refuse,
        stand_ins: None,
        allowance: Allowance::Rate(quota),
        cost: Cost::Fixed(1),
        shadow: false,
        candidate: None,
        count: statuses.map(|statuses| vec![statuses]),
        overrides: Vec::new(),
        plans: Vec::new(),
        tiers: Vec::new(),
        delay,
        ban: None,
        shared: false,
        max_keys: NonZeroUsize::MIN,
        status: StatusCode::TOO_MANY_REQUESTS,
        persist: false,
    };
    let own = Buckets {
        counter: Counter::Tokens(limiter),
        top: Arc::new(Top::new(1)),
        begun: KeyHasher::with_seed([1, 2]).key(&name),
        shared: None,
        shared_cap: None,
    };
    RouteLimit::new(Arc::new(policy), index, own.into())
}

fn layer(limits: impl IntoIterator<Item = RouteLimit>) -> RateLimitLayer {
    RateLimitLayer::new(limits, None, SECOND)
}

/// Sends a request now to a service that responds after a millisecond. Returns
/// when it was served, or why it was refused.
async fn send(layer: RateLimitLayer, client: IpAddr) -> Result<Instant, Error> {
    let served = Arc::new(Mutex::new(None));
    let begun = Arc::clone(&served);
    let respond = move |_: Call| {
        *begun.lock() = Some(Instant::now());
        async {
            sleep(Duration::from_millis(1)).await;
            Ok::<_, Failed>(Response::new(StatusCode::OK, Body::empty()))
        }
    };
    let mut call = call();
    Arc::get_mut(&mut call.exchange).unwrap().client.ip = client;
    let call = Call {
        now: Instant::now(),
        ..call
    };
    let outcome = layer.layer(service_fn(respond)).call(call).await;
    outcome.map_err(|failed| failed.error)?;
    Ok(served.lock().take().unwrap())
}

/// Sends several requests at once. Returns after what time each was served, in
/// order, and how long the refused ones were told to wait.
async fn send_at_once(layer: &RateLimitLayer, requests: usize) -> (Vec<Duration>, Vec<Duration>) {
    let begin = Instant::now();
    let mut sent: FuturesUnordered<_> =
        (0..requests).map(|_| send(layer.clone(), CLIENT)).collect();
    let (mut served, mut refused) = (Vec::new(), Vec::new());
    while let Some(outcome) = sent.next().await {
        match outcome {
            Ok(at) => served.push(at - begin),
            Err(Error::RateLimited { retry_after, .. }) => refused.push(retry_after),
            Err(other) => panic!("{other}"),
        }
    }
    (served, refused)
}

fn queues(limit: &RouteLimit) -> Arc<TokenQueues> {
    Arc::clone(limit.own.counter.limiter().unwrap().queues())
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_burst_go_on_one_by_one_and_those_beyond_the_delay_are_refused_at_once()
{
    let layer = layer([limit(0, 2, Some(TOKEN * 3))]);
    let (served, refused) = send_at_once(&layer, 7).await;
    assert_eq!(served, [0, 0, 1, 2, 3].map(|tokens| TOKEN * tokens));
    assert_eq!(refused, [TOKEN * 4; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_pass_those_of_its_key_that_wait() {
    let layer = layer([limit(0, 1, Some(SECOND))]);
    let begin = send(layer.clone(), CLIENT).await.unwrap();
    let waiting = tokio::spawn(send(layer.clone(), CLIENT));
    tokio::task::yield_now().await;
    // The token is due, and the request that waits has not woken up yet.
    advance(TOKEN).await;
    let second = send(layer, CLIENT).await.unwrap();
    assert!(waiting.await.unwrap().unwrap() < second);
    assert_eq!(second - begin, TOKEN * 2);
}

#[tokio::test(start_paused = true)]
async fn those_behind_a_client_that_leaves_move_up() {
    let limit = limit(0, 1, Some(SECOND));
    let queues = queues(&limit);
    let layer = layer([limit]);
    let begin = send(layer.clone(), CLIENT).await.unwrap();
    let leaving = tokio::spawn(send(layer.clone(), CLIENT));
    tokio::task::yield_now().await;
    let behind = tokio::spawn(send(layer.clone(), CLIENT));
    tokio::task::yield_now().await;
    assert_eq!(queues.stats().waiting, 2);
    leaving.abort();
    assert_eq!(behind.await.unwrap().unwrap() - begin, TOKEN);
    let stats = queues.stats();
    assert_eq!((stats.waiting, stats.left, stats.admitted), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_fires_late_delays_one_request_and_not_the_whole_queue() {
    let layer = layer([limit(0, 1, Some(SECOND))]);
    let begin = send(layer.clone(), CLIENT).await.unwrap();
    let [one, two] = [(); 2].map(|()| tokio::spawn(send(layer.clone(), CLIENT)));
    tokio::task::yield_now().await;
    advance(TOKEN + Duration::from_millis(3)).await;
    one.await.unwrap().unwrap();
    assert_eq!(two.await.unwrap().unwrap() - begin, TOKEN * 2);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_held_up_lets_no_queue_through_at_once() {
    let layer = layer([limit(0, 1, Some(SECOND))]);
    send(layer.clone(), CLIENT).await.unwrap();
    let [one, two, three] = [(); 3].map(|()| tokio::spawn(send(layer.clone(), CLIENT)));
    tokio::task::yield_now().await;
    advance(SECOND / 2).await;
    let one = one.await.unwrap().unwrap();
    let two = two.await.unwrap().unwrap();
    let three = three.await.unwrap().unwrap();
    assert!(
        two - one >= TOKEN - Duration::from_millis(5),
        "{:?}",
        two - one
    );
    assert_eq!(three - two, TOKEN);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_another_limit_refuses_does_not_wait() {
    let limits = [limit(0, 1, Some(SECOND)), limit(1, 1, None)];
    let queues = queues(&limits[0]);
    let layer = layer(limits);
    let (served, refused) = send_at_once(&layer, 2).await;
    assert_eq!((served, refused), (vec![Duration::ZERO], vec![TOKEN]));
    assert_eq!(queues.stats().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_the_tokens_of_all_its_limits() {
    let slow = limit(0, 1, Some(SECOND));
    let other = limit(1, 3, Some(SECOND));
    let layer = layer([slow, other]);
    let (served, refused) = send_at_once(&layer, 4).await;
    assert_eq!(served, [0, 1, 2, 3].map(|tokens| TOKEN * tokens));
    assert!(refused.is_empty());
}

#[tokio::test(start_paused = true)]
async fn limits_with_different_delays_let_wait_what_each_of_them_can_serve_in_time() {
    let fast = limit_of(10, 0, 1, Some(TOKEN * 5));
    let slow = limit_of(5, 1, 1, Some(SECOND * 2));
    let (served, refused) = send_at_once(&layer([fast, slow]), 10).await;
    assert_eq!(
        served,
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|tokens| TOKEN * 2 * tokens)
    );
    assert!(refused.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_comes_back_goes_to_the_first_of_those_that_wait() {
    let limit = counting(
        Some(Statuses {
            first: 500,
            last: 599,
        }),
        1,
        0,
        1,
        Some(SECOND * 9),
    );
    let (served, refused) = send_at_once(&layer([limit]), 4).await;
    assert_eq!(served, [0, 1, 2, 3].map(Duration::from_millis));
    assert!(refused.is_empty());
}

/// Two workers may see the same token. The one that does not get it looks again.
#[test]
fn a_request_that_loses_a_race_for_a_token_waits_for_the_next_one() {
    let layer = layer([limit_of(1000, 0, 1, Some(SECOND * 60))]);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        let worker = || {
            let runtime = runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            start.wait();
            for _ in 0..8 {
                let (served, refused) = runtime.block_on(send_at_once(&layer, 8));
                assert_eq!((served.len(), refused.len()), (8, 0));
            }
        };
        for worker in [worker; 4].map(|worker| scope.spawn(worker)) {
            worker.join().unwrap();
        }
    });
}

/// One request of a schedule: milliseconds after the one before it, its client,
/// and the milliseconds after which the client leaves.
type Sent = (u64, u8, u64);

/// Runs a schedule. Returns for each request when it was sent, and when it was
/// served; `None` if it was refused or its client left.
fn run(layer: &RateLimitLayer, schedule: &[Sent]) -> Vec<(u8, Instant, Option<Instant>)> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut at = Instant::now();
        let mut tasks = Vec::new();
        for (after, client, leaves) in schedule {
            at += Duration::from_millis(*after);
            let (sent, layer, client) = (at, layer.clone(), *client);
            let leaves = sent + Duration::from_millis(*leaves);
            tasks.push(tokio::spawn(async move {
                sleep_until(sent).await;
                let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, client));
                let served = timeout_at(leaves, send(layer, address)).await;
                (client, sent, served.ok().and_then(Result::ok))
            }));
        }
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.unwrap());
        }
        outcomes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In any time, each client is served at most burst and rate allow; nobody
    /// waits longer than the delay, and nobody is passed by a later request of
    /// the same client.
    #[test]
    fn waiting_changes_nothing_in_what_a_limit_admits(
        burst in 1_u32..4,
        delay in 1_u64..8,
        schedule in prop::collection::vec((0_u64..120, 1_u8..3, 1_u64..900), 1..60),
    ) {
        let delay = TOKEN * u32::try_from(delay).unwrap();
        let outcomes = run(&layer([limit(0, burst, Some(delay))]), &schedule);
        for client in 1..3 {
            let of_client = outcomes.iter().filter(|(of, ..)| *of == client);
            let mut served = Vec::new();
            for (_, sent, at) in of_client {
                let Some(at) = at else { continue };
                prop_assert!(*at - *sent <= delay);
                prop_assert!(served.last().is_none_or(|last| last <= at));
                served.push(*at);
            }
            for (index, first) in served.iter().enumerate() {
                for (more, last) in served[index..].iter().enumerate() {
                    let tokens = u32::try_from(more + 1).unwrap();
                    prop_assert!(
                        tokens <= burst || *last - *first >= TOKEN * (tokens - burst),
                        "{tokens} in {:?}", *last - *first
                    );
                }
            }
        }
    }
}
