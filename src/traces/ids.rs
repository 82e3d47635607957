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

/// The id of a new trace: its first and its last 64 bits.
#[inline]
pub fn new_trace_id() -> (u64, u64) {
    (random().max(1), random())
}

/// The id of a new span.
#[inline]
pub fn new_span_id() -> u64 {
    random().max(1)
}
