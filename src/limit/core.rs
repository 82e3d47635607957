//! The state behind a limit: how a request takes tokens of one bucket, and how
//! they come back.
//!
//! A [`Core`] is a quota over a table. A limit that decides alone takes in one
//! step ([`Core::take`]). Where several limits decide, each first makes an
//! [`Offer`] ([`Core::look`]), which writes nothing, and then takes exactly
//! that ([`Offer::accept`]); `decide` puts these together. Every step is a loop
//! around one compare-and-swap of the bucket's TAT. It repeats only when
//! another thread has changed the bucket meanwhile, so some thread always makes
//! progress.
//!
//! # Why the count is exact
//!
//! A TAT replaces exactly the one that [`Gcra::conform`] saw. The decisions
//! about a bucket are therefore a sequence in which each sees the debt that the
//! one before has left, and GCRA bounds the tokens of such a sequence by the
//! burst plus the rate times the time. Beside it a bucket changes only
//!
//! - when tokens come back, by at most as much as was taken and not yet
//!   refilled ([`Core::give_back`]);
//! - when a request turns out to cost more than it took, and its key owes the
//!   rest (`settle`);
//! - when the key gets another quota: the debt is rounded up, so that no token
//!   is won ([`rescaled`]);
//! - when an idle key leaves the table: its bucket is full, as that of an
//!   unknown key is, so that nothing is forgotten;
//! - when an operator fills it.
//!
//! # Chains of cores
//!
//! A reload that changes quota or table makes a new core, moves the buckets
//! there one by one, and leaves a link in the old one: an operation that finds
//! its bucket [`Halt::Moved`] follows the link.
//!
//! A handle of a limit may be older than any number of reloads, since a request
//! in flight keeps the one it began with. The chain that such a handle follows
//! has a core for each of these reloads, and a core lives as long as a handle
//! of it or of an earlier one. New requests begin at the newest core.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::gcra::rescaled;
use super::lineage::Lineage;
use super::table::{Insert, KeyTable, OVERFLOW, Read};
use super::{Gcra, Key, LimiterError, Now};
use crate::policy::Quota;

/// A quota over a table of buckets; replaced when either changes.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) quota: Quota,
    pub(super) max_keys: NonZeroUsize,
    /// The quota, prepared.
    pub(super) gcra: Gcra,
    pub(super) table: KeyTable,
    /// The core that took over; set once, before the first bucket moves there.
    pub(super) next: OnceLock<Arc<Core>>,
    /// The state that all cores of the limit share.
    pub(super) lineage: Arc<Lineage>,
}

/// Why an operation did not complete on this core.
#[derive(Debug)]
pub(super) enum Halt {
    /// The bucket has too few tokens; it has enough after this time.
    Refused(Duration),
    /// The bucket lives in the next core.
    Moved,
}

/// Tokens that a request wants of one bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want<'a> {
    /// The time of the decision.
    pub(super) now: Now,
    pub(super) key: Key,
    /// Tokens; 0 is always available.
    pub(super) cost: u32,
    /// A quota that counts for the key instead of the core's own.
    pub(super) quota: Option<&'a Gcra>,
}

impl Want<'_> {
    /// The class of the quota that counts, see `classes`.
    pub(super) fn class(&self) -> u16 {
        self.quota.map_or(0, Gcra::class)
    }
}

/// Tokens that a look has found available.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer<'a> {
    /// The core in which the bucket was found.
    core: &'a Core,
    /// The tokens and their bucket: that of the request's key, or [`OVERFLOW`].
    want: Want<'a>,
    /// The bucket's slot, or [`NOWHERE`] for a key that is not in the table
    /// yet.
    slot: usize,
    /// Its TAT as it was seen.
    seen: u64,
    /// Its TAT once the tokens are taken.
    pub(super) tat: u64,
}

/// A slot that no table has.
const NOWHERE: usize = usize::MAX;

/// Tokens taken from one bucket, with all that a refund needs. Kept small:
/// admissions are moved about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// The bucket's TAT right after.
    pub(super) tat: u64,
    /// The bucket: that of the request's key, or [`OVERFLOW`].
    pub(super) key: Key,
    /// The quota under which they were taken.
    emission: u64,
    burst: u32,
    pub(super) cost: u32,
}

