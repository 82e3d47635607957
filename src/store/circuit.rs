//! A circuit breaker: after some failures in a row the store is not called any
//! more, until a probe succeeds (M. Nygard, "Release It!", "Circuit Breaker").
//! Without it, each request would wait for its timeout.
//!
//! There is one for all workers, and one for each node of a cluster. Requests
//! only read it. The change is reported to one caller, which logs it and starts
//! the probe.

use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Failures in a row, over all workers, that open the circuit.
const MOST_FAILURES: u32 = 5;

/// A circuit breaker. While it is closed the store is called; while it is open
/// it is not.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// Whether the store is not called at present.
    is_open: AtomicBool,
    /// Failures since the last success.
    failures: AtomicU32,
    /// Counts the openings: a connection from before one is not used after it.
    generation: AtomicU64,
}

impl Circuit {
    /// Whether the store is not called at present.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Acquire)
    }

    /// The number of openings so far, for connections.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Notes that the store has responded.
    pub(super) fn succeeded(&self) {
        if self.failures.load(Relaxed) > 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// Notes that the store has not responded. Returns true for the one failure
    /// that opens the circuit.
    pub(super) fn failed(&self) -> bool {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        failures >= MOST_FAILURES && self.open()
    }

    /// Opens the circuit at once. Returns true for the one call that did.
    pub(super) fn open(&self) -> bool {
        let opened = !self.is_open.swap(true, AcqRel);
        if opened {
            self.renew();
        }
        opened
    }

    /// Makes connections from before unusable, without opening the circuit.
    pub(super) fn renew(&self) {
        self.generation.fetch_add(1, AcqRel);
    }

    /// Closes the circuit, after a probe has succeeded.
    pub(super) fn close(&self) {
        self.failures.store(0, Relaxed);
        self.is_open.store(false, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_open_it_and_only_one_of_them_is_told() {
        let circuit = Circuit::default();
        (1..MOST_FAILURES).for_each(|_| assert!(!circuit.failed()));
        circuit.succeeded();
        (1..MOST_FAILURES).for_each(|_| assert!(!circuit.failed()));
        assert!(circuit.failed() && circuit.is_open());
        assert!(!circuit.failed());
        circuit.close();
        assert!(!circuit.is_open() && !circuit.failed());
        assert_eq!(circuit.generation(), 1);
    }
}
