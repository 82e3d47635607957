//! Whether the store is worth asking: after some failures in a row it is left
//! alone, until a probe is answered.
//!
//! One for all workers, and for each node of a cluster. Requests only read it;
//! what changes it also says so, once.

use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Failures in a row, in whatever worker, after which the store is left alone.
const MOST_FAILURES: u32 = 5;

/// Closed: the store is asked. Open: it is not.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    is_open: AtomicBool,
    failures: AtomicU32,
    /// Counts its openings: connections of before one are not used after it.
    generation: AtomicU64,
}

impl Circuit {
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Acquire)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// The store has answered.
    pub(super) fn succeeded(&self) {
        if self.failures.load(Relaxed) > 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// The store has not answered; true for the one failure that opens the
    /// circuit.
    pub(super) fn failed(&self) -> bool {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        failures >= MOST_FAILURES && self.open()
    }

    /// Opens it at once; true for the one call that did.
    pub(super) fn open(&self) -> bool {
        let opened = !self.is_open.swap(true, AcqRel);
        if opened {
            self.renew();
        }
        opened
    }

    /// Connections of before are not used any more.
    pub(super) fn renew(&self) {
        self.generation.fetch_add(1, AcqRel);
    }

    /// A probe was answered.
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
