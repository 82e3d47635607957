//! One limit: a quota over a table of buckets.
//!
//! Every operation works on the core it finds in its handle, and where a reload has moved the bucket on, on the
//! core that took over: handles of before and after a reload never disagree about a key.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::bucket::Pace;
use super::table::{Insert, OVERFLOW, Read, Table};
use super::{Key, Now, Quota, Rate, SettingsError};

/// The numbers of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Sustained pace.
    pub rate: Rate,
    /// Tokens in a full bucket.
    pub burst: NonZeroU32,
    /// Most keys held at once; up to 64 bytes each, taken only as keys come.
    pub max_keys: NonZeroUsize,
}

/// A named limit, shared by all workers. Cloning shares the buckets.
#[derive(Debug, Clone)]
pub struct Limiter {
    pub(super) name: Arc<str>,
    pub(super) core: Arc<Core>,
}

impl Limiter {
    /// A limit all of whose buckets are full.
    pub fn new(name: impl Into<Arc<str>>, settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self { name: name.into(), core: Arc::new(Core::new(settings, Arc::default())?) })
    }

    /// Its identity over reloads.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rate and burst of this handle; after a reload those of the newest one count.
    pub fn quota(&self) -> &Quota {
        &self.core.quota
    }

    /// What happened since the limit first came up, and the keys held now.
    pub fn stats(&self) -> Stats {
        let (core, lineage) = (self.core.newest(), &self.core.lineage);
        Stats {
            keys: core.table.keys(),
            max_bytes: core.table.bytes(),
            evictions_idle: lineage.evictions_idle.load(Relaxed),
            evictions_overflow: lineage.evictions_overflow.load(Relaxed),
        }
    }

    /// How the bucket of `key` stands. For people: it takes nothing and may be out of date at once.
    pub fn inspect(&self, now: Now, key: Key) -> Inspection {
        let core = self.core.newest();
        let tat = core.table.find(key).and_then(|slot| match core.table.read(slot, key) {
            Read::Tat(tat) => Some(tat),
            Read::Changed | Read::Moved => None,
        });
        Inspection {
            held: tat.is_some(),
            burst: core.quota.burst(),
            remaining: core.quota.pace().remaining(now, tat.unwrap_or(0)),
            full_in: Duration::from_nanos(tat.unwrap_or(0).saturating_sub(now.as_nanos())),
        }
    }

    /// Fills the bucket of `key`; says whether there was one.
    pub fn forget(&self, key: Key) -> bool {
        self.core.follow(|core| core.shift(key, |_| Some(0))).is_ok_and(|filled| filled.is_some())
    }
}

/// What a table holds and has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Keys held.
    pub keys: usize,
    /// Most bytes the table can come to occupy.
    pub max_bytes: usize,
    /// Keys that made room for others, their buckets being full again.
    pub evictions_idle: u64,
    /// Requests of strangers to a full table, sent to the bucket they share.
    pub evictions_overflow: u64,
}

/// A bucket at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// Whether the table knows the key; an unknown one has a full bucket.
    pub held: bool,
    /// Tokens in a full bucket.
    pub burst: NonZeroU32,
    /// Whole tokens left.
    pub remaining: u32,
    /// Time until the bucket is full.
    pub full_in: Duration,
}

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
        Pace { emission: self.emission, burst: self.burst }
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
    /// One reload at a time; requests never touch it.
    pub(super) reload: Mutex<()>,
}

