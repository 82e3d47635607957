//! Promises of a cap with its queue, from one thread and from many.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::{JoinSet, yield_now},
    time::Instant,
};

use super::*;
use crate::{body::Body, call::Deadline, error::CapName};

const SECOND: Duration = Duration::from_secs(1);

fn settings(max: usize, queue: usize) -> CapSettings {
    CapSettings {
        bound: Bound::Fixed(max),
        queue,
        queue_timeout: SECOND,
    }
}

fn name() -> CapName {
    CapName::Route("r".into())
}

fn cap(max: usize, queue: usize) -> Arc<Cap> {
    Arc::new(Cap::new(name(), settings(max, queue)))
}

fn line_up(cap: &Arc<Cap>) -> Result<Queued, Failed> {
    cap.line_up(Turn::default(), None)
}

fn of(key: u64) -> Turn {
    Turn {
        priority: Priority::Normal,
        key,
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_max_are_in_flight_and_no_more_than_queue_wait() {
    let cap = cap(1, 1);
    let held = cap.try_enter(Instant::now());
    assert!(held.is_some() && cap.try_enter(Instant::now()).is_none());
    let waiting = line_up(&cap);
    assert!(waiting.is_ok());
    assert_eq!(
        line_up(&cap).err(),
        Some(Failed::unseen(Error::CapReached {
            cap: name(),
            max: 1,
            queue: 1
        }))
    );
    assert_eq!(cap.queued(), 1);
    drop(waiting);
    assert_eq!((cap.in_flight(), cap.queued()), (1, 0));
    drop(held);
    assert_eq!(cap.in_flight(), 0);
}

/// Runs rounds in which all permits are taken, answered after `time`, and released.
async fn rounds(cap: &Arc<Cap>, rounds: usize, time: Duration, last: Option<Duration>) {
    for _ in 0..rounds {
        let permits: Vec<_> = std::iter::from_fn(|| cap.try_enter(Instant::now())).collect();
        tokio::time::advance(time).await;
        for mut permit in permits {
            permit.answered(
                &Ok(Response::new(http::StatusCode::OK, Body::empty())),
                last,
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_retried_request_the_last_attempt_counts_without_the_backoff() {
    const TIME: Duration = Duration::from_millis(10);
    let bound = Bound::Adaptive(Bounds { min: 4, max: 1000 });
    let cap = Arc::new(Cap::new(
        name(),
        CapSettings {
            bound,
            ..settings(0, 0)
        },
    ));
    rounds(&cap, 500, TIME, None).await;
    let before = cap.max();
    assert!(before > 50, "{before}");
    rounds(&cap, 50, SECOND, Some(TIME)).await;
    assert!(cap.max() >= before, "{} after {before}", cap.max());
    rounds(&cap, 10, SECOND, None).await;
    assert!(cap.max() < before, "slow responses shrink the cap");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_too_long_is_refused_with_the_time() {
    let cap = cap(1, 1);
    let _held = cap.try_enter(Instant::now());
    let refused = line_up(&cap).unwrap().enter().await.err();
    assert_eq!(
        refused,
        Some(Failed::unseen(Error::QueueTimeout {
            cap: name(),
            max: 1,
            after: SECOND
        }))
    );
    assert_eq!((cap.queued(), cap.in_flight()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_comes_first_ends_the_wait() {
    let cap = cap(1, 1);
    let _held = cap.try_enter(Instant::now());
    let total = Duration::from_millis(10);
    let deadline = Deadline {
        at: Instant::now() + total,
        total,
    };
    let refused = cap
        .line_up(Turn::default(), Some(deadline))
        .unwrap()
        .enter()
        .await
        .err();
    assert_eq!(
        refused,
        Some(Failed::unseen(Error::TotalTimeout { after: total }))
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_past_its_deadline_is_skipped_even_before_its_timer_fires() {
    let cap = cap(1, 2);
    let held = cap.try_enter(Instant::now());
    let total = Duration::from_millis(10);
    let late = cap
        .line_up(
            Turn::default(),
            Some(Deadline {
                at: Instant::now() + total,
                total,
            }),
        )
        .unwrap();
    let next = line_up(&cap).unwrap();
    tokio::time::advance(total).await;
    drop(held);
    assert_eq!(
        (cap.in_flight(), cap.queued()),
        (1, 0),
        "the permit went to the next request"
    );
    assert_eq!(
        late.enter().await.err(),
        Some(Failed::unseen(Error::TotalTimeout { after: total }))
    );
    assert!(next.enter().await.is_ok());
}

/// After a suspended process resumes, requests in the queue must not time out while the responses that free permits are
/// still unread in their sockets.
#[tokio::test(start_paused = true)]
async fn a_queued_request_gets_a_permit_that_a_late_event_loop_finds_free() {
    let cap = cap(1, 2);
    let held = cap.try_enter(Instant::now());
    let mut waiting = std::pin::pin!(line_up(&cap).unwrap().enter());
    let mut next = std::pin::pin!(line_up(&cap).unwrap().enter());
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
        Some(Failed::unseen(Error::QueueTimeout {
            cap: name(),
            max: 1,
            after: SECOND
        })),
        "the second request has waited for queue_timeout"
    );
}

#[tokio::test(start_paused = true)]
async fn permits_are_given_in_the_order_of_arrival() {
    let cap = cap(1, 2);
    let held = cap.try_enter(Instant::now());
    let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for name in ["first", "second"] {
        let (place, order) = (line_up(&cap).unwrap(), Arc::clone(&order));
        tasks.spawn(async move {
            let _permit = place.enter().await.unwrap();
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
    let cap = cap(1, 1);
    let held = cap.try_enter(Instant::now());
    let waiting = line_up(&cap).unwrap();
    drop(held);
    assert!(
        cap.try_enter(Instant::now()).is_none(),
        "the permit belongs to the queued request, even before it is polled"
    );
    drop(waiting.enter().await.unwrap());
    assert!(cap.try_enter(Instant::now()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_leaves_with_a_permit_passes_it_on() {
    let cap = cap(1, 2);
    let held = cap.try_enter(Instant::now());
    let (first, second) = (line_up(&cap).unwrap(), line_up(&cap).unwrap());
    drop(held);
    drop(first);
    assert_eq!((cap.in_flight(), cap.queued()), (1, 0));
    drop(second.enter().await.unwrap());
    assert_eq!(cap.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_replaced_in_the_queue_is_refused_at_once() {
    let cap = cap(1, 2);
    let held = cap.try_enter(Instant::now());
    let (first, newest) = (
        cap.line_up(of(1), None).unwrap(),
        cap.line_up(of(1), None).unwrap(),
    );
    let newcomer = cap.line_up(of(2), None).unwrap();
    let before = Instant::now();
    assert_eq!(
        newest.enter().await.err(),
        Some(Failed::unseen(Error::CapReached {
            cap: name(),
            max: 1,
            queue: 2
        }))
    );
    assert_eq!((before.elapsed(), cap.queued()), (Duration::ZERO, 2));
    drop(held);
    drop(first.enter().await.unwrap());
    drop(newcomer.enter().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_lower_cap_is_reached_as_requests_leave_and_a_higher_one_at_once() {
    let cap = cap(3, 0);
    let mut held: Vec<_> = std::iter::repeat_with(|| cap.try_enter(Instant::now()).unwrap())
        .take(3)
        .collect();
    cap.reconfigure(settings(1, 0));
    assert_eq!((cap.max(), cap.in_flight()), (1, 3));
    held.pop();
    held.pop();
    assert!(
        cap.try_enter(Instant::now()).is_none(),
        "the one permit is taken"
    );
    assert_eq!(cap.in_flight(), 1);
    held.pop();
    assert!(cap.try_enter(Instant::now()).is_some());
    cap.reconfigure(settings(2, 0));
    let both = (cap.try_enter(Instant::now()), cap.try_enter(Instant::now()));
    assert!(both.0.is_some() && both.1.is_some() && cap.try_enter(Instant::now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_higher_cap_admits_queued_requests() {
    let cap = cap(1, 2);
    let _held = cap.try_enter(Instant::now());
    let waiting = (line_up(&cap).unwrap(), line_up(&cap).unwrap());
    cap.reconfigure(settings(3, 2));
    assert_eq!((cap.in_flight(), cap.queued()), (3, 0));
    assert!(waiting.0.enter().await.is_ok() && waiting.1.enter().await.is_ok());
}

/// Four threads enter, wait, give up at any moment and leave, while another one changes the cap.
#[test]
fn under_any_interleaving_the_cap_holds_and_no_permit_is_lost() {
    const MOST: usize = 3;
    let cap = cap(MOST, 8);
    let (inside, served, is_over) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4_u64)
            .map(|worker| {
                let (cap, inside, served) = (&cap, &inside, &served);
                scope.spawn(move || on_a_thread(cap, worker, inside, served, MOST))
            })
            .collect();
        let changes = scope.spawn(|| {
            for max in (1..=MOST)
                .cycle()
                .take_while(|_| !is_over.load(Ordering::Relaxed))
            {
                cap.reconfigure(CapSettings {
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
    assert_eq!((cap.in_flight(), cap.queued()), (0, 0));
    assert!(served.load(Ordering::Relaxed) > 1000);
    assert!(
        cap.try_enter(Instant::now()).is_some(),
        "the queue is counted as empty"
    );
}

fn on_a_thread(
    cap: &Arc<Cap>,
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
            // Several requests at once on each thread, so that the queue fills and overflows.
            let calls = (0..4).map(|call| async move {
                let permit = match cap.try_enter(Instant::now()) {
                    Some(permit) => permit,
                    None => {
                        let waiting = cap.line_up(of(worker), None).ok()?;
                        if (round + call) % 3 == 0 {
                            yield_now().await;
                            return None;
                        }
                        waiting.enter().await.ok()?
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
                .expect("a released permit is passed on");
        }
    });
}
