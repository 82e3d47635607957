//! The state that all cores of one limit share, and that a reload keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use super::classes::Classes;
use super::temporary::{GivenQuota, Temporaries};
use super::token_queues::TokenQueues;

/// State that all cores of one limit share.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    evictions_idle: AtomicU64,
    evictions_overflow: AtomicU64,
    /// Quotas that some keys have instead of the limit's own.
    pub(super) classes: Classes,
    /// Quotas that some keys have for a while. Padded: every request reads it,
    /// and evictions are counted beside it.
    pub(super) temporaries: CachePadded<Temporaries<GivenQuota>>,
    /// Requests that wait for tokens.
    pub(super) queues: Arc<TokenQueues>,
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
