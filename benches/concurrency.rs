//! The cost of a concurrency limit: with room, beside tokio's semaphore;
//! adaptive; reached with ten thousand waiting.

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

use std::{hint::black_box, num::NonZeroUsize, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate::{
    error::LimitOwner,
    layer::{ConcurrencyLimit, Turn},
    message::Response,
    policy::{AdaptiveBounds, Bound, Concurrency, Priority},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
    time::Instant,
};

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(MEASURED);
    targets = with_room, full
}
criterion_main!(benches);

/// Enough for a steady figure; with `--quick`, the most that a bench takes on a
/// noisy machine.
const MEASURED: Duration = Duration::from_secs(2);

const QUEUE: usize = 10_000;

fn limit(bound: Bound) -> Arc<ConcurrencyLimit> {
    let settings = Concurrency {
        bound,
        queue: QUEUE,
        queue_timeout: Duration::from_secs(3600),
        fair_by: Vec::new(),
    };
    let owner = LimitOwner::Route("bench".into());
    Arc::new(ConcurrencyLimit::new(owner, &settings))
}

fn permits(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("not zero")
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

/// A permit and its return, as every request has one. The time is passed in:
/// the caller has read it.
fn with_room(c: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let now = Instant::now();
    let mut group = c.benchmark_group("concurrency limit with room");
    let semaphore = Arc::new(Semaphore::new(64));
    group.bench_function("tokio's semaphore", |b| {
        b.iter(|| black_box(Arc::clone(&semaphore).try_acquire_owned()).is_ok());
    });
    let fixed = limit(Bound::Fixed(permits(64)));
    group.bench_function("fixed", |b| {
        b.iter(|| black_box(fixed.try_acquire(now)).is_some())
    });
    let adaptive = limit(Bound::Adaptive(AdaptiveBounds {
        min: permits(64),
        max: permits(64),
    }));
    let response = Ok(Response::default());
    group.bench_function("adaptive, measured", |b| {
        b.iter(|| {
            let mut permit = adaptive.try_acquire(Instant::now()).expect("a permit");
            permit.responded(black_box(&response), None);
        });
    });
    group.finish();
}

/// A request joins a queue of ten thousand and one is served, with one key and
/// with a thousand; and a request is refused.
fn full(c: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut group = c.benchmark_group("concurrency limit with 10,000 waiting");
    for (name, keys) in [("one key", 1), ("a thousand keys", 1000)] {
        let limit = limit(Bound::Fixed(permits(1)));
        let mut held = limit.try_acquire(Instant::now());
        let turn = |n: u64| Turn {
            priority: Priority::Normal,
            key: n % keys,
        };
        let mut line: std::collections::VecDeque<_> = (1..QUEUE as u64)
            .map(|n| limit.enqueue(turn(n), None).expect("room"))
            .collect();
        // Keys come round without a gap: the order of turns is that of joining.
        let mut next = QUEUE as u64 - 1;
        group.bench_function(format!("join and serve, {name}"), |b| {
            b.iter(|| {
                next += 1;
                line.push_back(limit.enqueue(turn(next), None).expect("room"));
                drop(held.take());
                let first = line.pop_front().expect("ten thousand");
                held = runtime.block_on(first.acquire()).ok();
            });
        });
        let last = limit.enqueue(turn(next + 1), None);
        group.bench_function(format!("refuse, {name}"), |b| {
            b.iter(|| limit.enqueue(turn(0), None).is_err())
        });
        drop(last);
    }
    group.finish();
}
