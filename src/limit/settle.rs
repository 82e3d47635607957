//! Settling: a request has taken some tokens, and turns out to have used more or
//! fewer of them.
//!
//! The cost of some requests is known only with their response. Each of them
//! reserves tokens when it is admitted. In the end the difference comes back, or
//! is owed: the bucket gives it whether it has it or not, and its key is refused
//! until time has paid the debt.
//!
//! # By how much a key can exceed its quota
//!
//! Let requests be admitted at `t1 <= ... <= tn`, and reserve `r1 ... rn`. Each
//! admission moves the TAT by at least its reserve, and each token that is owed
//! moves it by one interval. The last admission conformed, so that the TAT was
//! at most `tn + burst * T` after it. As in `gcra`, it follows that all
//! reserves, and everything that was owed from `t1` to `tn`, are together at
//! most `burst` plus the rate times `tn - t1`. The only tokens that are not
//! among these are owed after `tn`, by requests that were in flight then. So in
//! any time `t` a key is served at most
//!
//! ```text
//! burst + rate * t + what the requests in flight at its last admission have reserved too little
//! ```
//!
//! and that last part is owed: the key is refused until its debt, and a burst
//! less what the next request reserves, is paid. A debt ends at ten bursts
//! ([`MOST_OWED`](super::gcra::MOST_OWED)); only what would go beyond is
//! forgiven. Tokens that come back are never more than were reserved, and leave
//! the bucket no fuller than a smaller reserve would have.

use super::core::{Core, Halt, Taken, Want};
use super::table::{Insert, OVERFLOW, Read};
use super::{Admission, Ask, Limiter, Now};

impl Admission {
    /// Returns `unused` tokens of each bucket, at most those that were taken
    /// there. `limiters` are those of the asks, in their order. To be called
    /// once.
    pub fn refund_part<'a>(
        self,
        now: Now,
        limiters: impl IntoIterator<Item = &'a Limiter>,
        unused: u32,
    ) {
        for (limiter, taken) in limiters.into_iter().zip(&self.taken) {
            let taken = taken.at_most(unused);
            let _never_refused = limiter.core.follow(|core| core.give_back(now, &taken));
        }
    }

    /// Takes `tokens` more from each bucket, whether they are there or not. The
    /// `asks` are those that were admitted, in their order.
    ///
    /// A key that has left its table since, as its bucket was full, enters it
    /// again. Without room for it the overflow bucket owes the tokens.
    pub fn owe<'a>(&self, now: Now, asks: impl IntoIterator<Item = Ask<'a>>, tokens: u64) {
        for (ask, taken) in asks.into_iter().zip(&self.taken) {
            let want = Want {
                now,
                key: taken.key,
                cost: 0,
                quota: ask.quota.filter(|_| taken.key != OVERFLOW),
            };
            let _never_refused = ask.limiter.core.follow(|core| core.owe(want, tokens));
        }
    }
}

impl Taken {
    /// The last `tokens` of these.
    fn at_most(mut self, tokens: u32) -> Self {
        self.cost = self.cost.min(tokens);
        self
    }
}

impl Core {
    /// Returns tokens, as far as they have not come back by themselves: once
    /// the time in which they do has passed, the bucket is no fuller than if
    /// they had never been taken, and returning them would add to what rate and
    /// burst allow. Returns nothing if the key's quota has changed since.
    pub(super) fn give_back(&self, now: Now, taken: &Taken) -> Result<(), Halt> {
        let gcra = taken.gcra();
        let missing = taken.tat.saturating_sub(now.as_nanos());
        let back = gcra.weight(taken.cost).min(missing);
        if back == 0 {
            return Ok(());
        }
        self.shift(taken.key, |class, tat| {
            let is_same = self.gcra_of(class).fill() == gcra.fill();
            if is_same { tat.checked_sub(back) } else { None }
        })
        .map(drop)
    }

    /// Moves the TAT of a key by `tokens`. They count under the quota by which
    /// the key's debt is measured at present.
    fn owe(&self, want: Want<'_>, tokens: u64) -> Result<(), Halt> {
        loop {
            let is_done = match self.table.find(want.key) {
                Some(slot) => match self.table.read(slot, want.key) {
                    Read::Tat(seen) => {
                        let gcra = self.gcra_of(self.table.class(slot));
                        let next = gcra.owing(want.now, seen, tokens);
                        self.table.replace(slot, want.key, seen, next)
                    }
                    Read::Changed => false,
                    Read::Moved => return Err(Halt::Moved),
                },
                None => self.enter_in_debt(want, tokens)?,
            };
            if is_done {
                return Ok(());
            }
        }
    }

    /// Enters a key that is not in the table; false if it has come in by now.
    fn enter_in_debt(&self, want: Want<'_>, tokens: u64) -> Result<bool, Halt> {
        let gcra = want.quota.unwrap_or(&self.gcra);
        let tat = gcra.owing(want.now, 0, tokens);
        match self.table.insert(want.key, want.now, tat, want.class()) {
            Insert::Done { evicted } => {
                if evicted {
                    self.lineage.note_eviction();
                }
                Ok(true)
            }
            Insert::Exists => Ok(false),
            Insert::Full => {
                self.lineage.note_overflow();
                let overflow = Want {
                    key: OVERFLOW,
                    quota: None,
                    ..want
                };
                self.owe(overflow, tokens).map(|()| true)
            }
            Insert::Closed => Err(Halt::Moved),
        }
    }
}
