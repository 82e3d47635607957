//! Ids of traces and spans: random numbers that are not zero.
//!
//! Nothing depends on them being hard to guess, so that a small generator makes
//! them, one for each thread.

use std::cell::RefCell;

use rand::{Rng, rngs::SmallRng};

thread_local! {
    static RANDOM: RefCell<SmallRng> = RefCell::new(rand::make_rng());
}

/// 64 random bits.
#[inline]
pub(super) fn random() -> u64 {
    RANDOM.with_borrow_mut(Rng::next_u64)
}

/// The ids of a new trace, its first and its last 64 bits, and of its first
/// span.
#[inline]
pub(super) fn new_ids() -> ((u64, u64), u64) {
    RANDOM.with_borrow_mut(|random| {
        let trace_id = (random.next_u64().max(1), random.next_u64());
        (trace_id, random.next_u64().max(1))
    })
}

/// The id of a new span.
#[inline]
pub fn new_span_id() -> u64 {
    random().max(1)
}
