//! Whether a server may be sent requests.
//!
//! Three things decide, each switched on by its own table of the configuration:
//!
//! * **Active checks** (`check`): the gateway requests a path of each server at
//!   an interval. A server whose checks fail is down and gets nothing. The
//!   first check decides alone, so that a server that is down at the start is
//!   found at once.
//! * **Ejection** (`eject`): a server that fails requests in a row is ejected
//!   for a time that doubles from one ejection to the next. This is Envoy's
//!   outlier detection by consecutive failures
//!   (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier>),
//!   with differences for small sets of servers that `eject` explains.
//! * **Cool-down** (`eject`): a server that responds with 503 or 429, and with
//!   `Retry-After`, is avoided until then.
//!
//! Ejection and cool-down are guesses. If no better server is left, one that is
//! ejected or cooling down is sent requests after all; one whose checks fail is
//! not.
//!
//! A failure counts only if it says something about its server and not about
//! the request: a page that fails on two servers within ten seconds is held
//! against neither (`pages`). Otherwise one client that asks for a broken page
//! could have all servers ejected.
//!
//! # Cost
//!
//! Choosing a server reads one atomic of each candidate that is healthy.
//! Everything that changes a state is rare and takes a lock, which no request
//! to a healthy server ever meets.

mod check;
mod eject;
mod memory;
mod pages;
mod state;
#[cfg(test)]
mod tests;
mod view;

pub use self::view::{HealthState, HealthView};
pub(super) use self::{
    check::{check_regularly, try_to_reach},
    eject::Ejector,
    pages::{Page, Provoked},
    state::Health,
    view::{Assessment, Failing, Fitness},
};
