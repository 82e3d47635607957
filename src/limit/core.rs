//! The state behind a limit, and what can be done with one bucket of it.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use super::bucket::{Pace, rescaled};
use super::others::Others;
use super::table::{Insert, OVERFLOW, Read, Table};
use super::temporary::Temporaries;
use super::{Ask, Key, Now, Quota, Settings, SettingsError, Standing};

/// Tokens of one bucket, as they can be given back. Kept small: admissions are moved about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// The bucket's TAT right after.
    pub(super) tat: u64,
    /// Whose bucket it is: the asker's, or the shared one.
    key: Key,
    emission: u64,
    burst: NonZeroU32,
    cost: u32,
}

impl Taken {
    /// Of the quota under which they were taken.
    pub(super) fn pace(&self) -> Pace {
        Pace {
            emission: self.emission,
            burst: self.burst,
        }
    }
}

/// Tokens that are there for the taking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    /// Whose bucket it is: the asker's, or the shared one.
    key: Key,
    /// Where it was seen, or [`NOWHERE`] for a key that is yet to come in.
    slot: usize,
    /// Its TAT before.
    seen: u64,
    /// And after.
    tat: u64,
}

impl Offer {
    /// How the bucket stands before anything is taken.
    pub(super) fn state(&self, now: Now, index: usize, ask: &Ask<'_>) -> Standing {
        let own = ask.limiter.quota().pace();
        let pace = if self.key == ask.key {
            ask.quota.map_or(own, Quota::pace)
        } else {
            own
        };
        pace.state(now, self.seen, index)
    }
}

/// A slot that no table has.
const NOWHERE: usize = usize::MAX;

/// Why an operation came to nothing here.
#[derive(Debug)]
pub(super) enum Halt {
    /// The bucket is too empty; for so long.
    Refused(Duration),
    /// The bucket lives in the next core.
    Moved,
}

/// The state behind a limit; replaced when its numbers change.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) quota: Quota,
    pub(super) table: Table,
    /// What took over; set once, before the first bucket is moved there.
    pub(super) next: OnceLock<Arc<Core>>,
    pub(super) lineage: Arc<Lineage>,
}

/// What all cores of a limit share.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    evictions_idle: AtomicU64,
    evictions_overflow: AtomicU64,
    /// Numbers that some of its keys have instead of the limit's own.
    pub(super) others: Others,
    /// Those that some have for a while. Padded: every request reads it, and evictions are counted beside it.
    pub(super) temporaries: CachePadded<Temporaries>,
    /// One reload at a time; requests never touch it.
    pub(super) reload: Mutex<()>,
}

impl Lineage {
    /// One more request of a stranger goes to the shared bucket.
    pub(super) fn note_stranger(&self) {
        self.evictions_overflow.fetch_add(1, Relaxed);
    }

    /// Idle keys that made room, and requests sent to the shared bucket.
    pub(super) fn evictions(&self) -> (u64, u64) {
        (
            self.evictions_idle.load(Relaxed),
            self.evictions_overflow.load(Relaxed),
        )
    }
}

