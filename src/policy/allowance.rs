//! Allowances: how much one key of a limit may have.

use std::num::NonZeroU32;

use super::Quota;

/// How much one key of a limit may have.
///
/// A limit is of one kind: its own allowance and all others that it has, for
/// single keys, wider networks or a trial, are of the same variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// Tokens, which come back with time.
    Rate(Quota),
    /// So many requests in flight. A permit comes back when its request ends.
    InFlight(NonZeroU32),
}

impl Allowance {
    /// The quota of a rate; `None` for a cap on requests in flight.
    pub const fn rate(&self) -> Option<Quota> {
        match self {
            Self::Rate(quota) => Some(*quota),
            Self::InFlight(_) => None,
        }
    }

    /// The most requests in flight; `None` for a rate.
    pub const fn in_flight(&self) -> Option<NonZeroU32> {
        match self {
            Self::Rate(_) => None,
            Self::InFlight(most) => Some(*most),
        }
    }
}
