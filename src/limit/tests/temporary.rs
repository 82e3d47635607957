//! Temporary quotas of single keys.

use super::*;
use crate::limit::temporary::MOST_TEMPORARY;

fn give(
    limiter: &Limiter,
    now: Now,
    n: u64,
    (count, burst): (u32, u32),
    lasts: Duration,
) -> Result<Temporary<GivenQuota>, TemporaryError> {
    limiter.set_temporary(now, key(n), quota(count, SECOND, burst), now.after(lasts))
}

/// Drains a bucket as a layer does.
fn drain_now(limiter: &Limiter, now: Now, n: u64) -> u32 {
    let given = limiter.temporary(now, key(n));
    let ask = Ask {
        quota: given.as_ref().map(|given| &given.given.gcra),
        ..Ask::new(limiter, key(n), 1)
    };
    (0..u32::MAX)
        .take_while(|_| decide(now, &[ask]).is_ok())
        .map(|_| 1)
        .sum()
}

#[test]
fn a_key_has_temporary_numbers_until_they_expire_and_other_keys_do_not() {
    let limiter = limiter(1, SECOND, 2, 10);
    give(&limiter, START, 1, (10, 50), 10 * SECOND).unwrap();
    assert_eq!(
        (drain_now(&limiter, START, 1), drain_now(&limiter, START, 2)),
        (50, 2)
    );
    let last = START.after(10 * SECOND - Duration::from_nanos(1));
    assert!(limiter.temporary(last, key(1)).is_some());
    let over = START.after(10 * SECOND);
    assert_eq!(
        (limiter.temporary(over, key(1)), limiter.temporaries(over)),
        (None, 0)
    );
    assert_eq!(drain_now(&limiter, over.after(60 * SECOND), 1), 2);
}

#[test]
fn an_exhausted_key_is_refilled_neither_by_other_numbers_nor_by_their_end() {
    let limiter = limiter(1, 60 * SECOND, 2, 10);
    drain(&limiter, START, key(1));
    give(&limiter, START, 1, (100, 100), 10 * SECOND).unwrap();
    assert_eq!(
        drain_now(&limiter, START, 1),
        0,
        "the key waits at the new rate"
    );
    assert_eq!(drain_now(&limiter, START.after(SECOND), 1), 100);
    limiter.end_temporary(START.after(SECOND), key(1));
    assert_eq!(drain_now(&limiter, START.after(SECOND), 1), 0);
}

#[test]
fn temporary_numbers_survive_a_reload_whichever_handle_set_them() {
    let old = limiter(1, SECOND, 2, 10);
    give(&old, START, 1, (5, 20), 10 * SECOND).unwrap();
    let new = old
        .reconfigured(quota(3, SECOND, 4), keys(10), START)
        .unwrap();
    assert_eq!(drain_now(&new, START, 1), 20);
    give(&old, START, 2, (5, 30), 10 * SECOND).unwrap();
    assert_eq!(drain_now(&new, START, 2), 30);
    assert!(new.end_temporary(START, key(1)) && !old.end_temporary(START, key(1)));
}

#[test]
fn expired_numbers_are_removed_without_a_request() {
    let limiter = limiter(1, SECOND, 2, 10);
    give(&limiter, START, 1, (5, 20), SECOND).unwrap();
    give(&limiter, START, 2, (5, 20), 9 * SECOND).unwrap();
    assert_eq!(limiter.sweep(START), 0);
    assert_eq!(limiter.sweep(START.after(SECOND)), 1);
    assert_eq!(limiter.sweep(START.after(9 * SECOND)), 1);
    assert_eq!(limiter.sweep(START.after(10 * SECOND)), 0);
}

#[test]
fn temporary_numbers_are_bounded_and_expired_ones_make_room() {
    let limiter = limiter(1, SECOND, 2, 10);
    limiter
        .core
        .lineage
        .temporaries
        .fill(MOST_TEMPORARY, &limiter, START.after(SECOND));
    let one_more =
        |now: Now, n| limiter.set_temporary(now, key(n), quota(5, SECOND, 20), now.after(SECOND));
    assert_eq!(one_more(START, 1_000_000), Err(TemporaryError::Full));
    assert!(
        one_more(START, 3).is_ok(),
        "a key with temporary numbers may get others"
    );
    assert!(one_more(START.after(SECOND), 1_000_000).is_ok());
}

#[test]
fn the_view_of_a_key_uses_its_current_numbers() {
    let limiter = limiter(1, SECOND, 10, 10);
    (0..5).for_each(|_| ask(&limiter, START, key(1), 1).unwrap());
    assert_eq!(limiter.standing(START, key(1), None).remaining, 5);
    let big = give(&limiter, START, 1, (10, 100), 10 * SECOND).unwrap();
    let standing = limiter.standing(START, key(1), Some(&big.given.gcra));
    assert_eq!(
        (standing.burst, standing.remaining, standing.reset()),
        (100, 50, 5 * SECOND)
    );
    assert_eq!(
        limiter.inspect(START, key(1)).remaining,
        5,
        "the view changes nothing"
    );
    let unknown = limiter.standing(START, key(2), Some(&big.given.gcra));
    assert_eq!((unknown.remaining, unknown.reset()), (100, Duration::ZERO));
}
