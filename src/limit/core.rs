//! The state behind a limit, and the operations on one bucket of it.
//!
//! A [`Core`] is a quota over a table. A reload that changes either makes a new
//! core, moves the buckets there one by one, and leaves a link in the old one:
//! an operation that finds its bucket [`Halt::Moved`] follows the link.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use super::classes::Classes;
use super::gcra::rescaled;
use super::table::{Insert, OVERFLOW, Read, Table};
use super::temporary::Temporaries;
use super::{Gcra, Key, LimiterError, Now};
use crate::policy::Quota;

/// Tokens that a request wants of one bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want<'a> {
    pub(super) key: Key,
    pub(super) cost: u32,
    /// A quota that counts for the key instead of the core's own.
    pub(super) quota: Option<&'a Gcra>,
}

impl Want<'_> {
    fn class(&self) -> u16 {
        self.quota.map_or(0, Gcra::class)
    }
}

/// Tokens taken from one bucket, with all that a refund needs. Kept small:
/// admissions are moved about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// The bucket's TAT right after.
    pub(super) tat: u64,
    /// The bucket: that of the request's key, or [`OVERFLOW`].
    key: Key,
    /// The quota under which they were taken.
    emission: u64,
    burst: NonZeroU32,
    cost: u32,
}

impl Taken {
    /// The quota under which they were taken.
    pub(super) fn gcra(&self) -> Gcra {
        Gcra::from_parts(self.emission, self.burst)
    }
}

/// Tokens that a look has found available.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    /// The bucket: that of the request's key, or [`OVERFLOW`].
    key: Key,
    /// Its slot, or [`NOWHERE`] for a key that is not in the table yet.
    slot: usize,
    /// Its TAT as it was seen.
    seen: u64,
    /// Its TAT once the tokens are taken.
    tat: u64,
}

/// A slot that no table has.
const NOWHERE: usize = usize::MAX;

/// Why an operation did not complete on this core.
#[derive(Debug)]
pub(super) enum Halt {
    /// The bucket has too few tokens; it has enough after this time.
    Refused(Duration),
    /// The bucket lives in the next core.
    Moved,
}

/// A quota over a table of buckets; replaced when either changes.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) quota: Quota,
    pub(super) max_keys: NonZeroUsize,
    /// The quota, prepared.
    pub(super) gcra: Gcra,
    pub(super) table: Table,
    /// The core that took over; set once, before the first bucket moves there.
    pub(super) next: OnceLock<Arc<Core>>,
    pub(super) lineage: Arc<Lineage>,
}

/// State that all cores of one limit share.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    evictions_idle: AtomicU64,
    evictions_overflow: AtomicU64,
    /// Quotas that some keys have instead of the limit's own.
    pub(super) classes: Classes,
    /// Quotas that some keys have for a while. Padded: every request reads it,
    /// and evictions are counted beside it.
    pub(super) temporaries: CachePadded<Temporaries>,
    /// Serialises reloads; requests never touch it.
    pub(super) reload: Mutex<()>,
}

impl Lineage {
    /// Counts a request whose key found no slot and went to the overflow
    /// bucket.
    pub(super) fn note_overflow(&self) {
        self.evictions_overflow.fetch_add(1, Relaxed);
    }

    /// Idle keys that were evicted to make room.
    pub(super) fn evictions_idle(&self) -> u64 {
        self.evictions_idle.load(Relaxed)
    }

    /// Requests that went to the overflow bucket.
    pub(super) fn evictions_overflow(&self) -> u64 {
        self.evictions_overflow.load(Relaxed)
    }
}

impl Core {
    pub(super) fn new(
        quota: Quota,
        max_keys: NonZeroUsize,
        lineage: Arc<Lineage>,
    ) -> Result<Self, LimiterError> {
        Ok(Self {
            quota,
            max_keys,
            gcra: quota.into(),
            table: Table::new(max_keys)?,
            next: OnceLock::new(),
            lineage,
        })
    }

    /// The core that serves now.
    pub(super) fn newest(&self) -> &Core {
        let mut core = self;
        while let Some(next) = core.next.get() {
            core = next;
        }
        core
    }

