//! Says a thing once a change rather than once a request: a pause of an accept
//! loop, a store that does not answer.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A state that is either fine or raised, and tells who changed it.
///
/// Of many callers that find the same trouble at once, exactly one is told to
/// log it. While nothing changes a call only reads, so a latch may sit on the
/// request's path.
///
/// ```
/// # use tidegate::telemetry::Latch;
/// static STORE_IS_DOWN: Latch = Latch::new();
/// if STORE_IS_DOWN.raise() {
///     tracing::warn!("the store does not answer");
/// }
/// ```
#[derive(Debug, Default)]
pub struct Latch(AtomicBool);

impl Latch {
    /// A latch that is not raised.
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Raises it; true for the one call that changed it.
    pub fn raise(&self) -> bool {
        !self.0.load(Relaxed) && !self.0.swap(true, Relaxed)
    }

    /// Clears it; true for the one call that changed it.
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
