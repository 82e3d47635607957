//! The health of a server as others see it: balancers, the log, the admin API
//! and the metrics.

use std::{fmt, time::SystemTime};

use http::StatusCode;

use crate::{error::ConnectFailure, policy::Failures};

/// How good a choice a server is, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::upstream) enum Fitness {
    /// Nothing is known against it.
    Healthy,
    /// It is ejected or cooling down: chosen only if no healthy server is left.
    Suspect,
    /// Its checks fail: never chosen.
    Down,
}

/// A server as a balancer sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::upstream) struct Assessment {
    /// Whether the server may be chosen.
    pub(in crate::upstream) fitness: Fitness,
    /// The part of its usual share of requests that the server gets, above 0
    /// and up to 1.
    pub(in crate::upstream) share: f32,
}

impl Assessment {
    /// A server that nothing speaks against.
    pub(super) const HEALTHY: Self = Self {
        fitness: Fitness::Healthy,
        share: 1.0,
    };
}

/// The state of a server by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// The server gets its share of requests.
    Up,
    /// The server came back, and its share grows.
    SlowStart,
    /// The server asked to be left alone for a while.
    CoolingDown,
    /// The server failed too many requests in a row.
    Ejected,
    /// The server's checks fail.
    Down,
}

impl HealthState {
    /// The name in the admin API.
    pub fn word(self) -> &'static str {
        match self {
            HealthState::Up => "up",
            HealthState::SlowStart => "slow_start",
            HealthState::CoolingDown => "cooling_down",
            HealthState::Ejected => "ejected",
            HealthState::Down => "down",
        }
    }
}

/// The health of a server, for the admin API and the metrics.
#[derive(Debug, Clone)]
pub struct HealthView {
    /// The present state.
    pub state: HealthState,
    /// When that state began.
    pub since: SystemTime,
    /// The reason for it; empty if the server was never anything but up.
    pub cause: String,
    /// Ejections since the start of the process.
    pub ejections: u64,
}

/// A failure that counts against a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Failing {
    /// A response with this status.
    Status(u16),
    /// The connection or the stream broke before the response's head.
    Reset,
    /// The response broke off within its body.
    Cut,
    /// The response broke the protocol.
    BadResponse,
    /// No connection could be made.
    Connect(ConnectFailure),
    /// The attempt timed out while it was the server's turn.
    Timeout,
}

impl Failing {
    /// Whether it is one of these failures. A response that breaks off, or that
    /// is no HTTP, counts as a reset.
    pub(super) fn is_one_of(self, on: &Failures) -> bool {
        match self {
            Failing::Status(status) => {
                StatusCode::from_u16(status).is_ok_and(|status| on.statuses.contains(status))
            }
            Failing::Reset | Failing::Cut | Failing::BadResponse => on.reset,
            Failing::Connect(_) => on.connect,
            Failing::Timeout => on.timeout,
        }
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failing::Status(status) => write!(f, "status {status}"),
            Failing::Reset => f.write_str("connection reset"),
            Failing::Cut => f.write_str("an answer that broke off"),
            Failing::BadResponse => f.write_str("an answer that is not HTTP"),
            Failing::Connect(cause) => write!(f, "{cause}"),
            Failing::Timeout => f.write_str("timed out"),
        }
    }
}

/// A number of things in words: `1 failure`, `2 failures`.
pub(super) fn counted(number: u32, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
