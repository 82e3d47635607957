//! State that the attempts at a request share with each other and with the
//! layers around them: the servers that were tried, and the guards that outlive
//! a client.
//!
//! # Guards that outlive a client
//!
//! When a client leaves, its request's future is dropped from the inside out.
//! The innermost part, which knows whether a server works on, makes the
//! [`Holds`] and says so ([`Exchange::abandon`](super::Exchange::abandon)). Each
//! layer that drops a permit after that adds it instead
//! ([`Exchange::outlive`](super::Exchange::outlive)). A task waits for the
//! server, and then drops them all.

use std::{
    sync::{
        OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::body::Held;

/// State that the attempts at a request share with each other and with the
/// layers around them.
#[derive(Debug, Default)]
pub struct Progress {
    /// How long the last attempt took, to its outcome; empty unless there was
    /// more than one. The attempts before it, and the waits between them, say
    /// nothing of how long a server takes.
    pub last_of_several: OnceLock<Duration>,
    /// The servers that attempts went to. An attempt that is given up cannot
    /// return its server, so that it is noted here.
    pub(super) tried: AtomicU64,
    /// The guards of a request whose client has left while a server works on.
    pub(super) abandoned: Mutex<Weak<Holds>>,
}

/// Servers of one upstream, by their indices. Servers after the 64th cannot be
/// added, and may be tried twice.
///
/// ```
/// use tidegate::call::Tried;
///
/// let tried = Tried::default().and(2);
/// assert!(tried.contains(2) && !tried.contains(3));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tried(pub(super) u64);

impl Tried {
    /// The same servers and this one.
    pub fn and(self, index: usize) -> Self {
        Self(self.0 | bit(index))
    }

    /// Whether the server with this index is one of them.
    pub fn contains(self, index: usize) -> bool {
        self.0 & bit(index) != 0
    }
}

/// The bit that stands for a server in a set; none from the 65th on.
fn bit(index: usize) -> u64 {
    if index < 64 { 1 << index } else { 0 }
}

/// An event that happens at most once, noted without a lock.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Notes that it has happened.
    pub fn set(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether it has happened.
    pub fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

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