impl Core {
    pub(super) fn new(settings: &Settings, lineage: Arc<Lineage>) -> Result<Self, SettingsError> {
        let quota = Quota::new(settings.rate, settings.burst)?;
        let table = Table::new(settings.max_keys)?;
        Ok(Self {
            settings: *settings,
            quota,
            table,
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

    /// Does `attempt` on the core where the bucket lives.
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

    /// First step: would the tokens be there? Takes nothing.
    #[inline(always)]
    pub(super) fn look(&self, now: Now, ask: &Ask<'_>) -> Result<Offer, Halt> {
        loop {
            let offer = match self.table.find(ask.key) {
                Some(slot) => self.offer(slot, ask, now)?,
                None => self.foresee(now, ask)?,
            };
            if let Some(offer) = offer {
                return Ok(offer);
            }
        }
    }

    /// Second step: takes just what [`Core::look`] offered; nothing if someone else was here in between, or if the
    /// offer may be that of a successor, whose slots are others.
    #[inline]
    pub(super) fn accept(&self, offer: Offer, ask: &Ask<'_>) -> Option<Taken> {
        if self.next.get().is_some() {
            return None;
        }
        self.charge(offer, ask)
    }

    /// Both steps in one.
    #[inline]
    pub(super) fn take(&self, now: Now, ask: &Ask<'_>) -> Result<Taken, Halt> {
        loop {
            let taken = match self.table.find(ask.key) {
                Some(slot) => self
                    .offer(slot, ask, now)?
                    .and_then(|offer| self.charge(offer, ask)),
                None => self.enter(now, ask)?,
            };
            if let Some(taken) = taken {
                return Ok(taken);
            }
        }
    }

    /// What the bucket in `slot` has for the asker; nothing if the slot has changed hands or its debt had to be put
    /// into other numbers.
    #[inline(always)]
    fn offer(&self, slot: usize, ask: &Ask<'_>, now: Now) -> Result<Option<Offer>, Halt> {
        match self.table.read(slot, ask.key) {
            Read::Tat(seen) if self.table.class(slot) == ask.class() => {
                self.priced(slot, ask, seen, now).map(Some)
            }
            Read::Tat(seen) => {
                self.convert(slot, ask, seen, now);
                Ok(None)
            }
            Read::Changed => Ok(None),
            Read::Moved => Err(Halt::Moved),
        }
    }

    #[inline(always)]
    fn priced(&self, slot: usize, ask: &Ask<'_>, seen: u64, now: Now) -> Result<Offer, Halt> {
        let tat = ask
            .quota
            .unwrap_or(&self.quota)
            .conform(now, seen, ask.cost)
            .map_err(Halt::Refused)?;
        Ok(Offer {
            key: ask.key,
            slot,
            seen,
            tat,
        })
    }

    #[inline]
    fn charge(&self, offer: Offer, ask: &Ask<'_>) -> Option<Taken> {
        let Offer {
            key,
            slot,
            seen,
            tat,
        } = offer;
        self.table
            .replace(slot, key, seen, tat)
            .then(|| self.taken(key, tat, ask))
    }

    /// What was taken from the bucket of `key`, which is the asker's or the shared one.
    #[inline]
    fn taken(&self, key: Key, tat: u64, ask: &Ask<'_>) -> Taken {
        let Ask { quota, cost, .. } = if key == ask.key {
            *ask
        } else {
            self.of_a_stranger(ask)
        };
        let Pace { emission, burst } = quota.unwrap_or(&self.quota).pace();
        Taken {
            tat,
            key,
            emission,
            burst,
            cost,
        }
    }

    /// What a key that the table does not know would have; nothing if it knows it by now.
    #[cold]
    fn foresee(&self, now: Now, ask: &Ask<'_>) -> Result<Option<Offer>, Halt> {
        match self.table.room(ask.key, now) {
            Insert::Done { .. } => self.priced(NOWHERE, ask, 0, now).map(Some),
            Insert::Exists => Ok(None),
            Insert::Full => self.look(now, &self.overflow(ask)).map(Some),
            Insert::Closed => Err(Halt::Moved),
        }
    }

    /// Takes the first tokens of a key the table does not know; nothing if it knows it by now.
    #[cold]
    fn enter(&self, now: Now, ask: &Ask<'_>) -> Result<Option<Taken>, Halt> {
        let Offer { tat, .. } = self.priced(NOWHERE, ask, 0, now)?;
        if ask.cost == 0 {
            return Ok(Some(self.taken(ask.key, tat, ask))); // no reason to hold the key
        }
        match self.bring_in(now, ask, tat) {
            Insert::Done { .. } => Ok(Some(self.taken(ask.key, tat, ask))),
            Insert::Exists => Ok(None),
            Insert::Full => self.take(now, &self.overflow(ask)).map(Some),
            Insert::Closed => Err(Halt::Moved),
        }
    }

    fn bring_in(&self, now: Now, ask: &Ask<'_>, tat: u64) -> Insert {
        let insert = self.table.insert(ask.key, now, tat, ask.class());
        if let Insert::Done { evicted } = insert {
            self.lineage
                .evictions_idle
                .fetch_add(u64::from(evicted), Relaxed);
        }
        insert
    }

    /// Puts the debt in a slot into the asker's numbers, which changed since the bucket was last used: the share that is
    /// used stays. Whether it came to that or someone else was faster, the asker looks again.
    #[cold]
    fn convert(&self, slot: usize, ask: &Ask<'_>, seen: u64, now: Now) {
        let (old, new) = (
            self.numbers(self.table.class(slot)),
            ask.quota.unwrap_or(&self.quota).pace(),
        );
        let tat = rescaled(seen, now, old.fill(), new.fill());
        self.table.convert(slot, ask.key, (seen, tat), ask.class());
    }

    /// The TAT of a key that is held, and its numbers.
    pub(super) fn held(&self, key: Key) -> Option<(u64, Pace)> {
        let slot = self.table.find(key)?;
        match self.table.read(slot, key) {
            Read::Tat(tat) => Some((tat, self.numbers(self.table.class(slot)))),
            Read::Changed | Read::Moved => None,
        }
    }

    /// The numbers in which the debt of a slot of this class is measured.
    pub(super) fn numbers(&self, class: u16) -> Pace {
        self.lineage
            .others
            .numbers(class)
            .unwrap_or(self.quota.pace())
    }

    /// Gives back what was taken, as far as the bucket is not full again without it: once the time in which those
    /// tokens came back has passed, the bucket would be no fuller had they never been taken, and giving them back
    /// would add to what rate and burst allow. Nothing goes back after the key's numbers have changed.
    pub(super) fn give_back(&self, now: Now, taken: &Taken) -> Result<(), Halt> {
        let back = taken
            .pace()
            .weight(taken.cost)
            .min(taken.tat.saturating_sub(now.as_nanos()));
        if back == 0 {
            return Ok(());
        }
        self.shift(taken.key, |class, tat| {
            let same = self.numbers(class).fill() == taken.pace().fill();
            if same { tat.checked_sub(back) } else { None }
        })
        .map(drop)
    }

    /// Changes the TAT of a key, which is told with the class of its numbers; tells the new one, or nothing if the key is
    /// not there.
    ///
    /// Should the slot go to another key meanwhile, that key was full and stays full: see the table's protocol.
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

    /// What a stranger to a full table asks of the bucket that strangers share.
    fn overflow<'a>(&self, ask: &Ask<'a>) -> Ask<'a> {
        self.lineage.note_stranger();
        self.of_a_stranger(ask)
    }

    /// The shared bucket has the limit's own numbers; whoever may take more at once takes all of it.
    fn of_a_stranger<'a>(&self, ask: &Ask<'a>) -> Ask<'a> {
        let most = if ask.quota.is_some() {
            self.quota.burst().get()
        } else {
            u32::MAX
        };
        Ask {
            key: OVERFLOW,
            quota: None,
            cost: ask.cost.min(most),
            ..*ask
        }
    }
}
