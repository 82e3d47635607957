//! Eviction of idle connections: if all slots are used, a new connection closes
//! the one that has been idle for longest.
//!
//! Each connection records in a cell of its own when it becomes idle and when
//! it is busy again, which costs a request two stores. Only a worker that needs
//! a slot searches the cells. It notes several of the oldest, so that one
//! search serves as many evictions.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::telemetry::ListenerMetrics;

/// Instead of a time: the connection is busy.
const BUSY: u64 = u64::MAX;
/// Instead of a time: the connection is evicted.
const EVICTED: u64 = u64::MAX - 1;
/// Connections that one search notes. A search of 100,000 cells takes about a
/// millisecond.
const NOTED: usize = 256;

/// Whether one connection is idle.
#[derive(Debug)]
pub(super) struct IdleCell {
    /// Since when the connection is idle, in microseconds of its listener, or
    /// [`BUSY`] or [`EVICTED`].
    since: AtomicU64,
    /// Its index in its registry; only changed under the registry's lock.
    index: AtomicUsize,
    /// Cancelled when the connection is to end: its listener drains, or it is
    /// evicted. A token of its own, so that looking at it touches no memory
    /// that another connection touches.
    drain: CancellationToken,
}

impl IdleCell {
    /// The cell of a connection that is busy.
    pub(super) fn new(drain: CancellationToken) -> Self {
        Self {
            since: AtomicU64::new(BUSY),
            index: AtomicUsize::new(0),
            drain,
        }
    }

    /// Cancelled when the connection is to end.
    pub(super) fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    /// Records that the connection is idle since `micros`. The caller then
    /// wakes those that wait for a slot.
    pub(super) fn set_idle(&self, micros: u64) {
        // There are two pairs of a store and a load: here, of this cell and of
        // the waiters; in the other worker, of the waiters and of this cell.
        // One of the two has to see the other, so all four are sequentially
        // consistent.
        self.since.store(micros, SeqCst);
    }

    /// Records that the connection is busy. Returns whether it was evicted at
    /// this very moment: its request still gets a response, and another
    /// connection has to be evicted instead.
    pub(super) fn set_busy(&self) -> bool {
        self.since.swap(BUSY, SeqCst) == EVICTED
    }

    /// Whether the connection is evicted and has no request.
    pub(super) fn is_evicted(&self) -> bool {
        self.since.load(SeqCst) == EVICTED
    }

    /// Evicts the connection if it has been idle since `since` without a break.
    /// Returns whether it did.
    fn evict(&self, since: u64) -> bool {
        let is_evicted = self
            .since
            .compare_exchange(since, EVICTED, SeqCst, Relaxed)
            .is_ok();
        if is_evicted {
            self.drain.cancel();
        }
        is_evicted
    }
}

/// The connections of one listener on one worker.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Vec<Arc<IdleCell>>>);

impl Registry {
    /// Adds a connection.
    pub(super) fn insert(&self, cell: &Arc<IdleCell>) {
        let mut cells = self.0.lock();
        cell.index.store(cells.len(), Relaxed);
        cells.push(Arc::clone(cell));
    }

    /// Removes a connection, in constant time.
    pub(super) fn remove(&self, cell: &IdleCell) {
        let mut cells = self.0.lock();
        let index = cell.index.load(Relaxed);
        cells.swap_remove(index);
        if let Some(moved) = cells.get(index) {
            moved.index.store(index, Relaxed);
        }
    }
}

/// A connection that a search found idle, and since when.
#[derive(Debug)]
struct Idle {
    since: u64,
    cell: Arc<IdleCell>,
}

/// The connections of one listener on all workers.
#[derive(Debug)]
pub(super) struct Connections {
    /// One for each worker.
    registries: Mutex<Vec<Arc<Registry>>>,
    /// The connections that were idle for longest at the last search, longest
    /// first.
    oldest: Mutex<VecDeque<Idle>>,
    metrics: Arc<ListenerMetrics>,
}

impl Connections {
    /// The connections of a listener without workers.
    pub(super) fn new(metrics: Arc<ListenerMetrics>) -> Arc<Self> {
        Arc::new(Self {
            registries: Mutex::default(),
            oldest: Mutex::default(),
            metrics,
        })
    }

    /// Adds the registry of another worker.
    pub(super) fn add_registry(&self) -> Arc<Registry> {
        let registry = Arc::new(Registry::default());
        self.registries.lock().push(Arc::clone(&registry));
        registry
    }

    /// Evicts the connection that has been idle for longest; false if none is
    /// idle.
    pub(super) fn evict_idle(&self) -> bool {
        let is_evicted = self.evict_oldest();
        if is_evicted {
            self.metrics.closed("idle");
        }
        is_evicted
    }

    /// Evicts the first of the noted connections that is still idle, and
    /// searches if there is none.
    fn evict_oldest(&self) -> bool {
        let mut oldest = self.oldest.lock();
        for has_searched in [false, true] {
            // A connection that became idle after a search has been idle for
            // less time than all that the search noted.
            while let Some(Idle { since, cell }) = oldest.pop_front() {
                if cell.evict(since) {
                    return true;
                }
            }
            if !has_searched {
                *oldest = self.search();
            }
        }
        false
    }

    /// Notes the connections that have been idle for longest.
    fn search(&self) -> VecDeque<Idle> {
        let mut idle = Vec::new();
        for registry in self.registries.lock().iter() {
            for cell in registry.0.lock().iter() {
                let since = cell.since.load(SeqCst);
                if since < EVICTED {
                    let cell = Arc::clone(cell);
                    idle.push(Idle { since, cell });
                }
            }
        }
        if idle.len() > NOTED {
            idle.select_nth_unstable_by_key(NOTED, |idle| idle.since);
            idle.truncate(NOTED);
        }
        idle.sort_unstable_by_key(|idle| idle.since);
        idle.into()
    }
}
