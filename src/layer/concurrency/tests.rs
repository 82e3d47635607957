//! Promises of a concurrency limit with its queue, from one thread and from
//! many.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::task::{JoinSet, yield_now};

use super::*;
use crate::{
    body::Body,
    call::Deadline,
    error::LimitOwner,
    policy::{AdaptiveBounds, Bound, Concurrency},
};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn settings(max: usize, queue: usize) -> Concurrency {
    Concurrency {
        bound: Bound::Fixed(NonZeroUsize::new(max).unwrap()),
        queue,
        queue_timeout: SECOND,
        fair_by: Vec::new(),
    }
}

pub(super) const fn bounds(min: usize, max: usize) -> AdaptiveBounds {
    let (Some(min), Some(max)) = (NonZeroUsize::new(min), NonZeroUsize::new(max)) else {
        panic!("bounds begin at one")
    };
    AdaptiveBounds { min, max }
}

fn name() -> LimitOwner {
    LimitOwner::Route("r".into())
}

fn limit(max: usize, queue: usize) -> Arc<ConcurrencyLimit> {
    Arc::new(ConcurrencyLimit::new(name(), &settings(max, queue)))
}

fn no_room(queue: usize) -> Failed {
    Failed::unseen(Error::ConcurrencyLimited {
        owner: name(),
        max: 1,
        queue,
    })
}

fn waited_too_long() -> Failed {
    Failed::unseen(Error::QueueTimeout {
        owner: name(),
        max: 1,
        after: SECOND,
    })
}

fn enqueue(limit: &Arc<ConcurrencyLimit>) -> Result<Queued, Failed> {
    limit.enqueue(Turn::default(), None)
}