impl Core {
    pub(super) fn new(settings: &Settings, lineage: Arc<Lineage>) -> Result<Self, SettingsError> {
        let quota = Quota::new(settings.rate, settings.burst)?;
        let table = Table::new(settings.max_keys)?;
        Ok(Self { settings: *settings, quota, table, next: OnceLock::new(), lineage })
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
    pub(super) fn follow<T>(&self, attempt: impl Fn(&Core) -> Result<T, Halt>) -> Result<T, Duration> {
        let mut core = self;
        loop {
            match attempt(core) {
                Ok(done) => return Ok(done),
                Err(Halt::Refused(wait)) => return Err(wait),
                Err(Halt::Moved) => core = core.next.get().map_or(core, |next| next),
            }
        }
    }

    /// First step: would `cost` tokens be there? Writes nothing.
    #[inline(always)]
    pub(super) fn look(&self, now: Now, key: Key, cost: u32) -> Result<Offer, Halt> {
        loop {
            let offer = match self.table.find(key) {
                Some(slot) => self.offer(slot, key, now, cost)?,
                None => self.foresee(now, key, cost)?,
            };
            if let Some(offer) = offer {
                return Ok(offer);
            }
        }
    }

    /// Second step: takes just what [`Core::look`] offered; nothing if someone else was here in between, or if the
    /// offer may be that of a successor, whose slots are others.
    #[inline]
    pub(super) fn accept(&self, offer: Offer, cost: u32) -> Option<Taken> {
        if self.next.get().is_some() {
            return None;
        }
        self.charge(offer, cost)
    }

    /// Both steps in one.
    #[inline]
    pub(super) fn take(&self, now: Now, key: Key, cost: u32) -> Result<Taken, Halt> {
        loop {
            let taken = match self.table.find(key) {
                Some(slot) => self.offer(slot, key, now, cost)?.and_then(|offer| self.charge(offer, cost)),
                None => self.enter(now, key, cost)?,
            };
            if let Some(taken) = taken {
                return Ok(taken);
            }
        }
    }

    /// What the bucket in `slot` has for `key`; nothing if the slot has changed hands.
    #[inline(always)]
    fn offer(&self, slot: usize, key: Key, now: Now, cost: u32) -> Result<Option<Offer>, Halt> {
        match self.table.read(slot, key) {
            Read::Tat(seen) => self.priced(slot, key, seen, now, cost).map(Some),
            Read::Changed => Ok(None),
            Read::Moved => Err(Halt::Moved),
        }
    }

    #[inline(always)]
    fn priced(&self, slot: usize, key: Key, seen: u64, now: Now, cost: u32) -> Result<Offer, Halt> {
        let tat = self.quota.conform(now, seen, cost).map_err(Halt::Refused)?;
        Ok(Offer { key, slot, seen, tat })
    }

    #[inline]
    fn charge(&self, offer: Offer, cost: u32) -> Option<Taken> {
        let Offer { key, slot, seen, tat } = offer;
        self.table.replace(slot, key, seen, tat).then(|| self.taken(key, tat, cost))
    }

    #[inline]
    fn taken(&self, key: Key, tat: u64, cost: u32) -> Taken {
        let Pace { emission, burst } = self.quota.pace();
        Taken { tat, key, emission, burst, cost }
    }

    /// What a key that the table does not know would have; nothing if it knows it by now.
    #[cold]
    fn foresee(&self, now: Now, key: Key, cost: u32) -> Result<Option<Offer>, Halt> {
        match self.table.room(key, now) {
            Insert::Done { .. } => self.priced(NOWHERE, key, 0, now, cost).map(Some),
            Insert::Exists => Ok(None),
            Insert::Full => self.look(now, self.overflow(), cost).map(Some),
            Insert::Closed => Err(Halt::Moved),
        }
    }

    /// Takes the first tokens of a key the table does not know; nothing if it knows it by now.
    #[cold]
    fn enter(&self, now: Now, key: Key, cost: u32) -> Result<Option<Taken>, Halt> {
        let Offer { tat, .. } = self.priced(NOWHERE, key, 0, now, cost)?;
        if cost == 0 {
            return Ok(Some(self.taken(key, tat, cost))); // no reason to hold the key
        }
        match self.table.insert(key, now, tat) {
            Insert::Done { evicted } => {
                self.lineage.evictions_idle.fetch_add(u64::from(evicted), Relaxed);
                Ok(Some(self.taken(key, tat, cost)))
            }
            Insert::Exists => Ok(None),
            Insert::Full => self.take(now, self.overflow(), cost).map(Some),
            Insert::Closed => Err(Halt::Moved),
        }
    }

    /// Gives back what was taken, as far as the bucket is not full again without it: once the time in which those
    /// tokens came back has passed, the bucket would be no fuller had they never been taken, and giving them back
    /// would add to what rate and burst allow. Nothing goes back after a reload changed the numbers.
    pub(super) fn give_back(&self, now: Now, taken: &Taken) -> Result<(), Halt> {
        let back = taken.pace().weight(taken.cost).min(taken.tat.saturating_sub(now.as_nanos()));
        if back == 0 || self.quota.pace().fill() != taken.pace().fill() {
            return Ok(());
        }
        self.shift(taken.key, |tat| tat.checked_sub(back)).map(drop)
    }

    /// Changes the TAT of a key; tells the new one, or nothing if the key is not there.
    ///
    /// Should the slot go to another key meanwhile, that key was full and stays full: see the table's protocol.
    fn shift(&self, key: Key, change: impl Fn(u64) -> Option<u64>) -> Result<Option<u64>, Halt> {
        while let Some(slot) = self.table.find(key) {
            let seen = match self.table.read(slot, key) {
                Read::Tat(tat) => tat,
                Read::Changed => continue,
                Read::Moved => return Err(Halt::Moved),
            };
            let Some(next) = change(seen) else { break };
            if self.table.replace(slot, key, seen, next) {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    /// The key of the bucket that strangers to a full table share.
    fn overflow(&self) -> Key {
        self.lineage.evictions_overflow.fetch_add(1, Relaxed);
        OVERFLOW
    }
}
