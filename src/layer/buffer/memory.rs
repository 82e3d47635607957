//! The memory that all buffered bodies share: a bound for the process, over all
//! routes and workers.
//!
//! # Concurrency
//!
//! One atomic counts the bytes of all shares. A share takes by compare and
//! exchange, so that several workers together never pass the bound, and gives
//! back by a subtraction.
//!
//! # Bounds
//!
//! Nothing waits for memory: a body that gets none streams instead. A bound
//! that is lowered below the bytes that are taken refuses new ones until enough
//! of them are given back.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A bound on the bytes of buffered bodies over the whole process. Outlives
/// reloads.
///
/// ```
/// let memory = tidegate::layer::Memory::default();
/// memory.set_bound(64 << 20);
/// assert_eq!(memory.taken(), 0);
/// ```
#[derive(Debug, Default)]
pub struct Memory {
    /// Bytes of all shares.
    taken: AtomicUsize,
    /// The most bytes that shares may have together. 0 until it is set, so that
    /// nothing is buffered.
    bound: AtomicUsize,
}

impl Memory {
    /// Changes the bound. Bytes that are taken stay.
    pub fn set_bound(&self, bytes: usize) {
        self.bound.store(bytes, Ordering::Relaxed);
    }

    /// The bytes that are taken now.
    ///
    /// For metrics and views: it may be out of date at once.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes this many bytes. Returns false, and takes none, if that would pass
    /// the bound.
    fn take(&self, bytes: usize) -> bool {
        let bound = self.bound.load(Ordering::Relaxed);
        let more = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= bound);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }
}

/// The part of [`Memory`] that one body has. Given back on drop.
///
/// It belongs to one body, and is moved and dropped with the bytes that it
/// counts.
#[derive(Debug)]
pub(super) struct MemoryShare {
    memory: Arc<Memory>,
    /// Bytes that are taken for this body.
    bytes: usize,
}

impl MemoryShare {
    /// A share of no bytes.
    pub(super) fn new(memory: &Arc<Memory>) -> Self {
        Self {
            memory: Arc::clone(memory),
            bytes: 0,
        }
    }

    /// Resizes the share to this many bytes. Returns false, and changes
    /// nothing, if the process has no more left.
    ///
    /// Making a share smaller always succeeds.
    pub(super) fn resize(&mut self, bytes: usize) -> bool {
        match bytes.checked_sub(self.bytes) {
            Some(more) if more > 0 && !self.memory.take(more) => return false,
            Some(_) => {}
            None => {
                self.memory
                    .taken
                    .fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            }
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_bodies_take_is_bounded_and_given_back() {
        let memory = Arc::new(Memory::default());
        memory.set_bound(10);
        let (mut one, mut two) = (MemoryShare::new(&memory), MemoryShare::new(&memory));
        assert!(one.resize(6) && !two.resize(5) && two.resize(4));
        assert!(!one.resize(7), "none is left");
        assert!(one.resize(5) && two.resize(5));
        drop(one);
        assert_eq!(memory.taken(), 5);
        drop(two);
        assert_eq!(memory.taken(), 0);
    }
}
