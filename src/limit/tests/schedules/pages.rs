//! Memory of a table over the atomics of shuttle. Allocated, since those are
//! more than their value.

pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize};

/// Lets other threads run, as a thread that waits has to under a scheduler that
/// goes by priorities.
pub(super) struct Backoff;

impl Backoff {
    pub(super) fn new() -> Self {
        Self
    }

    pub(super) fn snooze(&self) {
        shuttle::thread::yield_now();
    }
}

/// One slot, so that a walk looks at each one's note that a key has come.
pub(super) const PART: usize = 1;

pub(super) type Slot = [AtomicU64; 2];

#[derive(Debug)]
pub(super) struct Pages {
    slots: Box<[Slot]>,
    classes: Box<[AtomicU16]>,
}

impl Pages {
    pub(super) fn zeroed(slots: usize) -> Option<Self> {
        let slot = || [AtomicU64::new(0), AtomicU64::new(0)];
        Some(Self {
            slots: (0..slots).map(|_| slot()).collect(),
            classes: (0..slots).map(|_| AtomicU16::new(0)).collect(),
        })
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(super) fn classes(&self) -> &[AtomicU16] {
        &self.classes
    }
}
