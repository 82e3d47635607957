//! The table under schedules that shuttle chooses: a switch of threads is
//! possible at every access to an atomic, so that states show up within a few
//! steps that real threads reach once in a million.
//!
//! The table is compiled a second time here, over shuttle's atomics. Each
//! promise is kept in all of a fixed number of random schedules, from a fixed
//! seed: a failure is found again by the next run.

mod pages;
#[path = "../../table/mod.rs"]
#[allow(dead_code, reason = "the scenarios need only a part of the table")]
#[allow(
    clippy::duplicate_mod,
    reason = "the second copy runs over the atomics of shuttle"
)]
mod table;

use shuttle::{
    scheduler::RandomScheduler,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use self::table::{Bucket, Insert, OVERFLOW, Read, Table};
use super::{Key, START, keys};

/// Schedules of each scenario; some seconds in a debug build.
const SCHEDULES: usize = 3000;
/// Tokens of a full bucket. Nothing comes back, since time stands still.
const BURST: u64 = 2;

/// Runs a scenario under many schedules.
fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    let scheduler = RandomScheduler::new_from_seed(0x7469_6465, SCHEDULES);
    let mut config = shuttle::Config::new();
    config.stack_size = 256 * 1024; // frames are large without optimisation
    shuttle::Runner::new(scheduler, config).run(scenario);
}

/// A key whose window begins with the first slot of a small table, and others
/// of the same window.
fn key(n: u64) -> Key {
    Key::from_raw(100 + n)
}

/// Takes a token as a limiter does, on the table that has the bucket. `next`
/// took over from `table`.
fn take(table: &Table, next: Option<&Table>, key: Key) -> bool {
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
fn taken_by(table: &Arc<Table>, wanted: &[Key], threads: usize) -> u64 {
    let taken = Arc::new(AtomicU64::new(0));
    let spawn = |thread: usize| {
        let (table, taken, mut wanted) = (Arc::clone(table), Arc::clone(&taken), wanted.to_vec());
        let turn = thread % wanted.len();
        wanted.rotate_left(turn);
        thread::spawn(move || {
            for key in wanted {
                for _ in 0..2 {
                    taken.fetch_add(u64::from(take(&table, None, key)), SeqCst);
                }
            }
        })
    };
    let running: Vec<_> = (0..threads).map(spawn).collect();
    running
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    taken.load(SeqCst)
}

/// A table for `max` keys, of which the first `idle` are held with full
/// buckets.
fn table(max: usize, idle: u64) -> Arc<Table> {
    let table = Table::new(keys(max)).unwrap();
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
fn a_new_key_gets_one_bucket_in_the_last_place() {
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
fn a_bucket_that_moves_to_another_table_loses_no_token_and_wins_none() {
    explore(|| {
        let (old, new) = (table(2, 0), table(2, 0));
        assert!(take(&old, None, key(1)));
        let taken = Arc::new(AtomicU64::new(1));
        let spawn = || {
            let (old, new, taken) = (Arc::clone(&old), Arc::clone(&new), Arc::clone(&taken));
            thread::spawn(move || {
                for key in [key(1), key(2)] {
                    taken.fetch_add(u64::from(take(&old, Some(&new), key)), SeqCst);
                }
            })
        };
        let running = [spawn(), spawn()];
        old.close();
        for slot in old.indices() {
            old.hand_over(slot, |bucket| carry(&new, bucket));
        }
        running
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let mut total = taken.load(SeqCst);
        for key in [key(1), key(2)] {
            while take(&new, None, key) {
                total += 1;
            }
        }
        assert_eq!(total, 2 * BURST);
    });
}

/// Brings a bucket into the table that takes over, as a reload does.
fn carry(new: &Table, Bucket { key, tat, class }: Bucket) {
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

#[test]
fn a_debt_that_is_converted_while_others_take_is_converted_whole() {
    /// How much longer a token of class 1 is.
    const LONGER: u64 = 1000;
    /// Takes a token as the quota of `class` measures it, converting the debt
    /// first.
    fn take_as(table: &Table, class: u16) -> bool {
        let scale = |class: u16| if class == 0 { 1 } else { LONGER };
        loop {
            let Some(slot) = table.find(key(1)) else {
                return false;
            };
            let Read::Tat(seen) = table.read(slot, key(1)) else {
                continue;
            };
            let (now, held) = (START.as_nanos(), table.class(slot));
            let debt = seen.saturating_sub(now);
            if held != class {
                let tat = now + (debt * scale(class)).div_ceil(scale(held));
                table.convert(slot, key(1), seen, tat, class);
            } else if debt + scale(class) > 4 * scale(class) {
                return false;
            } else if table.replace(slot, key(1), seen, seen.max(now) + scale(class)) {
                return true;
            }
        }
    }
    explore(|| {
        let table = table(2, 0);
        assert!(matches!(
            table.insert(key(1), START, START.as_nanos() + 1, 0),
            Insert::Done { .. }
        ));
        let spawn = |class| {
            let table = Arc::clone(&table);
            thread::spawn(move || (0..3).filter(|_| take_as(&table, class)).count())
        };
        let running = [spawn(0), spawn(1)];
        let taken: usize = running
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        // Each conversion rounds up, so that tokens may be lost, but none is
        // won.
        assert!(taken <= 3, "{taken}");
    });
}
