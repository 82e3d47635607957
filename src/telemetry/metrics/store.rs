//! What is counted of the store that several gateways share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{histogram::Histogram, tally::Tally};
use crate::runtime::LazyPerWorker;

/// The counters of the store.
#[derive(Debug)]
pub struct StoreMetrics {
    lanes: LazyPerWorker<Mutex<StoreCells>>,
    is_open: AtomicBool,
    /// Of a cluster each node, and whether it is left alone.
    nodes: Mutex<Vec<(Arc<str>, bool)>>,
    /// Whether there was ever a store: only then is its circuit told.
    is_used: AtomicBool,
}

/// One worker's counters.
#[derive(Debug, Default)]
pub(super) struct StoreCells {
    pub(super) durations: Histogram,
    pub(super) outcomes: Tally,
    pub(super) saved: Tally,
}

impl StoreMetrics {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            lanes: LazyPerWorker::new(workers),
            is_open: AtomicBool::new(false),
            nodes: Mutex::default(),
            is_used: AtomicBool::new(false),
        }
    }

    /// The store answered a call after `duration` (`success`).
    pub fn answered(&self, duration: Duration) {
        let mut lane = self.lanes.mine().lock();
        lane.durations.observe(duration);
        lane.outcomes.add("success", 1);
    }

    /// It did not (`timeout`, `error`), or was not called: `open` while it is left alone, `overload` when too many wait.
    pub fn failed(&self, outcome: &'static str) {
        self.lanes.mine().lock().outcomes.add(outcome, 1);
    }

    /// A decision needed no call: its tokens were held here (`lease`), or it was known to be refused (`refusal`).
    pub fn saved(&self, by: &'static str) {
        self.lanes.mine().lock().saved.add(by, 1);
    }

    /// Whether the store, or a part of it, is left alone; of a cluster also which nodes there are and whether each is.
    pub fn set_open(&self, is_open: bool, nodes: Vec<(Arc<str>, bool)>) {
        self.is_used.store(true, Relaxed);
        self.is_open.store(is_open, Relaxed);
        *self.nodes.lock() = nodes;
    }

    /// Each node of a cluster, and 1 while it is left alone.
    pub(super) fn nodes(&self) -> Vec<(Arc<str>, u64)> {
        self.nodes
            .lock()
            .iter()
            .map(|(node, is_open)| (Arc::clone(node), u64::from(*is_open)))
            .collect()
    }

    /// 1 while the store or a node of it is left alone; nothing where there is none.
    pub(super) fn open(&self) -> Option<u64> {
        self.is_used
            .load(Relaxed)
            .then(|| self.is_open.load(Relaxed).into())
    }

    pub(super) fn total(&self) -> StoreCells {
        let mut total = StoreCells::default();
        for lane in self.lanes.iter().map(Mutex::lock) {
            total.durations.add(&lane.durations);
            total.outcomes.merge(&lane.outcomes);
            total.saved.merge(&lane.saved);
        }
        total
    }
}
