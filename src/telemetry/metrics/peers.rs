//! What is counted of those the gateway talks to besides clients' requests: upstreams and listeners.

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
    lanes: LazyPerWorker<Mutex<PeerCells>>,
}

impl UpstreamMetrics {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            lanes: LazyPerWorker::new(workers),
        }
    }

    /// An attempt was answered: the head of its response came after `duration`.
    pub fn answered(&self, duration: Duration) {
        self.lanes.mine().lock().durations.observe(duration);
    }

    /// A connection was made (`success`), or was not (`refused`, `timeout`, `tls`, `dns`).
    pub fn connected(&self, outcome: &'static str) {
        self.lanes.mine().lock().outcomes.add(outcome, 1);
    }

    pub(super) fn total(&self) -> PeerCells {
        PeerCells::total(&self.lanes)
    }
}

/// One worker's counters of one peer.
#[derive(Debug, Default)]
pub(super) struct PeerCells {
    pub(super) durations: Histogram,
    pub(super) outcomes: Tally,
}

impl PeerCells {
    fn total(lanes: &LazyPerWorker<Mutex<Self>>) -> Self {
        let mut total = Self::default();
        for lane in lanes.iter().map(Mutex::lock) {
            total.durations.add(&lane.durations);
            total.outcomes.merge(&lane.outcomes);
        }
        total
    }
}

/// The counters of one listener.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    /// One for all workers: a pause is rare, and who pauses has time.
    pauses: Mutex<Tally>,
    floods: Mutex<Tally>,
    /// One for all workers, too: beside a handshake a lock costs nothing.
    handshakes: Mutex<Tally>,
    resumed: AtomicU64,
    not_named: Mutex<Tally>,
    closed: Mutex<Tally>,
}

impl ListenerMetrics {
    /// Accepting stopped for a while, for `reason`.
    pub fn accept_paused(&self, reason: &'static str) {
        self.pauses.lock().add(reason, 1);
    }

    /// An HTTP/2 connection was ended because it asked for too much work by frames of this `kind`.
    pub fn flooded(&self, kind: &'static str) {
        self.floods.lock().add(kind, 1);
    }

    /// A connection was closed so that others have room: `per_client` when it came, `idle` later.
    pub fn closed(&self, reason: &'static str) {
        self.closed.lock().add(reason, 1);
    }

    pub(super) fn all_closed(&self) -> Tally {
        self.closed.lock().clone()
    }

    pub(super) fn floods(&self) -> Tally {
        self.floods.lock().clone()
    }

    /// A TLS handshake ended in `success`, or not: `failed`, `timeout`, `closed`, `plain_http`.
    pub fn handshake(&self, outcome: &'static str) {
        self.handshakes.lock().add(outcome, 1);
    }

    /// A handshake that succeeded went on with an earlier session.
    pub fn resumed(&self) {
        self.resumed.fetch_add(1, Relaxed);
    }

    /// A connection did not begin with a PROXY protocol header, for `reason`.
    pub fn not_named(&self, reason: &'static str) {
        self.not_named.lock().add(reason, 1);
    }

    pub(super) fn handshakes(&self) -> (Tally, u64) {
        (self.handshakes.lock().clone(), self.resumed.load(Relaxed))
    }

    pub(super) fn all_not_named(&self) -> Tally {
        self.not_named.lock().clone()
    }

    pub(super) fn pauses(&self) -> Tally {
        self.pauses.lock().clone()
    }
}
