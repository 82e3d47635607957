//! Promises of the limits. Time is a number here; only `time` uses tokio's
//! paused clock.

mod bans;
mod bounds;
mod classes;
mod in_flight;
mod interleavings;
mod key;
mod model;
mod races;
mod reload;
mod saved;
mod schedules;
mod settle;
mod temporary;
mod time;
mod token_queues;
mod top;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Barrier;
use std::time::Duration;

use super::*;
use crate::policy::{KeyPart, Quota, QuotaError, Rate};

const SECOND: Duration = Duration::from_secs(1);

/// The time at which tests begin.
const START: Now = Now::from_nanos(1_000_000_000_000);

fn rate(count: u32, period: Duration) -> Rate {
    Rate { count, period }
}

fn quota(count: u32, period: Duration, burst: u32) -> Quota {
    Quota::new(rate(count, period), NonZeroU32::new(burst).unwrap()).unwrap()
}

fn keys(max: usize) -> NonZeroUsize {
    NonZeroUsize::new(max).unwrap()
}

fn limiter(count: u32, period: Duration, burst: u32, max_keys: usize) -> Limiter {
    Limiter::new("test", quota(count, period, burst), keys(max_keys)).unwrap()
}

/// The key of client `n`.
fn key(n: u64) -> Key {
    let mut builder = KeyHasher::with_seed([1, 2]).key("test");
    builder.add(&KeyPart::Path, &KeyValue::text(&n.to_be_bytes()));
    builder.finish()
}

/// Whether one limit alone admits `cost` tokens.
fn ask(limiter: &Limiter, now: Now, key: Key, cost: u32) -> Result<(), Duration> {
    decide(now, &[Ask::new(limiter, key, cost)])
        .map(drop)
        .map_err(|refusal| refusal.retry_after)
}

/// Number of single tokens that are admitted until the first refusal.
fn drain(limiter: &Limiter, now: Now, key: Key) -> u32 {
    (0..u32::MAX)
        .take_while(|_| ask(limiter, now, key, 1).is_ok())
        .map(|_| 1)
        .sum()
}

/// A bucket as the table holds it, with the quota that its debt is kept under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inspection {
    /// Whether the table has the key; an unknown key has a full bucket.
    held: bool,
    burst: u32,
    remaining: u32,
    full_in: Duration,
}

impl Limiter {
    fn inspect(&self, now: Now, key: Key) -> Inspection {
        let core = self.core.newest();
        let held = limiter::held(core, key);
        let (tat, gcra) = held.map_or((0, core.gcra), |held| (held.tat, held.gcra));
        let standing = gcra.standing(now, tat);
        Inspection {
            held: held.is_some(),
            burst: gcra.burst(),
            remaining: standing.remaining,
            full_in: standing.reset(),
        }
    }
}

/// Runs `work` on `threads` threads that start together. Returns the sum of the
/// results.
fn together(threads: usize, work: impl Fn(usize) -> u64 + Sync) -> u64 {
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        let spawn = |thread| {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(thread)
            })
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    })
}
