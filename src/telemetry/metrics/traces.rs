//! The counters of spans on their way to a collector.
//!
//! Only recorded requests count here, and the thread of the exporter, so that
//! the cells are shared by all workers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters of spans.
#[derive(Debug, Default)]
pub struct TraceMetrics {
    /// Spans that the collector took.
    exported: AtomicU64,
    /// Spans that found no room in the queue.
    not_queued: AtomicU64,
    /// Spans that the collector did not take.
    not_exported: AtomicU64,
}

impl TraceMetrics {
    /// Counts spans that the collector took.
    pub fn exported(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Relaxed);
    }

    /// Counts spans that found no room in the queue.
    pub fn not_queued(&self, spans: usize) {
        self.not_queued.fetch_add(spans as u64, Relaxed);
    }

    /// Counts spans that the collector did not take.
    pub fn not_exported(&self, spans: usize) {
        self.not_exported.fetch_add(spans as u64, Relaxed);
    }

    /// Spans that were lost in either way.
    pub fn lost(&self) -> u64 {
        self.losses().iter().map(|(_, spans)| spans).sum()
    }

    /// Spans that the collector took.
    pub(super) fn taken(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    /// Spans that were lost, by the reason.
    pub(super) fn losses(&self) -> [(&'static str, u64); 2] {
        [
            ("queue_full", self.not_queued.load(Relaxed)),
            ("collector", self.not_exported.load(Relaxed)),
        ]
    }
}
