//! How long a body that flows may be silent, and how long it may take.

use std::time::Duration;

use tokio::time::Instant;

/// Bounds on a transfer, enforced by whoever drives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Longest time without a byte in either direction.
    pub idle: Duration,
    /// The same for a tunnel one side of which has ended its half, where that is the shorter one.
    pub half_closed: Duration,
    /// When the whole exchange must be over.
    pub end: Option<Instant>,
}

impl Pace {
    /// One that is bound by nothing but silence.
    pub fn of(idle: Duration) -> Self {
        Self {
            idle,
            half_closed: idle,
            end: None,
        }
    }
}
