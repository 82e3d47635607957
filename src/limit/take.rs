//! Tokens of one bucket: how a request takes them, and how they come back.
//!
//! A limit that decides alone takes in one step ([`Core::take`]). Where several
//! limits decide, each first makes an [`Offer`] ([`Core::look`]), which writes
//! nothing, and then takes exactly that ([`Core::accept`]); `decide` puts these
//! together. Every step is a loop around one compare-and-swap of the bucket's
//! TAT. It repeats only when another thread has changed the bucket meanwhile,
//! so some thread always makes progress.
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
//! - when the key gets another quota: the debt is rounded up, so that no token
//!   is won ([`rescaled`]);
//! - when an idle key leaves the table: its bucket is full, as that of an
//!   unknown key is, so that nothing is forgotten;
//! - when an operator fills it.

use std::num::NonZeroU32;

use super::core::{Core, Halt};
use super::gcra::rescaled;
use super::table::{Insert, OVERFLOW, Read};
use super::{Gcra, Key, Now};

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

impl Core {
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
        if insert == (Insert::Done { evicted: true }) {
            self.lineage.note_eviction();
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
