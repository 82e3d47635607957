//! Requests in flight by key: never one more than allowed, and none is left
//! over.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use proptest::prelude::*;

use super::*;

fn counter(max_keys: usize) -> Arc<KeysInFlight> {
    Arc::new(KeysInFlight::new(keys(max_keys)))
}

fn most(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[test]
fn a_key_gets_as_many_permits_as_it_may_have_and_each_comes_back_once() {
    let counter = counter(10);
    let one = counter.acquire(key(1), most(2)).unwrap();
    let two = counter.acquire(key(1), most(2)).unwrap();
    assert_eq!((one.1.remaining, two.1.remaining), (1, 0));
    assert_eq!(counter.acquire(key(1), most(2)).unwrap_err().remaining, 0);
    assert!(counter.acquire(key(2), most(2)).is_ok());
    drop(two);
    assert_eq!(counter.held(key(1)), 1);
    let _third = counter.acquire(key(1), most(2)).unwrap();
    drop(one);
    assert_eq!(counter.held(key(1)), 1);
    let stats = counter.stats();
    assert_eq!((stats.keys, stats.held, stats.overflowed), (1, 1, 0));
}

#[test]
fn a_smaller_number_refuses_until_the_key_is_below_it() {
    let counter = counter(10);
    let mut held: Vec<_> = (0..4)
        .map(|_| counter.acquire(key(1), most(4)).unwrap())
        .collect();
    for left in (2..4).rev() {
        assert!(counter.acquire(key(1), most(2)).is_err());
        held.pop();
        assert_eq!(counter.held(key(1)), left);
    }
    assert!(counter.acquire(key(1), most(2)).is_err());
    held.pop();
    assert!(counter.acquire(key(1), most(2)).is_ok());
}

#[test]
fn keys_beyond_the_room_share_a_count_and_leave_it_empty() {
    let counter = counter(1);
    let _first = counter.acquire(key(0), most(2)).unwrap();
    let mut held = Vec::new();
    for n in 1..200 {
        held.extend(counter.acquire(key(n), most(2)).ok());
    }
    let stats = counter.stats();
    assert_eq!((stats.keys, stats.overflowed), (1, 199));
    assert_eq!(stats.held, 1 + 16 * 2, "two for all keys of each shard");
    drop(held);
    assert_eq!(counter.stats().held, 1);
}

#[test]
fn memory_for_an_unusual_number_of_keys_is_given_back() {
    let counter = counter(1_000_000);
    let held: Vec<_> = (0..50_000)
        .map(|n| counter.acquire(key(n), most(1)).unwrap())
        .collect();
    let crowded = counter.room();
    drop(held);
    assert_eq!(counter.stats().keys, 0);
    assert!(counter.room() < crowded / 8, "{}", counter.room());
}

#[test]
fn a_temporary_number_ends_by_itself_and_by_hand() {
    let counter = counter(10);
    assert!(!counter.has_temporaries());
    let until = START.after(SECOND);
    counter
        .set_temporary(START, key(1), most(9), until)
        .unwrap();
    let given = counter.temporary(START, key(1)).unwrap();
    assert_eq!((given.given, given.until), (most(9), until));
    assert_eq!(counter.temporaries(START), 1);
    assert!(counter.temporary(until, key(1)).is_none());
    assert_eq!(counter.sweep(until), 1);
    assert!(!counter.end_temporary(until, key(1)));
}

/// The next step of a thread: it asks for a permit of a key, or returns one.
type Step = (bool, u64, u32);

proptest! {
    /// Steps of one thread, with and without room for all keys.
    #[test]
    fn any_order_of_permits_agrees_with_a_plain_count(
        steps in prop::collection::vec((any::<bool>(), 0_u64..6, 1_u32..4), 0..200),
        max_keys in 1_usize..8,
    ) {
        let counter = counter(max_keys);
        let mut held: Vec<(u64, KeyPermit)> = Vec::new();
        let mut model: HashMap<u64, u32> = HashMap::new();
        for (is_ask, n, number) in steps as Vec<Step> {
            if is_ask {
                let count = model.entry(n).or_default();
                let answer = counter.acquire(key(n), most(number));
                // Without room a key may get less, and never more.
                prop_assert!(*count < number || answer.is_err());
                prop_assert!(max_keys < 6 || answer.is_ok() == (*count < number));
                if let Ok((permit, _)) = answer {
                    *count += 1;
                    held.push((n, permit));
                }
            } else if !held.is_empty() {
                let (n, permit) = held.swap_remove(n as usize % held.len());
                drop(permit);
                *model.get_mut(&n).unwrap() -= 1;
            }
            prop_assert_eq!(counter.stats().held as usize, held.len());
            prop_assert!(counter.stats().keys <= max_keys);
        }
        drop(held);
        let stats = counter.stats();
        prop_assert_eq!((stats.keys, stats.held), (0, 0));
    }

    /// Steps of several threads at once, which count what each key has.
    #[test]
    fn many_threads_never_get_one_more_than_allowed(
        steps in prop::collection::vec((any::<bool>(), 0_u64..4, 1_u32..4), 1..60),
        max_keys in 1_usize..6,
    ) {
        let counter = counter(max_keys);
        let in_flight: Vec<AtomicU32> = (0..4).map(|_| AtomicU32::new(0)).collect();
        // The most that a key may have is the same for all who ask.
        let allowed = |n: u64| most(1 + n as u32);
        let excess = together(4, |thread| {
            let (mut held, mut excess) = (Vec::new(), 0);
            for round in 0..50 {
                let (is_ask, n, _) = steps[(round * 7 + thread) % steps.len()];
                if is_ask || held.is_empty() {
                    if let Ok((permit, _)) = counter.acquire(key(n), allowed(n)) {
                        let before = in_flight[n as usize].fetch_add(1, SeqCst);
                        excess += u64::from(before >= allowed(n).get());
                        held.push((n, permit));
                    }
                } else {
                    let (n, permit) = held.swap_remove(n as usize % held.len());
                    in_flight[n as usize].fetch_sub(1, SeqCst);
                    drop(permit);
                }
            }
            for (n, permit) in held {
                in_flight[n as usize].fetch_sub(1, SeqCst);
                drop(permit);
            }
            excess
        });
        prop_assert_eq!(excess, 0);
        let stats = counter.stats();
        prop_assert_eq!((stats.keys, stats.held), (0, 0));
    }
}
