//! The table under schedules that shuttle chooses: a switch of threads is
//! possible at every access to an atomic, so that states show up within a few
//! steps that real threads reach once in a million.
//!
//! The table is compiled a second time here, over shuttle's atomics. Each
//! promise is kept in a fixed number of schedules from a fixed seed: a failure
//! is found again by the next run. Half of the schedules are random. The other
//! half follow "A Randomized Scheduler with Probabilistic Guarantees of Finding
//! Bugs" (Burckhardt et al., ASPLOS 2010): threads run by priority, which
//! changes at a few random steps. These find the mistakes in which one thread
//! stands still between two accesses while others do all of their work.
//!
//! Every step of the protocol in `table` has a scenario that fails without it.

mod conversions;
mod pages;
#[path = "../../table/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the scenarios need only a part of the table"
)]
#[allow(
    clippy::duplicate_mod,
    reason = "the second copy runs over the atomics of shuttle"
)]
mod table;

use std::collections::HashSet;

use shuttle::{
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    sync::Arc,
    thread,
};

use self::table::{Bucket, Insert, KeyTable, OVERFLOW, Read};
use super::{Key, START, keys};

/// Schedules of each scenario and kind; some seconds in a debug build.
const SCHEDULES: usize = 1000;
/// Priorities change at one step less than this in a schedule by priority.
const DEPTH: usize = 4;
const SEED: u64 = 0x7469_6465;
/// Tokens of a full bucket. Nothing comes back, since time stands still.
const BURST: u64 = 2;

/// Runs a scenario under many schedules.
fn explore(scenario: fn()) {
    explore_by(RandomScheduler::new_from_seed(SEED, SCHEDULES), scenario);
    explore_by(
        PctScheduler::new_from_seed(SEED, DEPTH, SCHEDULES),
        scenario,
    );
}

fn explore_by(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = shuttle::Config::new();
    config.stack_size = 256 * 1024; // frames are large without optimisation
    shuttle::Runner::new(scheduler, config).run(scenario);
}

/// A key whose window begins with the first slot of a small table, and others
/// of the same window.
fn key(n: u64) -> Key {
    Key::from_raw(100 + n)
}

/// A key whose window begins with the third of four slots.
fn far_key(n: u64) -> Key {
    Key::from_raw((2 << 62) + n)
}

/// Takes a token as a limiter does, on the table that has the bucket. `next`
/// took over from `table`.
fn take(table: &KeyTable, next: Option<&KeyTable>, key: Key) -> bool {
    loop {
        let moved_to = match table.find(key) {
            Some(slot) => match table.read(slot, key) {
                Read::Tat(seen) => {
                    let tat = seen.max(START.as_nanos()) + 1;
                    if tat > START.as_nanos() + BURST {
                        return false;
                    }
                    if table.replace(slot, key, seen, tat) {
                        return true;
                    }
                    continue;
                }
                Read::Changed => continue,
                Read::Moved => next,
            },
            None => match table.insert(key, START, START.as_nanos() + 1, 0) {
                Insert::Done { .. } => return true,
                Insert::Exists => continue,
                Insert::Full => return take(table, next, OVERFLOW),
                Insert::Closed => next,
            },
        };
        return take(moved_to.expect("a successor"), None, key);
    }
}

/// Tokens that threads get which each want two of `wanted`, in different
/// orders.
fn taken_by(table: &Arc<KeyTable>, wanted: &[Key], threads: usize) -> u64 {
    let mut running = Vec::new();
    for thread in 0..threads {
        let (table, mut wanted) = (Arc::clone(table), wanted.to_vec());
        let turn = thread % wanted.len();
        wanted.rotate_left(turn);
        running.push(thread::spawn(move || {
            let mut taken = 0;
            for key in wanted {
                taken += tokens(&table, key, 2);
            }
            taken
        }));
    }
    let taken = sum(running);
    assert_whole(table);
    taken
}

