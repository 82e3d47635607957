//! How the gateway finds out that a server of an upstream is unhealthy: by
//! asking it, and by its failures.

use std::{num::NonZeroU32, time::Duration};

/// `[upstreams.NAME.health_check]`: requests that the gateway sends to each
/// server at an interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path and query that are requested, valid in a request line.
    pub path: String,
    /// The time between two checks of a server, before jitter of a tenth.
    pub interval: Duration,
    /// The longest time for one check, including connecting and the TLS
    /// handshake.
    pub timeout: Duration,
    /// Consecutive passed checks after which a server that is down comes back.
    pub healthy_after: NonZeroU32,
    /// Consecutive failed checks after which a server is down.
    pub unhealthy_after: NonZeroU32,
}

/// `[upstreams.NAME.ejection]`: when a server that fails requests stops
/// receiving them, and for how long.
///
/// The terms are those of Envoy's outlier detection by consecutive failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// Consecutive failures that eject a server.
    pub consecutive_failures: NonZeroU32,
    /// The length of the first ejection; each further one is twice as long.
    pub base: Duration,
    /// The longest ejection, at least `base`.
    pub max: Duration,
    /// Percentage of the servers, 0 to 100, that may be ejected or cooling down
    /// at once. One of several always may, unless this is 0.
    pub max_percent: u8,
}
