//! The cost of a decision: hot keys, many keys, one, two and four limits, keys
//! with quotas of their own, two threads, and a flood of new keys, beside
//! governor's stock stores.
//!
//! The time is read once for each request, so its cost is not part of a
//! decision. Bare times mean little: compare them with `governor`.

#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::cell::LazyCell;
use std::hint::black_box;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};
use tidegate::limit::{
    Ask, Key, KeyHasher, KeyValue, Limiter, Now, Top, Verdict, decide, would_admit,
};
use tidegate::policy::{self, KeyPart, Prefixes, Rate};

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(MEASURED);
    targets = hot, special, many_keys, two_threads, flood, keys, heaviest
}
criterion_main!(benches);

/// Enough for a steady figure; with `--quick`, the most that a bench takes on a
/// noisy machine.
const MEASURED: Duration = Duration::from_secs(2);

const START: Now = Now::from_nanos(1_000_000_000_000);
/// A burst that no bench exhausts: no decision is a refusal.
const BURST: NonZeroU32 = NonZeroU32::MAX;

fn hot(c: &mut Criterion) {
    let mut group = c.benchmark_group("hot key");
    let quota = Quota::per_second(NonZeroU32::new(1_000_000).unwrap()).allow_burst(BURST);
    let direct = RateLimiter::direct_with_clock(quota, FakeRelativeClock::default());
    group.bench_function("governor, no key", |b| b.iter(|| direct.check()));
    let stock = RateLimiter::hashmap_with_clock(quota, FakeRelativeClock::default());
    group.bench_function("governor, one limit", |b| {
        b.iter(|| stock.check_key(black_box(&7_u64)))
    });
    let (one, two) = (limiter(BURST, 1000), limiter(BURST, 1000));
    let alone = [Ask::new(&one, key(1), 1)];
    group.bench_function("one limit", |b| b.iter(|| decide(black_box(START), &alone)));
    let both = [Ask::new(&one, key(1), 1), Ask::new(&two, key(2), 1)];
    group.bench_function("two limits", |b| b.iter(|| decide(black_box(START), &both)));
    let more = [
        limiter(BURST, 1000),
        limiter(BURST, 1000),
        limiter(BURST, 1000),
        limiter(BURST, 1000),
    ];
    let four = more.each_ref().map(|limiter| Ask::new(limiter, key(1), 1));
    group.bench_function("four limits", |b| {
        b.iter(|| decide(black_box(START), &four))
    });
    group.bench_function("two limits, refunded", |b| {
        b.iter(|| decide(START, &both).map(|admission| admission.refund(START, [&one, &two])));
    });
    let spent = limiter(NonZeroU32::MIN, 1000);
    let refused = [Ask::new(&one, key(1), 1), Ask::new(&spent, key(2), 1)];
    let _first = decide(START, &refused);
    group.bench_function("two limits, one refuses", |b| {
        b.iter(|| decide(black_box(START), &refused))
    });
}

/// Cases that only some limits have.
fn special(c: &mut Criterion) {
    let mut group = c.benchmark_group("special");
    let limiter = limiter(BURST, 1000);
    let other = limiter
        .key_quota(million_per_second(NonZeroU32::new(1_000_000_000).unwrap()))
        .unwrap();
    let own = [Ask::new(&limiter, key(1), 1)];
    let exception = [Ask {
        quota: Some(&other),
        ..Ask::new(&limiter, key(2), 1)
    }];
    group.bench_function("a key with numbers of its own", |b| {
        b.iter(|| decide(black_box(START), &exception))
    });
    group.bench_function("another key beside it", |b| {
        b.iter(|| decide(black_box(START), &own))
    });
    group.bench_function("a view", |b| {
        b.iter(|| would_admit(black_box(START), &own[0]))
    });
}

fn many_keys(c: &mut Criterion) {
    let mut group = c.benchmark_group("keys at random");
    // The table of the last is larger than all caches of a processor: 128 MiB.
    for held in [1000, 1_000_000, 4_000_000] {
        // Built lazily, so that a run of other benches does not wait for it.
        let limiter = LazyCell::new(|| {
            let limiter = limiter(BURST, held);
            (0..held as u64).for_each(|n| drop(decide(START, &[Ask::new(&limiter, key(n), 1)])));
            limiter
        });
        let mut random = Random(1);
        let mut next = || key(random.below(held as u64));
        group.bench_function(format!("{held} keys"), |b| {
            b.iter(|| decide(START, &[Ask::new(&limiter, next(), 1)]))
        });
    }
}

