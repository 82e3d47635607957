//! Full tables: which keys stay, which are evicted, and the cost.

use super::*;
use crate::limit::table::{Insert, KeyTable, OVERFLOW};

#[test]
fn a_flood_of_new_keys_evicts_no_debt_and_takes_no_memory() {
    let limiter = limiter(1, SECOND, 5, 1000);
    let debtors = 0..1000;
    for n in debtors.clone() {
        drain(&limiter, START, key(n));
    }
    let before = limiter.stats();
    let admitted = (1_000_000..2_000_000)
        .filter(|n| ask(&limiter, START, key(*n), 1).is_ok())
        .count();
    let after = limiter.stats();
    assert_eq!(
        (before.keys, after.keys, after.max_bytes),
        (1000, 1000, before.max_bytes)
    );
    assert_eq!(
        (admitted, after.evictions_idle, after.evictions_overflow),
        (5, 0, 1_000_000),
        "new keys share one bucket"
    );
    assert!(
        debtors
            .clone()
            .all(|n| limiter.inspect(START, key(n)).remaining == 0)
    );
}

/// A reload and each save walk over every table, most of which have far more
/// capacity than keys.
#[test]
fn a_walk_over_a_table_visits_only_parts_that_have_held_keys() {
    let table = KeyTable::new(NonZeroUsize::new(1 << 20).unwrap()).unwrap();
    let held = || {
        table
            .indices()
            .filter_map(|slot| table.held(slot))
            .map(|held| held.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(held(), [OVERFLOW]);
    let keys: Vec<_> = (0..5).map(key).collect();
    keys.iter().for_each(|key| {
        assert!(matches!(
            table.insert(*key, START, 1, 0),
            Insert::Done { .. }
        ))
    });
    let found = held();
    assert!(
        keys.iter().all(|key| found.contains(key)) && found.len() == 6,
        "{found:?}"
    );
    assert!(table.indices().count() <= 6 * 1024, "of two million");
}

#[test]
fn a_view_takes_nothing() {
    let limiter = limiter(1, SECOND, 3, 10);
    let ask = Ask::new(&limiter, key(1), 1);
    assert!((0..5).all(|_| would_admit(START, &ask)));
    assert_eq!(drain(&limiter, START, key(1)), 3);
    assert!(!would_admit(START, &ask));
}

#[test]
fn the_parts_of_a_common_decision_are_refunded_one_by_one() {
    let limits = [
        limiter(1, SECOND, 9, 10),
        limiter(1, SECOND, 3, 10),
        limiter(1, SECOND, 5, 10),
    ];
    let asks = limits
        .each_ref()
        .map(|limiter| Ask::new(limiter, key(1), 2));
    let mut admission = decide(START, &asks).unwrap();
    let [first, second, third] = admission
        .take_apart()
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert!(admission.is_empty());
    second.refund(START, [&limits[1]]);
    drop((first, third));
    assert_eq!(
        limits
            .each_ref()
            .map(|limiter| limiter.inspect(START, key(1)).remaining),
        [7, 3, 3]
    );
}

#[test]
fn idle_keys_make_room_first() {
    for max_keys in [1, 2, 3, 10, 30] {
        let limiter = limiter(1, SECOND, 1, max_keys);
        let max_keys = max_keys as u64;
        (0..max_keys).for_each(|n| ask(&limiter, START, key(n), 1).unwrap());
        let later = START.after(SECOND);
        (1..max_keys).for_each(|n| ask(&limiter, later, key(n), 1).unwrap());
        assert_eq!(
            ask(&limiter, later, key(100), 1),
            Ok(()),
            "in the place of key 0"
        );
        assert!(limiter.inspect(later, key(100)).held && !limiter.inspect(later, key(0)).held);
        assert!((1..max_keys).all(|n| limiter.inspect(later, key(n)).held));
        assert_eq!(
            (
                limiter.stats().evictions_idle,
                limiter.stats().evictions_overflow
            ),
            (1, 0)
        );
    }
}

#[test]
fn the_number_of_keys_never_exceeds_its_bound() {
    for max_keys in [1, 2, 3, 10] {
        let limiter = limiter(10, SECOND, 3, max_keys);
        let mut now = START;
        for n in 0..5000 {
            now = now.after(Duration::from_millis(n % 90));
            let _either = ask(&limiter, now, key(n % 37), 1 + (n % 3) as u32);
            assert!(limiter.stats().keys <= max_keys);
        }
        assert_eq!(limiter.stats().keys, max_keys);
    }
}

#[test]
fn new_keys_of_a_full_table_share_one_bucket_also_when_limits_decide_together() {
    let (full, roomy) = (limiter(1, SECOND, 2, 1), limiter(1, SECOND, 9, 10));
    drain(&full, START, key(0));
    let admitted = (1..9)
        .filter(|n| {
            decide(
                START,
                &[Ask::new(&full, key(*n), 1), Ask::new(&roomy, key(7), 1)],
            )
            .is_ok()
        })
        .count();
    assert_eq!((admitted, roomy.inspect(START, key(7)).remaining), (2, 7));
    let admission = decide(START.after(SECOND), &[Ask::new(&full, key(5), 1)]).unwrap();
    admission.refund(START.after(SECOND), [&full]);
    assert_eq!(
        ask(&full, START.after(SECOND), key(6), 1),
        Ok(()),
        "the refund goes to the bucket that the tokens came from"
    );
}

#[test]
fn a_million_keys_stay_well_under_100_mib() {
    let limiter = limiter(1, SECOND, 1, 1_000_000);
    assert!(
        limiter.stats().max_bytes <= 40 << 20,
        "{} bytes",
        limiter.stats().max_bytes
    );
    let held = (0..1_000_000)
        .filter(|n| ask(&limiter, START, key(*n), 1).is_ok())
        .count();
    assert!(
        held >= 999_990,
        "more keys share a bucket than a rare crowded window explains: {held}"
    );
    assert!(limiter.stats().keys <= 1_000_000);
}