fn of(key: u64) -> Turn {
    Turn {
        priority: Priority::Normal,
        key,
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_max_are_in_flight_and_no_more_than_queue_wait() {
    let limit = limit(1, 1);
    let held = limit.try_acquire(Instant::now());
    assert!(held.is_some() && limit.try_acquire(Instant::now()).is_none());
    let waiting = enqueue(&limit);
    assert!(waiting.is_ok());
    assert_eq!(enqueue(&limit).err(), Some(no_room(1)));
    assert_eq!(limit.queued(), 1);
    drop(waiting);
    assert_eq!((limit.in_flight(), limit.queued()), (1, 0));
    drop(held);
    assert_eq!(limit.in_flight(), 0);
}

/// Runs rounds in which all permits are taken, responded to after `time`, and
/// released.
async fn rounds(
    limit: &Arc<ConcurrencyLimit>,
    rounds: usize,
    time: Duration,
    last: Option<Duration>,
) {
    for _ in 0..rounds {
        let permits: Vec<_> = std::iter::from_fn(|| limit.try_acquire(Instant::now())).collect();
        tokio::time::advance(time).await;
        for mut permit in permits {
            permit.responded(
                &Ok(Response::new(http::StatusCode::OK, Body::empty())),
                last,
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_retried_request_the_last_attempt_counts_without_the_backoff() {
    const TIME: Duration = Duration::from_millis(10);
    let bound = Bound::Adaptive(bounds(4, 1000));
    let limit = Arc::new(ConcurrencyLimit::new(
        name(),
        &Concurrency {
            bound,
            ..settings(1, 0)
        },
    ));
    rounds(&limit, 500, TIME, None).await;
    let before = limit.max();
    assert!(before > 50, "{before}");
    rounds(&limit, 50, SECOND, Some(TIME)).await;
    assert!(limit.max() >= before, "{} after {before}", limit.max());
    rounds(&limit, 10, SECOND, None).await;
    assert!(limit.max() < before, "slow responses shrink the limit");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_too_long_is_refused_with_the_time() {
    let limit = limit(1, 1);
    let _held = limit.try_acquire(Instant::now());
    let refused = enqueue(&limit).unwrap().acquire().await.err();
    assert_eq!(refused, Some(waited_too_long()));
    assert_eq!((limit.queued(), limit.in_flight()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_comes_first_ends_the_wait() {
    let limit = limit(1, 1);
    let _held = limit.try_acquire(Instant::now());
    let total = Duration::from_millis(10);
    let deadline = Deadline {
        at: Instant::now() + total,
        total,
    };
    let refused = limit
        .enqueue(Turn::default(), Some(deadline))
        .unwrap()
        .acquire()
        .await
        .err();
    assert_eq!(
        refused,
        Some(Failed::unseen(Error::TotalTimeout { after: total }))
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_past_its_deadline_is_skipped_even_before_its_timer_fires() {
    let limit = limit(1, 2);
    let held = limit.try_acquire(Instant::now());
    let total = Duration::from_millis(10);
    let late = limit
        .enqueue(
            Turn::default(),
            Some(Deadline {
                at: Instant::now() + total,
                total,
            }),
        )
        .unwrap();
    let next = enqueue(&limit).unwrap();
    tokio::time::advance(total).await;
    drop(held);
    assert_eq!(
        (limit.in_flight(), limit.queued()),
        (1, 0),
        "the permit went to the next request"
    );
    assert_eq!(
        late.acquire().await.err(),
        Some(Failed::unseen(Error::TotalTimeout { after: total }))
    );
    assert!(next.acquire().await.is_ok());
}

/// After a suspended process resumes, requests in the queue must not time out
/// while the responses that free permits are still unread in their sockets.
#[tokio::test(start_paused = true)]
async fn a_queued_request_gets_a_permit_that_a_late_event_loop_finds_free() {
    let limit = limit(1, 2);
    let held = limit.try_acquire(Instant::now());
    let mut waiting = std::pin::pin!(enqueue(&limit).unwrap().acquire());
    let mut next = std::pin::pin!(enqueue(&limit).unwrap().acquire());
    assert!(
        futures_util::poll!(&mut waiting).is_pending()
            && futures_util::poll!(&mut next).is_pending()
    );
    tokio::time::advance(5 * SECOND).await;
    assert!(
        futures_util::poll!(&mut waiting).is_pending(),
        "the sockets have not been read"
    );
    drop(held);
    let _permit = waiting.await.unwrap();
    let refused = next.await.err();
    assert_eq!(
        refused,
        Some(waited_too_long()),
        "the second request has waited for queue_timeout"
    );
}

#[tokio::test(start_paused = true)]
async fn permits_are_given_in_the_order_of_arrival() {
    let limit = limit(1, 2);
    let held = limit.try_acquire(Instant::now());
    let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for name in ["first", "second"] {
        let (place, order) = (enqueue(&limit).unwrap(), Arc::clone(&order));
        tasks.spawn(async move {
            let _permit = place.acquire().await.unwrap();
            order.lock().push(name);
        });
        yield_now().await;
    }
    drop(held);
    tasks.join_all().await;
    assert_eq!(*order.lock(), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn no_request_overtakes_queued_ones() {
    let limit = limit(1, 1);
    let held = limit.try_acquire(Instant::now());
    let waiting = enqueue(&limit).unwrap();
    drop(held);
    assert!(
        limit.try_acquire(Instant::now()).is_none(),
        "the permit belongs to the queued request, even before it is polled"
    );
    drop(waiting.acquire().await.unwrap());
    assert!(limit.try_acquire(Instant::now()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_leaves_with_a_permit_passes_it_on() {
    let limit = limit(1, 2);
    let held = limit.try_acquire(Instant::now());
    let (first, second) = (enqueue(&limit).unwrap(), enqueue(&limit).unwrap());
    drop(held);
    drop(first);
    assert_eq!((limit.in_flight(), limit.queued()), (1, 0));
    drop(second.acquire().await.unwrap());
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_replaced_in_the_queue_is_refused_at_once() {
    let limit = limit(1, 2);
    let held = limit.try_acquire(Instant::now());
    let (first, newest) = (
        limit.enqueue(of(1), None).unwrap(),
        limit.enqueue(of(1), None).unwrap(),
    );
    let newcomer = limit.enqueue(of(2), None).unwrap();
    let before = Instant::now();
    assert_eq!(newest.acquire().await.err(), Some(no_room(2)));
    assert_eq!((before.elapsed(), limit.queued()), (Duration::ZERO, 2));
    drop(held);
    drop(first.acquire().await.unwrap());
    drop(newcomer.acquire().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_lower_limit_is_reached_as_requests_end_and_a_higher_one_at_once() {
    let limit = limit(3, 0);
    let mut held: Vec<_> = std::iter::repeat_with(|| limit.try_acquire(Instant::now()).unwrap())
        .take(3)
        .collect();
    limit.reconfigure(&settings(1, 0));
    assert_eq!((limit.max(), limit.in_flight()), (1, 3));
    held.pop();
    held.pop();
    assert!(
        limit.try_acquire(Instant::now()).is_none(),
        "the one permit is taken"
    );
    assert_eq!(limit.in_flight(), 1);
    held.pop();
    assert!(limit.try_acquire(Instant::now()).is_some());
    limit.reconfigure(&settings(2, 0));
    let both = (
        limit.try_acquire(Instant::now()),
        limit.try_acquire(Instant::now()),
    );
    assert!(both.0.is_some() && both.1.is_some() && limit.try_acquire(Instant::now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_higher_limit_admits_queued_requests() {
    let limit = limit(1, 2);
    let _held = limit.try_acquire(Instant::now());
    let waiting = (enqueue(&limit).unwrap(), enqueue(&limit).unwrap());
    limit.reconfigure(&settings(3, 2));
    assert_eq!((limit.in_flight(), limit.queued()), (3, 0));
    assert!(waiting.0.acquire().await.is_ok() && waiting.1.acquire().await.is_ok());
}

/// Four threads take permits, wait, give up at any moment and release, while
/// another one changes the limit.
#[test]
fn under_any_interleaving_the_limit_holds_and_no_permit_is_lost() {
    const MOST: usize = 3;
    let limit = limit(MOST, 8);
    let (inside, served, is_over) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4_u64)
            .map(|worker| {
                let (limit, inside, served) = (&limit, &inside, &served);
                scope.spawn(move || on_a_thread(limit, worker, inside, served, MOST))
            })
            .collect();
        let changes = scope.spawn(|| {
            for max in (1..=MOST)
                .cycle()
                .take_while(|_| !is_over.load(Ordering::Relaxed))
            {
                limit.reconfigure(&Concurrency {
                    queue_timeout: 60 * SECOND,
                    ..settings(max, 8)
                });
                std::thread::yield_now();
            }
        });
        workers
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        changes.join().unwrap();
    });
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
    assert!(served.load(Ordering::Relaxed) > 1000);
    assert!(
        limit.try_acquire(Instant::now()).is_some(),
        "the queue is counted as empty"
    );
}

fn on_a_thread(
    limit: &Arc<ConcurrencyLimit>,
    worker: u64,
    inside: &AtomicUsize,
    served: &AtomicUsize,
    most: usize,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        for round in 0..2000_u64 {
            // Several requests at once on each thread, so that the queue fills
            // and overflows.
            let calls = (0..4).map(|call| async move {
                let permit = match limit.try_acquire(Instant::now()) {
                    Some(permit) => permit,
                    None => {
                        let waiting = limit.enqueue(of(worker), None).ok()?;
                        if (round + call) % 3 == 0 {
                            yield_now().await;
                            return None;
                        }
                        waiting.acquire().await.ok()?
                    }
                };
                assert!(inside.fetch_add(1, Ordering::AcqRel) < most);
                if call % 2 == 0 {
                    yield_now().await;
                }
                inside.fetch_sub(1, Ordering::AcqRel);
                drop(permit);
                served.fetch_add(1, Ordering::Relaxed);
                Some(())
            });
            let all = futures_util::future::join_all(calls);
            tokio::time::timeout(30 * SECOND, all)
                .await
                .expect("a permit that was given back is handed on");
        }
    });
}
