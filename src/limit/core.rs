//! The state behind a limit, and the changes to one bucket of it that are no
//! decision of a request; those are in `take`.
//!
//! A [`Core`] is a quota over a table. A reload that changes either makes a new
//! core, moves the buckets there one by one, and leaves a link in the old one:
//! an operation that finds its bucket [`Halt::Moved`] follows the link.
//!
//! # Chains of cores
//!
//! A handle of a limit may be older than any number of reloads, since a request
//! in flight keeps the one it began with. The chain that such a handle follows
//! has a core for each of these reloads, and a core lives as long as a handle
//! of it or of an earlier one. New requests begin at the newest core.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use super::classes::Classes;
use super::table::{Read, Table};
use super::temporary::Temporaries;
use super::{Gcra, Key, LimiterError};
use crate::policy::Quota;

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
    /// Counts an idle key that was evicted to make room.
    pub(super) fn note_eviction(&self) {
        self.evictions_idle.fetch_add(1, Relaxed);
    }

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
}

/// The bucket of a key that is in the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) tat: u64,
    /// The quota by which the TAT is measured.
    pub(super) gcra: Gcra,
}
