//! The counters of upstreams and listeners.
//!
//! Attempts are as frequent as requests, so an upstream has cells for each
//! worker. The events of a listener are rare, or cost so much themselves that
//! one lock for all workers does not matter.

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

    /// Counts an attempt whose response head arrived after `duration`.
    pub fn responded(&self, duration: Duration) {
        self.cells.mine().lock().durations.observe(duration);
    }

    /// Counts a connect by its outcome: `success`, or one of
    /// [`ConnectFailure::outcome`](crate::error::ConnectFailure::outcome).
    pub fn connected(&self, outcome: &'static str) {
        self.cells.mine().lock().outcomes.add(outcome, 1);
    }

    /// The sum of the counters of all workers.
    pub(super) fn total(&self) -> PeerCells {
        PeerCells::total(&self.cells)
    }
}

/// The counters of one upstream on one worker.
#[derive(Debug, Default)]
pub(super) struct PeerCells {
    /// Attempts, to the heads of their responses.
    pub(super) durations: Histogram,
    /// Connects, by their outcome.
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
    /// Pauses of accepting, by their reason. Shared by all workers, since a
    /// pause is rare.
    pauses: Mutex<Tally>,
    /// HTTP/2 connections that caused too much work, by the kind of flood.
    floods: Mutex<Tally>,
    /// TLS handshakes, by their outcome. Shared by all workers: compared with a
    /// handshake the lock costs nothing.
    handshakes: Mutex<Tally>,
    /// Successful handshakes that resumed a session.
    resumed: AtomicU64,
    /// Connections without a valid PROXY protocol header, by the failure.
    not_named: Mutex<Tally>,
    /// Connections that were closed to make room, by the reason.
    closed: Mutex<Tally>,
}

impl ListenerMetrics {
    /// Counts a pause of accepting, for `reason`: `max_connections` or
    /// `no_files`.
    pub fn accept_paused(&self, reason: &'static str) {
        self.pauses.lock().add(reason, 1);
    }

    /// Counts an HTTP/2 connection that was ended, or whose streams were
    /// refused, because it caused too much work by frames of this `kind`.
    pub fn flooded(&self, kind: &'static str) {
        self.floods.lock().add(kind, 1);
    }

    /// Counts a connection that was closed: `per_client` and `banned` on its
    /// arrival, `idle` later, to make room.
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
    /// `closed`, `plain_http` or `acme_challenge`.
    pub fn handshake(&self, outcome: &'static str) {
        self.handshakes.lock().add(outcome, 1);
    }

    /// Counts a successful handshake that resumed an earlier session.
    pub fn resumed(&self) {
        self.resumed.fetch_add(1, Relaxed);
    }

    /// Counts a connection that did not begin with a valid PROXY protocol
    /// header, for `reason`: `malformed`, `timeout` or `closed`.
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
