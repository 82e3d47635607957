//! Keys with quotas of their own.

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn other(limiter: &Limiter, count: u32, period: Duration, burst: u32) -> Gcra {
    limiter.key_quota(quota(count, period, burst)).unwrap()
}

fn under(limiter: &Limiter, now: Now, quota: Option<&Gcra>, cost: u32) -> Result<(), Duration> {
    let ask = Ask {
        quota,
        ..Ask::new(limiter, key(1), cost)
    };
    decide(now, &[ask])
        .map(drop)
        .map_err(|refusal| refusal.retry_after)
}

/// Number of single tokens that are admitted under `quota` until the first
/// refusal.
fn drain_under(limiter: &Limiter, now: Now, quota: Option<&Gcra>) -> u32 {
    (0..u32::MAX)
        .take_while(|_| under(limiter, now, quota, 1).is_ok())
        .map(|_| 1)
        .sum()
}

#[test]
fn a_key_has_its_own_numbers_and_the_others_have_those_of_the_limit() {
    let limiter = limiter(1, SECOND, 2, 10);
    let big = other(&limiter, 10, SECOND, 50);
    assert_eq!(drain_under(&limiter, START, Some(&big)), 50);
    assert_eq!(drain(&limiter, START, key(2)), 2);
    let later = START.after(SECOND);
    assert_eq!(
        (
            drain_under(&limiter, later, Some(&big)),
            drain(&limiter, later, key(2))
        ),
        (10, 1)
    );
    assert_eq!(limiter.inspect(later, key(1)).burst, 50);
}

#[test]
fn a_cost_above_the_limits_burst_passes_under_numbers_that_hold_it() {
    let limiter = limiter(1, SECOND, 2, 10);
    let big = other(&limiter, 1, SECOND, 5);
    assert_eq!(under(&limiter, START, Some(&big), 4), Ok(()));
    assert_eq!(under(&limiter, START, Some(&big), 6), Err(Duration::MAX));
}

#[test]
fn equal_numbers_are_one_quota_also_after_a_reload() {
    let limiter = limiter(1, SECOND, 2, 10);
    let first = other(&limiter, 7, SECOND, 9);
    let reloaded = limiter
        .reconfigured(quota(2, SECOND, 4), keys(10), START)
        .unwrap();
    assert_eq!(other(&reloaded, 7, SECOND, 9), first);
    assert_ne!(other(&reloaded, 8, SECOND, 9), first);
}

#[test]
fn the_numbers_of_keys_are_bounded() {
    let filled = super::super::classes::Classes::full();
    assert_eq!(
        filled.register(quota(1, SECOND, 3).into()),
        Err(LimiterError::TooManyQuotas)
    );
}

proptest! {
    #[test]
    fn other_numbers_for_a_key_keep_the_used_share_of_its_bucket(
        numbers in prop::collection::vec((1..10_000_u32, 1..1000_u32), 1..6),
        used in 0.0..=1.0_f64,
    ) {
        let limiter = limiter(100, MINUTE, 100, 10);
        let cost = (100.0 * used) as u32;
        under(&limiter, START, None, cost).unwrap();
        let mut quotas: Vec<_> = numbers.iter().map(|(rate, burst)| Some(other(&limiter, *rate, MINUTE, *burst))).collect();
        quotas.push(None);
        for quota in &quotas {
            let burst = quota.map_or(100, |quota| quota.burst());
            let emission = u128::from(quota.unwrap_or(*limiter.gcra()).emission());
            under(&limiter, START, quota.as_ref(), 0).unwrap(); // converts, takes nothing
            let inspection = limiter.inspect(START, key(1));
            prop_assert!(inspection.burst == burst || cost == 0);
            // Each conversion rounds up by less than a nanosecond of the new
            // bucket.
            let (exact, slack) = (f64::from(cost) / 100.0, 6.0 / (emission * u128::from(burst)) as f64 + 1e-6);
            let share = inspection.full_in.as_nanos() as f64 / (emission * u128::from(burst)) as f64;
            prop_assert!((share - exact).abs() <= slack, "{share} {exact}");
        }
    }

    #[test]
    fn a_reload_leaves_debts_under_other_numbers_as_they_are(rate in 1..1000_u32, burst in 1..1000_u32, cost in 1..50_u32) {
        let old = limiter(100, MINUTE, 100, 10);
        let big = other(&old, 5, MINUTE, 50);
        under(&old, START, Some(&big), cost).unwrap();
        let before = old.inspect(START, key(1));
        let new = old.reconfigured(quota(rate, MINUTE, burst), keys(20), START).unwrap();
        prop_assert_eq!(new.inspect(START, key(1)), before);
        prop_assert_eq!(drain_under(&new, START, Some(&big)), 50 - cost);
    }
}

#[test]
fn an_exhausted_key_with_larger_numbers_waits_at_the_new_rate() {
    let limiter = limiter(1, MINUTE, 5, 10);
    drain(&limiter, START, key(1));
    let big = other(&limiter, 1000, SECOND, 1000);
    assert_eq!(drain_under(&limiter, START, Some(&big)), 0);
    assert_eq!(
        drain_under(
            &limiter,
            START.after(Duration::from_millis(100)),
            Some(&big)
        ),
        100
    );
    assert_eq!(
        drain(&limiter, START.after(Duration::from_millis(100)), key(1)),
        0,
        "the key keeps its debt when it returns to the limit's numbers"
    );
}

#[test]
fn a_new_key_of_a_full_table_with_numbers_of_its_own_shares_the_common_bucket() {
    let limiter = limiter(1, SECOND, 3, 1);
    drain(&limiter, START, key(7));
    let big = other(&limiter, 100, SECOND, 100);
    assert_eq!(
        under(&limiter, START, Some(&big), 100),
        Ok(()),
        "the common bucket is exhausted"
    );
    assert_eq!(under(&limiter, START, Some(&big), 1), Err(SECOND));
    assert_eq!(ask(&limiter, START, key(3), 1), Err(SECOND));
}

#[test]
fn a_refund_after_a_change_of_numbers_gains_nothing() {
    let limiter = limiter(1, SECOND, 10, 10);
    let admission = decide(START, &[Ask::new(&limiter, key(1), 10)]).unwrap();
    let big = other(&limiter, 1, SECOND, 100);
    assert_eq!(drain_under(&limiter, START, Some(&big)), 0);
    admission.refund(START, [&limiter]);
    assert_eq!(drain_under(&limiter, START, Some(&big)), 0);
}

#[test]
fn threads_with_different_numbers_for_a_key_share_one_bucket() {
    let limiter = limiter(1, 86_400 * SECOND, 10_000, 10);
    let half = other(&limiter, 1, 86_400 * SECOND, 5_000);
    let whole = std::sync::atomic::AtomicU64::new(0);
    together(4, |thread| {
        let quota = if thread % 2 == 0 { None } else { Some(&half) };
        let weight = if thread % 2 == 0 { 1 } else { 2 };
        let admitted = (0..8_000)
            .filter(|_| under(&limiter, START, quota, 1).is_ok())
            .count() as u64;
        whole.fetch_add(admitted * weight, std::sync::atomic::Ordering::Relaxed)
    });
    let whole = whole.into_inner();
    assert!(
        (9_990..=10_000).contains(&whole),
        "{whole}: a change of numbers costs a token or more"
    );
}
