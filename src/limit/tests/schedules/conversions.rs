//! Debts that are converted from one quota to another while threads that go by
//! either take tokens.

use super::*;

/// A quota, and the share of a bucket that a token is.
#[derive(Clone, Copy)]
struct Measure {
    class: u16,
    /// Nanoseconds of a token.
    token: u64,
    /// Nanoseconds of a full bucket.
    fill: u64,
    /// Quarters of the bucket that a token is.
    quarters: u64,
}

const LARGE_TOKENS: Measure = Measure {
    class: 0,
    token: 1,
    fill: 2,
    quarters: 2,
};
const SMALL_TOKENS: Measure = Measure {
    class: 1,
    token: 1000,
    fill: 4000,
    quarters: 1,
};

impl Measure {
    fn of_class(class: u16) -> Self {
        if class == LARGE_TOKENS.class {
            LARGE_TOKENS
        } else {
            SMALL_TOKENS
        }
    }

    /// Takes a token of `key(1)`, converting the debt first.
    fn take(self, table: &KeyTable) -> bool {
        let now = START.as_nanos();
        loop {
            let slot = table.find(key(1)).unwrap();
            let Read::Tat(seen) = table.read(slot, key(1)) else {
                continue;
            };
            let held = Self::of_class(table.class(slot));
            let debt = seen - now;
            if held.class != self.class {
                let tat = now + (debt * self.fill).div_ceil(held.fill);
                table.convert(slot, key(1), seen, tat, self.class);
            } else if debt + self.token > self.fill {
                return false;
            } else if table.replace(slot, key(1), seen, seen + self.token) {
                return true;
            }
        }
    }
}

/// Quarters of a bucket that three threads get which measure it by different
/// quotas. The bucket begins with `tokens` taken.
///
/// Each conversion rounds up, so that tokens may be lost.
fn quarters_taken_after(tokens: u64, begin: Measure) -> u64 {
    let table = table(2, 0);
    let tat = START.as_nanos() + tokens * begin.token;
    table.insert(key(1), START, tat, begin.class);
    let mut running = Vec::new();
    for measure in [LARGE_TOKENS, SMALL_TOKENS, SMALL_TOKENS] {
        let table = Arc::clone(&table);
        running.push(thread::spawn(move || {
            let mut taken = 0;
            for _ in 0..2 {
                taken += measure.quarters * u64::from(measure.take(&table));
            }
            taken
        }));
    }
    sum(running)
}

#[test]
fn a_debt_that_is_converted_to_a_smaller_token_is_converted_whole() {
    explore(|| assert!(quarters_taken_after(1, LARGE_TOKENS) <= 2));
}

#[test]
fn a_debt_that_is_converted_to_a_larger_token_is_converted_whole() {
    explore(|| assert!(quarters_taken_after(2, SMALL_TOKENS) <= 2));
}

#[test]
fn a_full_bucket_that_is_converted_while_others_take_wins_no_token() {
    explore(|| assert!(quarters_taken_after(0, LARGE_TOKENS) <= 4));
}
