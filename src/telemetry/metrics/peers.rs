//! The counters of upstreams and listeners.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;

use super::{histogram::Histogram, tally::Tally};
use crate::runtime::LazyPerWorker;

/// The counters of one upstream.
#[derive(Debug)]
pub struct UpstreamMetrics {
    cells: LazyPerWorker<Mutex<PeerCells>>,
}

impl UpstreamMetrics {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            cells: LazyPerWorker::new(workers),
        }
    }

    /// Counts an attempt whose response head came after `duration`.
    pub fn answered(&self, duration: Duration) {
        self.cells.mine().lock().durations.observe(duration);
    }

    /// Counts a connect by its outcome: `success`, `refused`, `timeout`, `tls`
    /// or `dns`.
    pub fn connected(&self, outcome: &'static str) {
        self.cells.mine().lock().outcomes.add(outcome, 1);
    }

    pub(super) fn total(&self) -> PeerCells {
        PeerCells::total(&self.cells)
    }
}

/// The counters of one peer on one worker.
#[derive(Debug, Default)]
pub(super) struct PeerCells {
    pub(super) durations: Histogram,
    pub(super) outcomes: Tally,
}

impl PeerCells {
    fn total(cells: &LazyPerWorker<Mutex<Self>>) -> Self {
        let mut total = Self::default();
        for cells in cells.iter().map(Mutex::lock) {
            total.durations.add(&cells.durations);
            total.outcomes.merge(&cells.outcomes);
        }
        total
    }
}

/// The counters of one listener.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    /// Shared by all workers: a pause is rare.
    pauses: Mutex<Tally>,
    floods: Mutex<Tally>,
    /// Shared by all workers: beside a handshake a lock costs nothing.
    handshakes: Mutex<Tally>,
    resumed: AtomicU64,
    not_named: Mutex<Tally>,
    closed: Mutex<Tally>,
}

impl ListenerMetrics {
    /// Counts a pause of accepting.
    pub fn accept_paused(&self, reason: &'static str) {
        self.pauses.lock().add(reason, 1);
    }

    /// Counts an HTTP/2 connection that was ended because it asked for too much
    /// work by frames of this `kind`.
    pub fn flooded(&self, kind: &'static str) {
        self.floods.lock().add(kind, 1);
    }

    /// Counts a connection that was closed so that others have room:
    /// `per_client` when it came, `idle` later.
    pub fn closed(&self, reason: &'static str) {
        self.closed.lock().add(reason, 1);
    }

    pub(super) fn all_closed(&self) -> Tally {
        self.closed.lock().clone()
    }

    pub(super) fn floods(&self) -> Tally {
        self.floods.lock().clone()
    }

    /// Counts a TLS handshake by its outcome: `success`, `failed`, `timeout`,
    /// `closed` or `plain_http`.
    pub fn handshake(&self, outcome: &'static str) {
        self.handshakes.lock().add(outcome, 1);
    }

    /// Counts a successful handshake that resumed an earlier session.
    pub fn resumed(&self) {
        self.resumed.fetch_add(1, Relaxed);
    }

    /// Counts a connection that did not begin with a valid PROXY protocol
    /// header.
    pub fn not_named(&self, reason: &'static str) {
        self.not_named.lock().add(reason, 1);
    }

    pub(super) fn handshakes(&self) -> Tally {
        self.handshakes.lock().clone()
    }

    pub(super) fn resumptions(&self) -> u64 {
        self.resumed.load(Relaxed)
    }

    pub(super) fn all_not_named(&self) -> Tally {
        self.not_named.lock().clone()
    }

    pub(super) fn pauses(&self) -> Tally {
        self.pauses.lock().clone()
    }
}
