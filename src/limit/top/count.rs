//! The counts of a key, and the form in which they are handed out.

use crate::limit::{Key, Label};

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All limits admitted it.
    Admitted,
    /// This limit refused it, or would have.
    Refused,
}

/// One of the heaviest keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heavy {
    /// Its bucket.
    pub key: Key,
    /// Its parts.
    pub label: Label,
    /// Its requests.
    pub count: Count,
}

/// Recent requests of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Requests that were admitted.
    pub admitted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Bound for further requests, which came while other keys had all
    /// counters.
    pub missed: u64,
}

impl Count {
    /// Requests that were counted.
    pub const fn seen(self) -> u64 {
        self.admitted + self.refused
    }

    pub(super) fn add(&mut self, other: Self) {
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.missed += other.missed;
    }
}
