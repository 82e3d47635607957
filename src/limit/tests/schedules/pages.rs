//! Memory of a table over the atomics of shuttle. Allocated, since those are
//! more than their value.

pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize};

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
