//! Counters of an identity.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::runtime::PerWorker;

/// Outcomes of credentials, by word.
#[derive(Debug)]
pub struct CredentialCounts {
    /// Credentials that had verified before.
    pub known: CredentialCount,
    /// Credentials that verified for the first time on a worker.
    pub verified: CredentialCount,
    /// Credentials that did not verify.
    pub rejected: CredentialCount,
    /// Credentials of which nobody could say whether they are good.
    pub unavailable: CredentialCount,
}

/// A counter to which each worker adds in a cell of its own.
#[derive(Debug)]
pub struct CredentialCount(PerWorker<AtomicU64>);

impl CredentialCounts {
    /// Begins with zeros.
    pub fn new(workers: usize) -> Self {
        let count = || CredentialCount(PerWorker::new(workers));
        Self {
            known: count(),
            verified: count(),
            rejected: count(),
            unavailable: count(),
        }
    }

    /// All counters, each with the label of its outcome.
    pub fn by_outcome(&self) -> [(&'static str, u64); 4] {
        [
            ("known", self.known.sum()),
            ("verified", self.verified.sum()),
            ("rejected", self.rejected.sum()),
            ("unavailable", self.unavailable.sum()),
        ]
    }
}

impl CredentialCount {
    /// Adds one.
    #[inline]
    pub fn add(&self) {
        self.0.mine().fetch_add(1, Relaxed);
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|cell| cell.load(Relaxed)).sum()
    }
}