    /// Does `attempt` on the core where the bucket lives. Fails with the time
    /// to wait if the bucket refuses.
    #[inline(always)]
    pub(super) fn follow<T>(
        &self,
        attempt: impl Fn(&Core) -> Result<T, Halt>,
    ) -> Result<T, Duration> {
        let mut core = self;
        loop {
            match attempt(core) {
                Ok(done) => return Ok(done),
                Err(Halt::Refused(wait)) => return Err(wait),
                Err(Halt::Moved) => core = core.next.get().map_or(core, |next| next),
            }
        }
    }

    /// The first step of a decision: looks whether the tokens are there, and
    /// takes nothing.
    #[inline(always)]
    pub(super) fn look(&self, now: Now, want: &Want<'_>) -> Result<Offer, Halt> {
        loop {
            let offer = match self.table.find(want.key) {
                Some(slot) => self.offer(slot, want, now)?,
                None => self.foresee(now, want)?,
            };
            if let Some(offer) = offer {
                return Ok(offer);
            }
        }
    }

    /// The second step: takes exactly what [`Core::look`] offered. `None` if
    /// another thread changed the bucket in between, or if the offer may be
    /// that of a successor, whose slots are others; nothing was taken then.
    #[inline]
    pub(super) fn accept(&self, offer: Offer, want: &Want<'_>) -> Option<Taken> {
        if self.next.get().is_some() {
            return None;
        }
        self.charge(offer, want)
    }

    /// Both steps in one.
    #[inline]
    pub(super) fn take(&self, now: Now, want: &Want<'_>) -> Result<Taken, Halt> {
        loop {
            let taken = match self.table.find(want.key) {
                Some(slot) => self
                    .offer(slot, want, now)?
                    .and_then(|offer| self.charge(offer, want)),
                None => self.enter(now, want)?,
            };
            if let Some(taken) = taken {
                return Ok(taken);
            }
        }
    }

    /// The offer of the bucket in `slot`. `None` if the slot has changed hands,
    /// or if its debt had to be converted to another quota first; the caller
    /// looks again.
    #[inline(always)]
    fn offer(&self, slot: usize, want: &Want<'_>, now: Now) -> Result<Option<Offer>, Halt> {
        match self.table.read(slot, want.key) {
            Read::Tat(seen) if self.table.class(slot) == want.class() => {
                self.priced(slot, want, seen, now).map(Some)
            }
            Read::Tat(seen) => {
                self.convert(slot, want, seen, now);
                Ok(None)
            }
            Read::Changed => Ok(None),
            Read::Moved => Err(Halt::Moved),
        }
    }

    #[inline(always)]
    fn priced(&self, slot: usize, want: &Want<'_>, seen: u64, now: Now) -> Result<Offer, Halt> {
        let tat = want
            .quota
            .unwrap_or(&self.gcra)
            .conform(now, seen, want.cost)
            .map_err(Halt::Refused)?;
        Ok(Offer {
            key: want.key,
            slot,
            seen,
            tat,
        })
    }

    #[inline]
    fn charge(&self, offer: Offer, want: &Want<'_>) -> Option<Taken> {
        let Offer { key, tat, .. } = offer;
        self.table
            .replace(offer.slot, key, offer.seen, tat)
            .then(|| self.taken(key, tat, want))
    }

    /// The tokens taken from the bucket of `key`, which is the request's own or
    /// the overflow bucket.
    #[inline]
    fn taken(&self, key: Key, tat: u64, want: &Want<'_>) -> Taken {
        let Want { quota, cost, .. } = if key == want.key {
            *want
        } else {
            self.as_overflow(want)
        };
        let gcra = quota.unwrap_or(&self.gcra);
        Taken {
            tat,
            key,
            emission: gcra.emission(),
            burst: gcra.burst(),
            cost,
        }
    }

    /// The offer for a key that is not in the table; `None` if it has come in
    /// by now.
    #[cold]
    fn foresee(&self, now: Now, want: &Want<'_>) -> Result<Option<Offer>, Halt> {
        match self.table.room(want.key, now) {
            Insert::Done { .. } => self.priced(NOWHERE, want, 0, now).map(Some),
            Insert::Exists => Ok(None),
            Insert::Full => self.look(now, &self.overflow(want)).map(Some),
            Insert::Closed => Err(Halt::Moved),
        }
    }

