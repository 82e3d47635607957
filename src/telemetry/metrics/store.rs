//! The counters of the store that several gateways share.
//!
//! Calls are counted by the worker that makes them. The state of the circuits
//! belongs to the process and is set by `store`.

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
    /// The counters of each worker.
    cells: LazyPerWorker<Mutex<StoreCells>>,
    /// Whether any circuit is open.
    is_open: AtomicBool,
    /// The nodes of a cluster, and whether the circuit of each is open.
    nodes: Mutex<Vec<(Arc<str>, bool)>>,
    /// Whether there was a store once: only then the circuit is shown.
    is_used: AtomicBool,
}

/// The counters of the store on one worker.
#[derive(Debug, Default)]
pub(super) struct StoreCells {
    /// Calls with a response.
    pub(super) durations: Histogram,
    /// Calls, by their outcome.
    pub(super) outcomes: Tally,
    /// Decisions without a call.
    pub(super) saved: Tally,
}

impl StoreMetrics {
    /// Counters for `workers` workers, without a store.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            cells: LazyPerWorker::new(workers),
            is_open: AtomicBool::new(false),
            nodes: Mutex::default(),
            is_used: AtomicBool::new(false),
        }
    }

    /// Counts a call with a response (`success`), which took `duration`.
    pub fn responded(&self, duration: Duration) {
        let mut cells = self.cells.mine().lock();
        cells.durations.observe(duration);
        cells.outcomes.add("success", 1);
    }

    /// Counts a call that failed (`timeout`, `error`) or was not made: `open`
    /// while the circuit is open, `overload` while too many calls of a worker
    /// wait.
    pub fn failed(&self, outcome: &'static str) {
        self.cells.mine().lock().outcomes.add(outcome, 1);
    }

    /// Counts a decision without a call: the tokens were leased (`lease`), or
    /// the refusal was known (`refusal`).
    pub fn saved(&self, by: &'static str) {
        self.cells.mine().lock().saved.add(by, 1);
    }

    /// Sets whether a circuit is open, that of the store or of any node; and
    /// for a cluster, whether that of each node is.
    pub fn set_open(&self, is_open: bool, nodes: Vec<(Arc<str>, bool)>) {
        self.is_used.store(true, Relaxed);
        self.is_open.store(is_open, Relaxed);
        *self.nodes.lock() = nodes;
    }

    /// Each node of a cluster, with 1 while its circuit is open.
    pub(super) fn nodes(&self) -> Vec<(Arc<str>, u64)> {
        let mut nodes = Vec::new();
        for (node, is_open) in &*self.nodes.lock() {
            nodes.push((Arc::clone(node), u64::from(*is_open)));
        }
        nodes
    }

    /// 1 while the circuit of the store or of a node is open; `None` without a
    /// store.
    pub(super) fn open(&self) -> Option<u64> {
        self.is_used
            .load(Relaxed)
            .then(|| self.is_open.load(Relaxed).into())
    }

    /// The sum of the counters of all workers.
    pub(super) fn total(&self) -> StoreCells {
        let mut total = StoreCells::default();
        for cells in self.cells.iter().map(Mutex::lock) {
            total.durations.add(&cells.durations);
            total.outcomes.merge(&cells.outcomes);
            total.saved.merge(&cells.saved);
        }
        total
    }
}