/// Tokens of `key` among so many requests for one.
fn tokens(table: &KeyTable, key: Key, requests: usize) -> u64 {
    let mut taken = 0;
    for _ in 0..requests {
        taken += u64::from(take(table, None, key));
    }
    taken
}

fn sum(running: Vec<thread::JoinHandle<u64>>) -> u64 {
    running
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum()
}

/// No key stands in two slots, each can be found, and the table has counted
/// them.
fn assert_whole(table: &KeyTable) {
    let mut keys = HashSet::new();
    for slot in table.indices() {
        let Some(held) = table.held(slot) else {
            continue;
        };
        assert!(keys.insert(held.key.hash()), "a key has two buckets");
        assert_eq!(table.find(held.key), Some(slot), "a key is not found");
    }
    keys.remove(&OVERFLOW.hash());
    assert_eq!(table.keys(), keys.len(), "keys are counted wrongly");
}

/// A table for `max` keys, of which the first `idle` are held with full
/// buckets.
fn table(max: usize, idle: u64) -> Arc<KeyTable> {
    let table = KeyTable::new(keys(max)).unwrap();
    for n in 0..idle {
        let inserted = table.insert(key(1000 + n), START, START.as_nanos(), 0);
        assert_eq!(inserted, Insert::Done { evicted: false });
    }
    Arc::new(table)
}

#[test]
fn a_new_key_gets_one_bucket_in_every_schedule() {
    explore(|| assert_eq!(taken_by(&table(4, 0), &[key(1)], 3), BURST));
}

#[test]
fn a_new_key_gets_one_bucket_in_the_last_slot() {
    explore(|| {
        let table = table(1, 0);
        assert_eq!(taken_by(&table, &[key(1)], 2), BURST);
        assert_eq!(table.keys(), 1);
    });
}

#[test]
fn a_new_key_gets_one_bucket_in_place_of_an_idle_one() {
    explore(|| {
        let table = table(2, 2);
        assert_eq!(taken_by(&table, &[key(1), key(2)], 2), 2 * BURST);
        assert_eq!(table.keys(), 2);
    });
}

#[test]
fn a_new_key_gets_one_bucket_while_rivals_for_another_one_give_up() {
    explore(|| {
        // Two threads evict both idle keys for one new key, and one of them
        // gives up. The third is left with the slot that this one vacates.
        let table = table(2, 2);
        assert_eq!(taken_by(&table, &[key(1), key(2)], 3), 2 * BURST);
        assert_eq!(table.keys(), 2);
    });
}

#[test]
fn a_new_key_gets_one_bucket_in_front_of_an_idle_one() {
    explore(|| {
        let table = table(2, 2);
        assert_eq!(taken_by(&table, &[far_key(1), far_key(2)], 2), 2 * BURST);
        assert_eq!(table.keys(), 2);
    });
}

#[test]
fn new_keys_from_both_ends_of_a_table_get_one_bucket_each() {
    explore(|| {
        let table = table(2, 2);
        assert_eq!(taken_by(&table, &[key(1), far_key(2)], 3), 2 * BURST);
        assert_eq!(table.keys(), 2);
    });
}

#[test]
fn a_look_for_room_finds_it_while_keys_come_and_go() {
    explore(|| {
        let table = table(2, 2);
        let mut running = Vec::new();
        for wanted in [key(1), key(1), key(2)] {
            let table = Arc::clone(&table);
            running.push(thread::spawn(move || {
                assert_ne!(table.room(wanted, START), Insert::Full);
                tokens(&table, wanted, 2)
            }));
        }
        assert_eq!(sum(running), 2 * BURST);
        assert_whole(&table);
    });
}

#[test]
fn keys_that_find_no_slot_share_one_bucket() {
    explore(|| {
        let table = table(1, 0);
        // One of them has the slot, and the other one the bucket that is
        // shared.
        assert_eq!(taken_by(&table, &[key(1), key(2)], 2), 2 * BURST);
        assert_eq!(table.keys(), 1);
    });
}

