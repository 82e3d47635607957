//! A switch that reports each change once: a pause of an accept loop, a store
//! that does not respond.
//!
//! Many requests meet the same trouble at the same time, and the log should
//! have one line about it and one about its end.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A state that is either clear or raised, and tells the caller that changed
/// it.
///
/// Of many callers that find the same trouble at once, exactly one is told to
/// log it. While nothing changes a call only reads, so a latch may sit on the
/// request's path. All accesses are relaxed: a latch orders nothing but itself.
///
/// ```
/// # use tidegate::telemetry::Latch;
/// static STORE_IS_DOWN: Latch = Latch::new();
///
/// fn call_failed() {
///     if STORE_IS_DOWN.raise() {
///         tracing::warn!("the store does not respond");
///     }
/// }
/// # call_failed();
/// assert!(!STORE_IS_DOWN.raise()); // Somebody else has logged it.
/// assert!(STORE_IS_DOWN.clear());
/// ```
#[derive(Debug, Default)]
pub struct Latch(AtomicBool);

impl Latch {
    /// A latch that is clear.
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Raises the latch, and returns true for the one call that changed it.
    pub fn raise(&self) -> bool {
        !self.0.load(Relaxed) && !self.0.swap(true, Relaxed)
    }

    /// Clears the latch, and returns true for the one call that changed it.
    pub fn clear(&self) -> bool {
        self.0.load(Relaxed) && self.0.swap(false, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_told() {
        let latch = Latch::new();
        assert!(!latch.clear());
        assert!(latch.raise());
        assert!(!latch.raise());
        assert!(latch.clear());
        assert!(!latch.clear());
        assert!(latch.raise());
    }
}