/// Both threads decide at the same time; the measured time is that of one.
fn two_threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("two threads");
    for (name, keys) in [("one key", 1), ("a key each", 2)] {
        let limiter = limiter(BURST, 1000);
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let work = |thread: u64| {
                    let asks = [Ask::new(&limiter, key(thread % keys), 1)];
                    let begun = tokio::time::Instant::now();
                    (0..rounds).for_each(|_| drop(black_box(decide(black_box(START), &asks))));
                    begun.elapsed()
                };
                std::thread::scope(|scope| {
                    let other = scope.spawn(|| work(1));
                    work(0).max(other.join().unwrap_or(Duration::ZERO))
                })
            });
        });
    }
}

fn flood(c: &mut Criterion) {
    let mut group = c.benchmark_group("new keys of a full table");
    let (held, burst) = (100_000_usize, NonZeroU32::MIN);
    let debtors = limiter(burst, held);
    (0..held as u64).for_each(|n| drop(decide(START, &[Ask::new(&debtors, key(n), 1)])));
    let mut random = Random(1);
    group.bench_function("all in debt", |b| {
        b.iter(|| decide(START, &[Ask::new(&debtors, key(random.next()), 1)]))
    });
    let idle = limiter(burst, held);
    let mut now = START;
    group.bench_function("all idle", |b| {
        b.iter(|| {
            now = now.after(Duration::from_nanos(1000));
            decide(now, &[Ask::new(&idle, key(random.next()), 1)])
        });
    });
}

fn keys(c: &mut Criterion) {
    let hasher = KeyHasher::new();
    let address = black_box(IpAddr::from([192, 0, 2, 1]));
    let begun = hasher.key("per-client");
    c.bench_function("a key of an address", |b| {
        b.iter(|| {
            let mut builder = begun.clone();
            builder.add(&CLIENT, &of_client(address));
            builder.finish()
        })
    });
}

/// The cost that counting the heaviest keys adds to a decision.
fn heaviest(c: &mut Criterion) {
    let mut group = c.benchmark_group("heaviest keys");
    let address = black_box("192.0.2.1".parse::<IpAddr>().unwrap());
    let keys: Vec<_> = (0..1 << 16).map(key).collect();
    let mut random = Random(1);
    let mut ask = |name: &str, top: &Top, next: &mut dyn FnMut() -> Key| {
        let mut once = || {
            top.record(START, next(), Verdict::Admitted, |label| {
                label.add(&of_client(address))
            })
        };
        (0..100_000).for_each(|_| once());
        group.bench_function(name, |b| b.iter(&mut once));
    };
    ask("one key", &Top::new(1), &mut || black_box(keys[0]));
    ask("300 keys", &Top::new(1), &mut || {
        keys[random.below(300) as usize]
    });
    let mut next = 0;
    ask("a flood of new keys", &Top::new(1), &mut || {
        next = (next + 1) % keys.len();
        keys[next]
    });
    ask("a flood among heavy keys", &Top::new(1), &mut || {
        next = (next + 1) % keys.len();
        if next % 2 == 0 {
            keys[next]
        } else {
            keys[next % 500]
        }
    });
}

fn limiter(burst: NonZeroU32, max_keys: usize) -> Limiter {
    let max_keys = NonZeroUsize::new(max_keys).unwrap();
    Limiter::new("bench", million_per_second(burst), max_keys).unwrap()
}

fn million_per_second(burst: NonZeroU32) -> policy::Quota {
    let rate = Rate {
        count: 1_000_000,
        period: Duration::from_secs(1),
    };
    policy::Quota::new(rate, burst).unwrap()
}

/// The key of client `n`. It is as expensive as `a key of an address`.
fn key(n: u64) -> Key {
    let mut builder = KeyHasher::with_seed([1, 2]).key("");
    builder.add(&KeyPart::Path, &KeyValue::text(&n.to_be_bytes()));
    builder.finish()
}

const NETWORKS: Prefixes = Prefixes { v4: 32, v6: 64 };
const CLIENT: KeyPart = KeyPart::ClientIp(NETWORKS);

fn of_client(ip: IpAddr) -> KeyValue<'static> {
    KeyValue::Address(NETWORKS.network(ip))
}

/// SplitMix64: random enough and nearly free.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
