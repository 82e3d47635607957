//! One limit: a quota over a table of buckets.
//!
//! Every operation works on the core it finds in its handle, and where a reload has moved the bucket on, on the
//! core that took over: handles of before and after a reload never disagree about a key.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use super::bucket::rescaled;
use super::core::Core;
use super::{Key, Now, Quota, Rate, SettingsError, Standing};

/// The numbers of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Sustained pace.
    pub rate: Rate,
    /// Tokens in a full bucket.
    pub burst: NonZeroU32,
    /// Most keys held at once; up to 72 bytes each, taken only as keys come.
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
        Ok(Self {
            name: name.into(),
            core: Arc::new(Core::new(settings, Arc::default())?),
        })
    }

    /// Its identity over reloads.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both are handles of one limit, perhaps with other numbers.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core.lineage, &other.core.lineage)
    }

    /// Rate and burst of this handle; after a reload those of the newest one count.
    pub fn quota(&self) -> &Quota {
        &self.core.quota
    }

    /// Other numbers for some of its keys, for [`Ask::quota`](super::Ask::quota). The same numbers are the same
    /// quota, for the limit's life and over reloads.
    ///
    /// # Errors
    /// Numbers that cannot work, or more than 65,535 different ones.
    pub fn other_quota(&self, rate: Rate, burst: NonZeroU32) -> Result<Quota, SettingsError> {
        self.core.lineage.others.class_of(Quota::new(rate, burst)?)
    }

    /// What happened since the limit first came up, and the keys held now.
    pub fn stats(&self) -> Stats {
        let core = self.core.newest();
        let (evictions_idle, evictions_overflow) = core.lineage.evictions();
        Stats {
            keys: core.table.keys(),
            max_bytes: core.table.bytes(),
            evictions_idle,
            evictions_overflow,
        }
    }

    /// Counts one more stranger that shares a bucket, of a limit whose buckets are kept elsewhere.
    pub fn note_stranger(&self) {
        self.core.lineage.note_stranger();
    }

    /// Whether there is a bucket for `key`.
    pub fn holds(&self, key: Key) -> bool {
        self.core.newest().held(key).is_some()
    }

    /// How the bucket of `key` stands for who asks under these numbers, or else the limit's own. Those under which its
    /// debt came about may be others, until it is asked. For people: it takes nothing and may be out of date at once.
    pub fn standing(&self, now: Now, key: Key, quota: Option<&Quota>) -> Standing {
        let core = self.core.newest();
        let pace = quota.unwrap_or(&core.quota).pace();
        let tat = core
            .held(key)
            .map_or(0, |(tat, old)| rescaled(tat, now, old.fill(), pace.fill()));
        pace.state(now, tat, 0)
    }

    /// Fills the bucket of `key`; says whether there was one.
    pub fn forget(&self, key: Key) -> bool {
        self.core
            .follow(|core| core.shift(key, |_, _| Some(0)))
            .is_ok_and(|filled| filled.is_some())
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