    /// Takes the first tokens of a key that is not in the table; `None` if it
    /// has come in by now.
    #[cold]
    fn enter(&self, now: Now, want: &Want<'_>) -> Result<Option<Taken>, Halt> {
        let Offer { tat, .. } = self.priced(NOWHERE, want, 0, now)?;
        if want.cost == 0 {
            return Ok(Some(self.taken(want.key, tat, want))); // no debt, so no reason to hold the key
        }
        match self.bring_in(now, want, tat) {
            Insert::Done { .. } => Ok(Some(self.taken(want.key, tat, want))),
            Insert::Exists => Ok(None),
            Insert::Full => self.take(now, &self.overflow(want)).map(Some),
            Insert::Closed => Err(Halt::Moved),
        }
    }

    fn bring_in(&self, now: Now, want: &Want<'_>, tat: u64) -> Insert {
        let insert = self.table.insert(want.key, now, tat, want.class());
        if let Insert::Done { evicted } = insert {
            self.lineage
                .evictions_idle
                .fetch_add(u64::from(evicted), Relaxed);
        }
        insert
    }

    /// Converts the debt in a slot to the wanted quota, which differs from the
    /// one it came about under; the share of the bucket that is used stays. The
    /// caller looks again, whether this or another thread did it.
    #[cold]
    fn convert(&self, slot: usize, want: &Want<'_>, seen: u64, now: Now) {
        let old = self.gcra_of(self.table.class(slot));
        let new = want.quota.unwrap_or(&self.gcra);
        let tat = rescaled(seen, now, old.fill(), new.fill());
        self.table.convert(slot, want.key, seen, tat, want.class());
    }

    /// The TAT of a key and the quota by which it is measured; `None` if the
    /// table does not hold the key.
    pub(super) fn held(&self, key: Key) -> Option<Held> {
        let slot = self.table.find(key)?;
        match self.table.read(slot, key) {
            Read::Tat(tat) => Some(Held {
                tat,
                gcra: self.gcra_of(self.table.class(slot)),
            }),
            Read::Changed | Read::Moved => None,
        }
    }

    /// The quota by which the debts of a class are measured.
    pub(super) fn gcra_of(&self, class: u16) -> Gcra {
        self.lineage.classes.get(class).unwrap_or(self.gcra)
    }

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

    /// Replaces the TAT of a key by what `change` makes of its class and TAT.
    /// Returns the new TAT; `None` if `change` did, or if the table does not
    /// hold the key.
    ///
    /// If the slot goes to another key meanwhile, `key` had a full bucket and
    /// still has: see the table's protocol.
    pub(super) fn shift(
        &self,
        key: Key,
        change: impl Fn(u16, u64) -> Option<u64>,
    ) -> Result<Option<u64>, Halt> {
        while let Some(slot) = self.table.find(key) {
            let seen = match self.table.read(slot, key) {
                Read::Tat(tat) => tat,
                Read::Changed => continue,
                Read::Moved => return Err(Halt::Moved),
            };
            let Some(next) = change(self.table.class(slot), seen) else {
                break;
            };
            if self.table.replace(slot, key, seen, next) {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    /// Redirects a request whose key found no slot to the overflow bucket, and
    /// counts it.
    fn overflow<'a>(&self, want: &Want<'a>) -> Want<'a> {
        self.lineage.note_overflow();
        self.as_overflow(want)
    }

    /// The same request on the overflow bucket, which has the limit's own
    /// quota. A key with a larger burst of its own takes at most all of it.
    fn as_overflow<'a>(&self, want: &Want<'a>) -> Want<'a> {
        let most = if want.quota.is_some() {
            self.gcra.burst().get()
        } else {
            u32::MAX
        };
        Want {
            key: OVERFLOW,
            cost: want.cost.min(most),
            quota: None,
        }
    }
}

/// The bucket of a key that is in the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) tat: u64,
    /// The quota by which the TAT is measured.
    pub(super) gcra: Gcra,
}
