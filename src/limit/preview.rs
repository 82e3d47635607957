//! Decisions that are looked at and not made: nothing is taken.
//!
//! They are for limits in shadow mode, for rates beside a cap that refuses (a
//! refusal names all limits that refuse), and for requests that may wait for
//! their tokens.

use std::time::Duration;

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

/// The time until `ask` is admitted if `ahead` tokens are taken before it: zero
/// if it would be admitted at `now`, [`Duration::MAX`] if it never is. Takes
/// nothing. A cost of 0 waits for nobody.
pub fn time_until_admitted(now: Now, ask: &Ask<'_>, ahead: u64) -> Duration {
    if ask.cost == 0 {
        return Duration::ZERO;
    }
    let gcra = ask.quota.unwrap_or(&ask.limiter.core.newest().gcra);
    let before = gcra.emission().saturating_mul(ahead);
    match look(now, ask) {
        Err(Duration::MAX) => Duration::MAX,
        Err(wait) => wait.saturating_add(Duration::from_nanos(before)),
        Ok(offer) => {
            let debt = offer.tat.saturating_sub(now.as_nanos());
            let early = debt.saturating_add(before).saturating_sub(gcra.fill());
            Duration::from_nanos(early)
        }
    }
}
