//! Debts that survive the process.

use proptest::prelude::*;

use super::*;
use crate::limit::saved::{Damage, Debt, Encoder, Saved, saved_size};

const IDENTITY: u64 = 7;
const WRITTEN: Duration = Duration::from_secs(1_700_000_000);

fn encoded(debts: impl IntoIterator<Item = Debt>) -> Vec<u8> {
    let (mut encoder, header) = Encoder::begin(IDENTITY, WRITTEN);
    let mut bytes = header.to_vec();
    debts
        .into_iter()
        .for_each(|debt| bytes.extend(encoder.debt(debt)));
    bytes.extend(encoder.end());
    bytes
}

/// The debts that a new process finds after `age`. Its clock starts anew.
fn restarted(old: &Limiter, now: Now, new: &Limiter, age: Duration) -> usize {
    let bytes = encoded(old.debts(now));
    new.restore(START, age, Saved::decode(&bytes, IDENTITY).unwrap().debts())
}

#[test]
fn an_exhausted_key_stays_exhausted_after_a_restart_and_refills_meanwhile() {
    let (old, new) = (limiter(1, SECOND, 100, 10), limiter(1, SECOND, 100, 10));
    let now = START.after(7_777 * SECOND);
    drain(&old, now, key(1));
    ask(&old, now, key(2), 20).unwrap();
    ask(&old, now, key(3), 50).unwrap();
    assert_eq!(
        restarted(&old, now, &new, 30 * SECOND),
        2,
        "one of the buckets is full by now"
    );
    assert_eq!(
        [1, 2, 3].map(|n| new.inspect(START, key(n)).remaining),
        [30, 100, 80]
    );
    assert_eq!(ask(&new, START, key(1), 31), Err(SECOND));
}

#[test]
fn other_numbers_after_the_restart_keep_the_used_share() {
    let (old, new) = (limiter(1, SECOND, 100, 10), limiter(1, 60 * SECOND, 10, 10));
    drain(&old, START, key(1));
    ask(&old, START, key(2), 50).unwrap();
    restarted(&old, START, &new, Duration::ZERO);
    assert_eq!([1, 2].map(|n| drain(&new, START, key(n))), [0, 5]);
}

#[test]
fn a_debt_under_numbers_of_a_keys_own_keeps_its_share() {
    let (old, new) = (limiter(1, SECOND, 100, 10), limiter(1, SECOND, 100, 10));
    let big = old.key_quota(quota(10, SECOND, 1000)).unwrap();
    decide(
        START,
        &[Ask {
            quota: Some(&big),
            ..Ask::new(&old, key(1), 250)
        }],
    )
    .map(drop)
    .unwrap();
    restarted(&old, START, &new, Duration::ZERO);
    assert_eq!(new.inspect(START, key(1)).remaining, 75);
}

#[test]
fn debts_without_room_go_to_the_common_bucket() {
    let (old, new) = (limiter(1, SECOND, 5, 10), limiter(1, SECOND, 5, 1));
    (0..3).for_each(|n| assert_eq!(drain(&old, START, key(n)), 5));
    assert_eq!(restarted(&old, START, &new, SECOND), 1);
    assert!(
        (0..3).all(|n| drain(&new, START, key(n)) <= 1),
        "no key has a fresh bucket"
    );
    assert_eq!(new.stats().keys, 1);
}

#[test]
fn files_of_other_origin_are_recognised() {
    let whole = encoded([Debt {
        key: key(1),
        nanos: 5,
        fill: 9,
    }]);
    let decode = |bytes: &[u8]| Saved::decode(bytes, IDENTITY).map(|saved| saved.debts().count());
    assert_eq!((decode(&whole), whole.len()), (Ok(1), saved_size(1)));
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        decode(&bytes)
    };
    assert_eq!(decode(b""), Err(Damage::Foreign));
    assert_eq!(decode(b"[limits]"), Err(Damage::Foreign));
    assert_eq!(changed(0), Err(Damage::Foreign));
    assert_eq!(changed(8), Err(Damage::Version(0)));
    assert_eq!(changed(32), Err(Damage::Checksum));
    assert_eq!(changed(24), Err(Damage::Checksum));
    assert_eq!(decode(&whole[..whole.len() - 1]), Err(Damage::Length));
    assert_eq!(decode(&whole[..40]), Err(Damage::Length));
    assert_eq!(
        decode(&[&whole[..], &[0; 24]].concat()),
        Err(Damage::Length)
    );
    assert_eq!(
        Saved::decode(&whole, IDENTITY + 1).map(drop),
        Err(Damage::Identity)
    );
}

proptest! {
    #[test]
    fn written_debts_can_be_read(debts in prop::collection::vec((3..u64::MAX, any::<u64>(), 1..u64::MAX), 0..200)) {
        let debts: Vec<_> = debts.into_iter().map(|(hash, nanos, fill)| Debt { key: Key::from_raw(hash), nanos, fill }).collect();
        let bytes = encoded(debts.clone());
        let saved = Saved::decode(&bytes, IDENTITY).unwrap();
        prop_assert_eq!(saved.written, WRITTEN);
        prop_assert_eq!(saved.debts().collect::<Vec<_>>(), debts);
    }

    #[test]
    fn any_bytes_can_be_read_without_harm(
        records in prop::collection::vec(any::<(u64, u64, u64)>(), 0..50),
        (at, bit) in any::<(prop::sample::Index, u8)>(),
        rest in prop::collection::vec(any::<u8>(), 0..100),
        age: u64,
    ) {
        let sound = encoded(records.into_iter().map(|(hash, nanos, fill)| Debt { key: Key::from_raw(hash), nanos, fill }));
        let mut damaged = sound.clone();
        damaged[at.index(sound.len())] ^= bit | 1;
        prop_assert!(Saved::decode(&damaged, IDENTITY).is_err());
        let _any = Saved::decode(&rest, IDENTITY).map(drop);
        let limiter = limiter(1, SECOND, 10, 20);
        limiter.restore(START, Duration::from_nanos(age), Saved::decode(&sound, IDENTITY).unwrap().debts());
        prop_assert!(limiter.stats().keys <= 20);
        prop_assert!(drain(&limiter, START, key(1)) <= 10);
    }
}

#[test]
fn the_digest_of_debts_changes_with_a_request_and_not_with_time() {
    let limiter = limiter(1, SECOND, 100, 10);
    let empty = limiter.digest(START);
    ask(&limiter, START, key(1), 20).unwrap();
    ask(&limiter, START, key(2), 5).unwrap();
    let two = limiter.digest(START);
    assert_ne!(two, empty);
    assert_eq!(limiter.digest(START.after(4 * SECOND)), two, "debts shrink");
    let one = limiter.digest(START.after(6 * SECOND));
    assert_ne!(one, two, "a debt has ended");
    ask(&limiter, START.after(6 * SECOND), key(1), 1).unwrap();
    assert_ne!(limiter.digest(START.after(6 * SECOND)), one);
    assert_eq!(limiter.digest(START.after(100 * SECOND)), empty);
}
