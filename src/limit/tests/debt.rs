//! What is counted when it is over, and owed where it was not there.

use proptest::prelude::*;

use super::*;
use crate::limit::bucket::MOST_DEBT;

#[test]
fn a_volley_is_charged_in_full_and_the_key_waits() {
    let limiter = limiter(5, 60 * SECOND, 5, 10);
    let looks = || preview(START, &[Ask::new(&limiter, key(1), 1)]).is_ok();
    assert!((0..30).all(|_| looks()), "nothing is counted yet");
    let left: Vec<_> = (0..30).map(|_| limiter.owe(START, key(1), 1, None).remaining).collect();
    assert_eq!((&left[..6], left[29], looks()), (&[4, 3, 2, 1, 0, 0][..], 0, false));
    // 25 tokens are owed and one is needed, at 12 s each.
    assert_eq!(ask(&limiter, START, key(1), 1), Err(26 * 12 * SECOND));
    assert_eq!(limiter.inspect(START, key(2)).remaining, 5, "nobody else");
}

#[test]
fn many_threads_that_owe_are_all_charged() {
    let limiter = limiter(1, SECOND, 10_000, 10);
    together(4, |_| (0..10_000).map(|_| u64::from(limiter.owe(START, key(1), 1, None).remaining > 0)).sum());
    assert_eq!(limiter.inspect(START, key(1)).full_in, 40_000 * SECOND);
}

#[test]
fn strangers_to_a_full_table_owe_together() {
    let limiter = limiter(1, SECOND, 2, 1);
    drain(&limiter, START, key(0));
    (1..=4).for_each(|n| assert!(limiter.owe(START, key(n), 1, None).remaining < 2));
    assert_eq!(ask(&limiter, START, key(9), 1), Err(3 * SECOND));
}

#[test]
fn a_look_tells_what_is_left_and_takes_nothing() {
    let limits = [limiter(1, SECOND, 9, 10), limiter(1, SECOND, 3, 10)];
    let asks = limits.each_ref().map(|limiter| Ask::new(limiter, key(1), 1));
    let (fill, next, reset) = (3 * SECOND, Duration::ZERO, Duration::ZERO);
    let full = Standing { index: 1, remaining: 3, burst: 3, fill, next, reset };
    for _ in 0..5 {
        assert_eq!(preview(START, &asks), Ok(Some(full)));
    }
    drain(&limits[1], START, key(1));
    assert_eq!(preview(START, &asks).unwrap_err().refused, 0b10);
    assert_eq!(preview(START, &[]), Ok(None));
}

#[test]
fn owing_nothing_holds_no_key() {
    let limiter = limiter(1, SECOND, 2, 10);
    limiter.owe(START, key(1), 0, None);
    assert_eq!(limiter.stats().keys, 0);
}

proptest! {
    #[test]
    fn a_debt_is_exact_up_to_its_bound_and_never_beyond(
        burst in 1..50_u32,
        steps in prop::collection::vec((0..60_u32, 0..5_000_u64, any::<bool>()), 1..60),
    ) {
        let limiter = limiter(10, SECOND, burst, 10);
        let emission = limiter.quota().emission().as_nanos();
        let (mut now, mut debt) = (START, 0_u128);
        let most = emission * u128::from(burst) * u128::from(1 + MOST_DEBT);
        for (cost, pause, counts) in steps {
            now = now.after(Duration::from_millis(pause));
            debt = debt.saturating_sub(u128::from(pause) * 1_000_000);
            let weight = emission * u128::from(cost);
            if counts {
                limiter.owe(now, key(1), cost, None);
                debt = (debt + weight).min(most);
            } else {
                let cost = cost.min(burst);
                let weight = emission * u128::from(cost);
                let is_there = cost == 0 || debt + weight <= emission * u128::from(burst);
                prop_assert_eq!(ask(&limiter, now, key(1), cost).is_ok(), is_there);
                debt += if is_there { weight } else { 0 };
            }
            prop_assert_eq!(limiter.inspect(now, key(1)).full_in.as_nanos(), debt);
        }
    }

    #[test]
    fn a_key_in_debt_is_admitted_exactly_after_retry_after(burst in 1..20_u32, owed in 1..500_u32, rate in 1..1000_u32) {
        let limiter = limiter(rate, 60 * SECOND, burst, 10);
        limiter.owe(START, key(1), owed, None);
        if let Err(wait) = ask(&limiter, START, key(1), 1) {
            prop_assert!(ask(&limiter, START.after(wait - Duration::from_nanos(1)), key(1), 1).is_err());
            prop_assert!(ask(&limiter, START.after(wait), key(1), 1).is_ok());
        }
    }

    #[test]
    fn even_the_slowest_buckets_owe_without_overflow(cost: u32, times in 1..20_usize) {
        let slow = limiter(1, 86_400 * SECOND, 26_000, 10); // 71 years
        for _ in 0..times {
            slow.owe(START, key(1), cost, None);
        }
        let full_in = slow.inspect(START, key(1)).full_in;
        prop_assert!(full_in.as_nanos() <= 1 << 62);
        prop_assert!(cost == 0 || !full_in.is_zero());
    }
}
