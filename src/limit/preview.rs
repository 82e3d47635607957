//! Decisions that are looked at and not made: nothing is taken.
//!
//! They are for limits in shadow mode, and for rates beside a cap that refuses:
//! a refusal names all limits that refuse.

use super::decide::look;
use super::{Ask, Now, Refusal};

/// Whether `ask` would be admitted at `now`; takes nothing. The result may be
/// out of date at once.
pub fn would_admit(now: Now, ask: &Ask<'_>) -> bool {
    look(now, ask).is_ok()
}

/// The refusal of all `asks` that would not be admitted at `now`; `None` if all
/// would. Takes nothing.
pub fn would_refuse(now: Now, asks: &[Ask<'_>]) -> Option<Refusal> {
    let mut refusal = None;
    for (index, ask) in asks.iter().enumerate() {
        if let Err(wait) = look(now, ask) {
            refusal = Some(Refusal::after(refusal, index, wait));
        }
    }
    refusal
}
