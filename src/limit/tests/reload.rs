//! Other numbers for existing buckets.

use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

proptest! {
    #[test]
    fn a_reload_keeps_the_used_share_of_each_bucket(
        (rate, burst) in (1..100_000_u32, 1..1000_u32),
        (new_rate, new_burst) in (1..100_000_u32, 1..1000_u32),
        used in 0.0..=1.0_f64,
        pause in 0..2000_u64,
    ) {
        let old = limiter(rate, 60 * SECOND, burst, 10);
        let cost = (f64::from(burst) * used) as u32;
        ask(&old, START, key(1), cost).unwrap();
        let now = START.after(Duration::from_millis(pause));
        let before = old.inspect(now, key(1));
        let new = old.reconfigured(quota(new_rate, 60 * SECOND, new_burst), keys(10), now).unwrap();
        let after = new.inspect(now, key(1));
        let fill = |limiter: &Limiter| u128::from(limiter.gcra().fill());
        // In exact fractions: debt/fill is the same before and after, rounded
        // up by less than a nanosecond.
        let (ours, exact) = (after.full_in.as_nanos() * fill(&old), before.full_in.as_nanos() * fill(&new));
        prop_assert!(ours >= exact && ours < exact + fill(&old));
        prop_assert_eq!(drain(&new, now, key(1)), after.remaining);
        prop_assert!(drain(&new, now, key(2)) == new_burst, "unknown keys are full");
    }
}

#[test]
fn a_lower_rate_gives_an_exhausted_key_no_fresh_burst() {
    let old = limiter(100, SECOND, 200, 10);
    drain(&old, START, key(1));
    let new = old
        .reconfigured(quota(1, SECOND, 50), keys(10), START)
        .unwrap();
    assert_eq!(drain(&new, START, key(1)), 0);
    assert_eq!(
        drain(&new, START.after(10 * SECOND), key(1)),
        10,
        "the key refills at the new rate"
    );
    assert_eq!(
        drain(&old, START.after(10 * SECOND), key(1)),
        0,
        "the key is as exhausted through an old handle"
    );
}

#[test]
fn a_higher_rate_gives_an_exhausted_key_no_fresh_burst() {
    let old = limiter(1, DAY, 5, 10);
    drain(&old, START, key(1));
    let new = old
        .reconfigured(quota(1_000_000, SECOND, 1000), keys(10), START)
        .unwrap();
    assert_eq!(drain(&new, START, key(1)), 0);
    assert_eq!(
        drain(&new, START.after(Duration::from_micros(10)), key(1)),
        10
    );
}

#[test]
fn state_survives_a_rebuilt_limiter() {
    let old = limiter(10, SECOND, 10, 100);
    drain(&old, START, key(1));
    let new = old
        .reconfigured(quota(10, SECOND, 10), keys(100), START)
        .unwrap();
    assert_eq!(new.name(), "test");
    drop(old);
    assert_eq!(
        drain(&new, START.after(Duration::from_millis(300)), key(1)),
        3
    );
}

#[test]
fn a_smaller_table_keeps_the_largest_debts() {
    let old = limiter(1, DAY, 1000, 1000);
    (0..1000).for_each(|n| ask(&old, START, key(n), 1 + n as u32 % 1000).unwrap());
    let new = old
        .reconfigured(quota(1, DAY, 1000), keys(10), START)
        .unwrap();
    assert_eq!(new.stats().keys, 10);
    assert!((990..1000).all(|n| new.inspect(START, key(n)).remaining == 999 - n as u32));
}

#[test]
fn a_larger_table_keeps_every_debt_and_holds_more_keys() {
    let old = limiter(1, DAY, 3, 10);
    for n in 0..10 {
        drain(&old, START, key(n));
    }
    assert_eq!(drain(&old, START, key(11)), 3, "the shared bucket");
    let new = old
        .reconfigured(quota(1, DAY, 3), keys(100), START)
        .unwrap();
    assert!((0..10).all(|n| drain(&new, START, key(n)) == 0));
    assert!((20..110).all(|n| drain(&new, START, key(n)) == 3));
    assert_eq!(
        drain(&new, START, key(200)),
        0,
        "the shared bucket is still empty"
    );
    assert!(
        new.stats().evictions_overflow > old.stats().keys as u64 / 100,
        "the counters continue"
    );
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    let limiter = limiter(1, SECOND, 2, 10);
    drain(&limiter, START, key(1));
    assert!(
        limiter
            .reconfigured(quota(9, SECOND, 9), keys(usize::MAX), START)
            .is_err()
    );
    assert_eq!(drain(&limiter, START.after(SECOND), key(1)), 1);
}

#[test]
fn a_refund_from_before_a_reload_gains_nothing_after_it() {
    let old = limiter(1, SECOND, 10, 10);
    let admission = decide(START, &[Ask::new(&old, key(1), 10)]).unwrap();
    let new = old
        .reconfigured(quota(1, SECOND, 100), keys(10), START)
        .unwrap();
    admission.refund(START, [&new]);
    assert_eq!(drain(&new, START, key(1)), 0);
}
