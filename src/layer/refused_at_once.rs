//! Refusals that are known before a future is polled.

use crate::error::Error;

/// The future of a layer that may refuse a call while it is called. Most
/// responses of an overloaded gateway are refusals, and one that is known at
/// once needs no future that is allocated and polled.
pub trait RefusedAtOnce {
    /// Why the call was refused; `None` if it was not, or at the second call.
    fn refused(&mut self) -> Option<Error>;
}
