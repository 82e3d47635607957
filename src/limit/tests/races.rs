//! Races of many threads: no token is lost and none is gained.

use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::*;

const THREADS: usize = 4;

/// Number of rounds in which threads meet over new keys. Known mistakes in the
/// table show within a few thousand.
const ROUNDS: u64 = 2000;

/// Number of single tokens admitted to one thread until `refusals` refusals.
fn hammer(limiter: &Limiter, key: Key, refusals: u64) -> u64 {
    hammer_all(&[limiter], key, refusals)
}

/// The same for several limits that decide together.
fn hammer_all(limiters: &[&Limiter], key: Key, refusals: u64) -> u64 {
    let asks: Vec<_> = (limiters.iter().map(|limiter| Ask::new(limiter, key, 1))).collect();
    let (mut admitted, mut refused) = (0, 0);
    while refused < refusals {
        match decide(START, &asks) {
            Ok(_kept) => admitted += 1,
            Err(_) => refused += 1,
        }
    }
    admitted
}

#[test]
fn many_threads_on_one_key_get_exactly_the_burst() {
    let limiter = limiter(1, SECOND, 20_000, 10);
    assert_eq!(together(THREADS, |_| hammer(&limiter, key(1), 100)), 20_000);
}

#[test]
fn many_threads_never_get_more_than_burst_and_rate_times_time() {
    let limiter = limiter(1000, SECOND, 50, 10);
    let time = AtomicU64::new(START.as_nanos());
    let admitted = together(THREADS, |_| {
        let step = || Now::from_nanos(time.fetch_add(100_000, Ordering::Relaxed));
        (0..20_000)
            .map(|_| u64::from(ask(&limiter, step(), key(1), 1).is_ok()))
            .sum()
    });
    let elapsed = time.into_inner() - START.as_nanos();
    assert_eq!(
        admitted,
        50 + elapsed / 1_000_000 - 1,
        "every token that came back was requested"
    );
}

/// Lets all threads request `keys` new keys at the same moment, on a table
/// prepared by `before`. Each key has to get exactly one burst.
fn new_keys_get_one_burst_each(max_keys: usize, keys: u64, before: impl Fn(&Limiter)) {
    const BURST: u64 = 3;
    for round in 0..ROUNDS {
        let limiter = limiter(1, SECOND, BURST as u32, max_keys);
        before(&limiter);
        let admitted = together(3, |thread| {
            let order = (0..keys).map(|n| (n + thread as u64) % keys);
            order
                .map(|n| hammer(&limiter, key(1000 + round * keys + n), 2))
                .sum()
        });
        assert_eq!(admitted, keys * BURST, "round {round}");
        assert!(limiter.stats().keys <= max_keys);
    }
}

/// Requests each of `keys` once, so long ago that their buckets are full again.
fn idle(limiter: &Limiter, keys: std::ops::Range<u64>) {
    let before = Now::from_nanos(START.as_nanos() - 10 * SECOND.as_nanos() as u64);
    keys.for_each(|n| ask(limiter, before, key(n), 1).unwrap());
}

#[test]
fn a_hammered_new_key_gets_one_bucket_in_an_empty_table() {
    new_keys_get_one_burst_each(10, 2, |_| {});
}

#[test]
fn a_hammered_new_key_gets_one_bucket_in_the_last_slot() {
    new_keys_get_one_burst_each(1, 1, |_| {});
    new_keys_get_one_burst_each(3, 1, |limiter| idle(limiter, 0..2));
}

#[test]
fn a_hammered_new_key_gets_one_bucket_in_place_of_an_idle_key() {
    new_keys_get_one_burst_each(1, 1, |limiter| idle(limiter, 0..1));
    new_keys_get_one_burst_each(4, 4, |limiter| idle(limiter, 0..4));
    new_keys_get_one_burst_each(20, 3, |limiter| {
        idle(limiter, 0..20);
        for n in 5..20 {
            drain(limiter, START, key(n));
        }
    });
}

#[test]
fn threads_that_churn_through_a_tiny_table_keep_its_bound() {
    for max_keys in [1, 2, 3, 10] {
        let limiter = limiter(1000, SECOND, 1, max_keys);
        let time = AtomicU64::new(START.as_nanos());
        together(THREADS, |thread| {
            for n in 0..20_000 {
                let now = Now::from_nanos(time.fetch_add(200_000, Ordering::Relaxed));
                let _either = ask(&limiter, now, key(n * 7 % 31 + thread as u64), 1);
                assert!(limiter.stats().keys <= max_keys);
            }
            0
        });
        assert!(limiter.stats().evictions_idle > 0);
    }
}

#[test]
fn limits_that_race_together_lose_no_token_and_gain_none() {
    let (wide, tight) = (limiter(1, SECOND, 6000, 10), limiter(1, SECOND, 5000, 10));
    let admitted = together(THREADS, |thread| {
        let both = [Ask::new(&wide, key(1), 1), Ask::new(&tight, key(1), 1)];
        let turned = [Ask::new(&tight, key(1), 1), Ask::new(&wide, key(1), 1)];
        let asks = if thread % 2 == 0 { both } else { turned };
        let mut admitted = 0;
        for n in 0..10_000 {
            match decide(START, &asks) {
                Ok(admission) if n % 3 == 0 => admission.refund(START, asks.map(|ask| ask.limiter)),
                Ok(_kept) => admitted += 1,
                Err(_) => {}
            }
        }
        admitted
    });
    let left = |limiter: &Limiter| u64::from(limiter.inspect(START, key(1)).remaining);
    assert_eq!(
        (admitted + left(&wide), admitted + left(&tight)),
        (6000, 5000)
    );
    assert_eq!(left(&tight), 0);
}

#[test]
fn a_reload_under_load_neither_gains_nor_loses_a_token() {
    reload_under_load(&[]);
}

#[test]
fn limits_that_decide_together_gain_and_lose_no_token_while_one_is_reloaded() {
    const BURST: u32 = 1_000_000;
    let wide = limiter(BURST, SECOND, BURST, 1000);
    let admitted = reload_under_load(&[&wide]);
    let used = |n| u64::from(BURST - wide.inspect(START, key(n)).remaining);
    assert_eq!((0..20).map(used).sum::<u64>(), admitted);
}

/// Reloads one limit again and again while threads use up 20 of its keys, each
/// request together with `others`, which admit all of them. Returns the number
/// of requests that were admitted.
fn reload_under_load(others: &[&Limiter]) -> u64 {
    const BURST: u32 = 20_000;
    let current = ArcSwap::from_pointee(limiter(1, SECOND, BURST, 1000));
    let admitted = together(THREADS, |thread| {
        if thread > 0 {
            let held = current.load_full(); // a request may hold its handle over many reloads
            let handle = || {
                if thread == 1 {
                    held.clone()
                } else {
                    current.load_full()
                }
            };
            let use_up = |n| hammer_all(&[others, &[&handle()]].concat(), key(n), 20);
            return (0..20).map(use_up).sum();
        }
        for round in 1..200_u32 {
            let quota = quota(1 + round % 7, SECOND, BURST);
            let max_keys = keys(1000 + round as usize % 3);
            current.store(
                current
                    .load()
                    .reconfigured(quota, max_keys, START)
                    .unwrap()
                    .into(),
            );
        }
        0
    });
    // Rescaling rounds the debt of each exhausted bucket up by less than a
    // token for every change.
    let expected = 20 * u64::from(BURST);
    assert!(
        admitted <= expected && admitted > expected - 20 * 200,
        "{admitted} of {expected}"
    );
    admitted
}
