//! Memory of a table: pages of its own from the system, zeroed, which cost nothing until they are written to and go back to
//! the system with the table. An allocator would hand memory of an earlier table out again, and clear it by writing to all
//! of it: after a reload each limit would then occupy as much as all of its keys could.

use std::{
    fmt,
    sync::atomic::{AtomicU16, AtomicU64},
};

use memmap2::{MmapMut, MmapOptions};
use self_cell::{MutBorrow, self_cell};
use zerocopy::FromBytes;

/// A key and its TAT. An array, since bytes can be seen as one without `unsafe`.
pub(super) type Slot = [AtomicU64; 2];

/// Slots and classes of a table.
#[derive(Debug)]
pub(super) struct Content<'m> {
    pub(super) slots: &'m [Slot],
    pub(super) classes: &'m [AtomicU16],
}

self_cell!(
    /// The pages and what they hold.
    pub(super) struct Pages {
        owner: MutBorrow<MmapMut>,
        #[covariant]
        dependent: Content,
    }
);

impl Pages {
    /// Room for so many slots and a class for each; `None` where there is no such memory.
    pub(super) fn zeroed(slots: usize) -> Option<Self> {
        let of_slots = slots.checked_mul(size_of::<Slot>())?;
        let length = of_slots.checked_add(slots.checked_mul(size_of::<AtomicU16>())?)?;
        // Not reserved: a limit may hold far more keys than ever come.
        let map = MmapOptions::new()
            .len(length)
            .no_reserve_swap()
            .map_anon()
            .ok()?;
        Self::try_new(MutBorrow::new(map), |map| {
            let (slots, classes) = map.borrow_mut().split_at_mut_checked(of_slots).ok_or(())?;
            let slots = <[Slot]>::mut_from_bytes(slots).map_err(drop)?;
            let classes = <[AtomicU16]>::mut_from_bytes(classes).map_err(drop)?;
            Ok::<_, ()>(Content { slots, classes })
        })
        .ok()
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("slots", &self.borrow_dependent().slots.len())
            .finish_non_exhaustive()
    }
}
