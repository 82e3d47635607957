//! The memory of a table, and the atomics that it is made of.
//!
//! Pages come zeroed from the system, cost nothing until they are written to,
//! and go back to the system with the table. An allocator would hand out memory
//! of an earlier table again and clear it by writing to all of it: after a
//! reload each limit would then occupy as much as all of its keys could.
//!
//! A test compiles the table against another version of this file, whose
//! atomics and waiting belong to a model checker.

use std::fmt;
pub(super) use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize};

pub(super) use crossbeam_utils::Backoff;
use memmap2::{MmapMut, MmapOptions};
use self_cell::{MutBorrow, self_cell};
use zerocopy::FromBytes;

/// A key and its TAT. An array, since bytes can be seen as one without
/// `unsafe`.
pub(super) type Slot = [AtomicU64; 2];

/// Slots that a walk over a table visits or skips together: four pages of
/// memory.
pub(super) const PART: usize = 1024;

/// The slots of a table and a class for each.
#[derive(Debug)]
struct PageContent<'m> {
    slots: &'m [Slot],
    classes: &'m [AtomicU16],
}

self_cell!(
    struct Mapped {
        owner: MutBorrow<MmapMut>,
        #[covariant]
        dependent: PageContent,
    }
);

/// The memory of a table.
pub(super) struct Pages(Mapped);

impl Pages {
    /// Zeroed memory for `slots` slots and a class for each; `None` if the
    /// system has no such memory. It is reserved and not committed: memory that
    /// turns out to be missing later ends the process, as with any allocation
    /// of an overcommitting system.
    pub(super) fn zeroed(slots: usize) -> Option<Self> {
        let of_slots = slots.checked_mul(size_of::<Slot>())?;
        let length = of_slots.checked_add(slots.checked_mul(size_of::<AtomicU16>())?)?;
        // Not reserved: a limit may hold far more keys than ever come.
        let map = MmapOptions::new()
            .len(length)
            .no_reserve_swap()
            .map_anon()
            .ok()?;
        Mapped::try_new(MutBorrow::new(map), |map| {
            let (slots, classes) = map.borrow_mut().split_at_mut_checked(of_slots).ok_or(())?;
            let slots = <[Slot]>::mut_from_bytes(slots).map_err(drop)?;
            let classes = <[AtomicU16]>::mut_from_bytes(classes).map_err(drop)?;
            Ok::<_, ()>(PageContent { slots, classes })
        })
        .ok()
        .map(Self)
    }

    /// A power of two of slots that are probed, then that of the overflow
    /// bucket.
    #[inline(always)]
    pub(super) fn slots(&self) -> &[Slot] {
        self.0.borrow_dependent().slots
    }

    /// The class of each slot.
    #[inline(always)]
    pub(super) fn classes(&self) -> &[AtomicU16] {
        self.0.borrow_dependent().classes
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("slots", &self.slots().len())
            .finish_non_exhaustive()
    }
}
