//! Guards that live for as long as a server works on a request whose client has
//! left.
//!
//! When a client leaves, its request's future is dropped from the inside out.
//! The innermost part, which knows whether a server works on, makes the
//! [`Holds`] and says so ([`Exchange::abandon`](super::Exchange::abandon)). Each
//! layer that drops a permit after that adds it instead
//! ([`Exchange::outlive`](super::Exchange::outlive)). A task waits for the
//! server, and then drops them all.

use parking_lot::Mutex;

use crate::body::Held;

/// Guards that are let go together. Bounded by the number of layers, each of
/// which holds one.
#[derive(Default)]
pub struct Holds(Mutex<Vec<Box<dyn Held>>>);

impl Holds {
    /// Holds one more.
    pub fn add(&self, guard: impl Held + 'static) {
        self.0.lock().push(Box::new(guard));
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl std::fmt::Debug for Holds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Holds").field(&self.0.lock().len()).finish()
    }
}