impl Core {
    /// A core without a bucket.
    ///
    /// # Errors
    /// Fails if there is no memory for so many keys.
    pub(super) fn new(
        quota: Quota,
        max_keys: NonZeroUsize,
        lineage: Arc<Lineage>,
    ) -> Result<Self, LimiterError> {
        Ok(Self {
            quota,
            max_keys,
            gcra: quota.into(),
            table: KeyTable::new(max_keys)?,
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
    pub(super) fn follow<'c, T>(
        &'c self,
        attempt: impl Fn(&'c Core) -> Result<T, Halt>,
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
}

/// Taking tokens.
impl Core {
    /// The first step of a decision: looks whether the tokens are there, and
    /// takes nothing.
    #[inline(always)]
    pub(super) fn look<'a>(&'a self, want: Want<'a>) -> Result<Offer<'a>, Halt> {
        loop {
            let offer = match self.table.find(want.key) {
                Some(slot) => self.offer(want, slot)?,
                None => self.foresee(want)?,
            };
            if let Some(offer) = offer {
                return Ok(offer);
            }
        }
    }

    /// Both steps in one.
    #[inline]
    pub(super) fn take(&self, want: Want<'_>) -> Result<Taken, Halt> {
        loop {
            let taken = match self.table.find(want.key) {
                Some(slot) => self.offer(want, slot)?.and_then(Offer::accept),
                None => self.enter(want)?,
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
    fn offer<'a>(&'a self, want: Want<'a>, slot: usize) -> Result<Option<Offer<'a>>, Halt> {
        match self.table.read(slot, want.key) {
            Read::Tat(seen) if self.table.class(slot) == want.class() => {
                self.priced(want, slot, seen).map(Some)
            }
            Read::Tat(seen) => {
                self.convert(want, slot, seen);
                Ok(None)
            }
            Read::Changed => Ok(None),
            Read::Moved => Err(Halt::Moved),
        }
    }

    /// The offer of a bucket whose TAT is `seen`.
    #[inline(always)]
    fn priced<'a>(&'a self, want: Want<'a>, slot: usize, seen: u64) -> Result<Offer<'a>, Halt> {
        let gcra = want.quota.unwrap_or(&self.gcra);
        let tat = gcra
            .conform(want.now, seen, want.cost)
            .map_err(Halt::Refused)?;
        Ok(Offer {
            core: self,
            want,
            slot,
            seen,
            tat,
        })
    }

    /// The offer for a key that is not in the table; `None` if it has come in
    /// by now.
    #[cold]
    fn foresee<'a>(&'a self, want: Want<'a>) -> Result<Option<Offer<'a>>, Halt> {
        match self.table.room(want.key, want.now) {
            Insert::Done { .. } => self.priced(want, NOWHERE, 0).map(Some),
            Insert::Exists => Ok(None),
            Insert::Full => self.look(self.overflow(want)).map(Some),
            Insert::Closed => Err(Halt::Moved),
        }
    }

    /// Takes the first tokens of a key that is not in the table; `None` if it
    /// has come in by now.
    #[cold]
    fn enter(&self, want: Want<'_>) -> Result<Option<Taken>, Halt> {
        let offer = self.priced(want, NOWHERE, 0)?;
        if want.cost == 0 {
            return Ok(Some(offer.taken())); // no debt, so no reason to hold the key
        }
        match self
            .table
            .insert(want.key, want.now, offer.tat, want.class())
        {
            Insert::Done { evicted } => {
                if evicted {
                    self.lineage.note_eviction();
                }
                Ok(Some(offer.taken()))
            }
            Insert::Exists => Ok(None),
            Insert::Full => self.take(self.overflow(want)).map(Some),
            Insert::Closed => Err(Halt::Moved),
        }
    }

    /// The same request on the overflow bucket, because its key found no slot;
    /// counted. The bucket has the limit's own quota, and a key with a larger
    /// burst of its own takes at most all of it. A limit that admits nothing has
    /// no tokens for keys without a slot either.
    fn overflow<'a>(&self, want: Want<'a>) -> Want<'a> {
        self.lineage.note_overflow();
        let most = match want.quota {
            Some(_) => self.gcra.burst().max(1),
            None => u32::MAX,
        };
        Want {
            key: OVERFLOW,
            cost: want.cost.min(most),
            quota: None,
            ..want
        }
    }

    /// Converts the debt in a slot to the wanted quota, which differs from the
    /// one it came about under; the share of the bucket that is used stays. The
    /// caller looks again, whether this or another thread did it.
    #[cold]
    fn convert(&self, want: Want<'_>, slot: usize, seen: u64) {
        let old = self.gcra_of(self.table.class(slot));
        let new = want.quota.unwrap_or(&self.gcra);
        let tat = rescaled(seen, want.now, old.fill(), new.fill());
        self.table.convert(slot, want.key, seen, tat, want.class());
    }

    /// The quota by which the debts of a class are measured.
    pub(super) fn gcra_of(&self, class: u16) -> Gcra {
        self.lineage.classes.get(class).unwrap_or(self.gcra)
    }
}

impl Offer<'_> {
    /// The second step of a decision: takes exactly this. `None` if another
    /// thread changed the bucket in between, or if its key was not in the
    /// table; nothing was taken then.
    #[inline]
    pub(super) fn accept(self) -> Option<Taken> {
        let table = &self.core.table;
        let is_taken = table.replace(self.slot, self.want.key, self.seen, self.tat);
        is_taken.then(|| self.taken())
    }

    /// The tokens, once the bucket has the new TAT.
    #[inline]
    fn taken(&self) -> Taken {
        let gcra = self.want.quota.unwrap_or(&self.core.gcra);
        Taken::of(&self.want, gcra, self.tat)
    }
}

impl Taken {
    /// The tokens that a request wants, taken under the quota `gcra` from a
    /// bucket that has this `tat` then.
    #[inline]
    pub(super) fn of(want: &Want<'_>, gcra: &Gcra, tat: u64) -> Self {
        Self {
            tat,
            key: want.key,
            emission: gcra.emission(),
            burst: gcra.burst(),
            cost: want.cost,
        }
    }

    /// Nanoseconds after which the bucket is full, if nobody else takes tokens.
    #[inline]
    pub(super) fn debt(&self, now: Now) -> u64 {
        self.tat.saturating_sub(now.as_nanos())
    }

    /// The quota under which they were taken.
    #[inline]
    pub(super) fn gcra(&self) -> Gcra {
        Gcra::from_parts(self.emission, self.burst)
    }
}

/// Changes that are no decision of a request.
impl Core {
    /// Replaces the TAT of a key by what `change` makes of its class and TAT, an
    /// earlier one: whoever waits for its tokens looks again. Returns the new
    /// TAT; `None` if `change` did, or if the table does not hold the key.
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
                self.lineage.queues.stir(key);
                return Ok(Some(next));
            }
        }
        Ok(None)
    }
}
