//! What a cap costs: with room, beside tokio's semaphore; adaptive; full with ten thousand waiting; its line alone.

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate::{
    error::CapName,
    layer::{Bound, Bounds, Cap, CapSettings, Priority, Turn},
    message::Response,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
    time::Instant,
};

criterion_group!(benches, with_room, full);
criterion_main!(benches);

const QUEUE: usize = 10_000;
const BOUNDS: Bounds = Bounds { min: 64, max: 64 };

fn cap(bound: Bound) -> Arc<Cap> {
    let settings = CapSettings {
        bound,
        queue: QUEUE,
        queue_timeout: Duration::from_secs(3600),
    };
    Arc::new(Cap::new(CapName::Route("bench".into()), settings))
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

/// A place and its return, as every request has one. The clock is read by whoever serves, not here.
fn with_room(c: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let now = Instant::now();
    let mut group = c.benchmark_group("cap with room");
    let semaphore = Arc::new(Semaphore::new(64));
    group.bench_function("tokio's semaphore", |b| {
        b.iter(|| black_box(Arc::clone(&semaphore).try_acquire_owned()).is_ok());
    });
    let fixed = cap(Bound::Fixed(64));
    group.bench_function("fixed", |b| {
        b.iter(|| black_box(fixed.try_enter(now)).is_some())
    });
    let adaptive = cap(Bound::Adaptive(BOUNDS));
    let answer = Ok(Response::default());
    group.bench_function("adaptive, measured", |b| {
        b.iter(|| {
            let mut permit = adaptive.try_enter(Instant::now()).expect("a place");
            permit.answered(black_box(&answer), None);
        });
    });
    group.finish();
}

/// One joins a line of ten thousand and one is served, by one key and by a thousand; and one is refused.
fn full(c: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut group = c.benchmark_group("cap with 10,000 waiting");
    for (name, keys) in [("one key", 1), ("a thousand keys", 1000)] {
        let cap = cap(Bound::Fixed(1));
        let mut held = cap.try_enter(Instant::now());
        let turn = |n: u64| Turn {
            priority: Priority::Normal,
            key: n % keys,
        };
        let mut line: std::collections::VecDeque<_> = (1..QUEUE as u64)
            .map(|n| cap.line_up(turn(n), None).expect("room"))
            .collect();
        let mut next = 0;
        group.bench_function(format!("join and serve, {name}"), |b| {
            b.iter(|| {
                next += 1;
                line.push_back(cap.line_up(turn(next), None).expect("room"));
                drop(held.take());
                // In the order of turns, which here is that of joining.
                let first = line.pop_front().expect("ten thousand");
                held = runtime.block_on(first.enter()).ok();
            });
        });
        let last = cap.line_up(turn(next + 1), None);
        group.bench_function(format!("refuse, {name}"), |b| {
            b.iter(|| cap.line_up(turn(0), None).is_err())
        });
        drop(last);
    }
    group.finish();
}