#[test]
fn a_hit_on_a_key_that_is_evicted_meanwhile_takes_from_no_other_bucket() {
    explore(|| {
        let table = table(1, 1);
        let other = Arc::clone(&table);
        // Its bucket looks as that of the evicted key did: all of its tokens
        // have been refunded.
        let other = thread::spawn(move || {
            other.insert(key(1), START, START.as_nanos(), 0);
        });
        assert_eq!(tokens(&table, key(1000), 3), BURST);
        other.join().unwrap();
        assert_whole(&table);
    });
}

#[test]
fn a_hit_on_a_key_that_is_evicted_meanwhile_is_not_refused_for_another_key() {
    explore(|| {
        let table = table(1, 1);
        let other = Arc::clone(&table);
        let other = thread::spawn(move || {
            other.insert(key(1), START, START.as_nanos() + BURST, 0);
        });
        assert_eq!(tokens(&table, key(1000), 2), BURST);
        other.join().unwrap();
        assert_whole(&table);
    });
}

#[test]
fn a_bucket_that_is_filled_while_others_come_stays_counted() {
    explore(|| {
        let table = table(3, 0);
        let mut running = Vec::new();
        for n in [1, 2] {
            let table = Arc::clone(&table);
            running.push(thread::spawn(move || {
                table.insert(key(n), START, START.as_nanos() + 1, 0);
                let slot = table.find(key(n)).unwrap();
                let filled = table.replace(slot, key(n), START.as_nanos() + 1, 0);
                u64::from(filled)
            }));
        }
        assert_eq!(sum(running), 2);
        assert_whole(&table);
    });
}

#[test]
fn a_bucket_that_moves_to_another_table_loses_no_token_and_wins_none() {
    explore(|| {
        let (old, new) = (table(2, 0), table(2, 0));
        assert!(take(&old, None, key(1)));
        let taken = 1 + taken_while_moving(&old, &new, &[key(1), key(2)]);
        let left = tokens(&new, key(1), 3) + tokens(&new, key(2), 3);
        assert_eq!(taken + left, 2 * BURST);
        assert_whole(&new);
    });
}

#[test]
fn a_new_key_that_meets_the_move_of_an_idle_one_gets_one_bucket() {
    explore(|| {
        let (old, new) = (table(1, 1), table(1, 0));
        let taken = taken_while_moving(&old, &new, &[key(1)]);
        assert_eq!(taken + tokens(&new, key(1), 3), BURST);
    });
}

/// Tokens that two threads get which want one of each of `wanted` while all
/// buckets of `old` move to `new`.
fn taken_while_moving(old: &Arc<KeyTable>, new: &Arc<KeyTable>, wanted: &[Key]) -> u64 {
    let mut running = Vec::new();
    for _ in 0..2 {
        let (old, new, wanted) = (Arc::clone(old), Arc::clone(new), wanted.to_vec());
        running.push(thread::spawn(move || {
            let mut taken = 0;
            for key in wanted {
                taken += u64::from(take(&old, Some(&new), key));
            }
            taken
        }));
    }
    old.close();
    for slot in old.indices() {
        old.hand_over(slot, |bucket| carry(new, bucket));
    }
    sum(running)
}

/// Brings a bucket into the table that takes over, as a reload does.
fn carry(new: &KeyTable, Bucket { key, tat, class }: Bucket) {
    if tat <= START.as_nanos() || new.insert(key, START, tat, class) != Insert::Exists {
        return;
    }
    let debt = tat - START.as_nanos();
    while let Some(slot) = new.find(key) {
        if let Read::Tat(seen) = new.read(slot, key)
            && new.replace(slot, key, seen, seen.max(START.as_nanos()) + debt)
        {
            return;
        }
    }
}
