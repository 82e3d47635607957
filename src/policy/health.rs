//! How an upstream's servers are known to be well.

use std::{num::NonZeroU32, time::Duration};

/// `[upstreams.NAME.health_check]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path and query, fit for a request line.
    pub path: String,
    /// Time between two checks of a server.
    pub interval: Duration,
    /// Longest time for one check.
    pub timeout: Duration,
    /// Passed checks in a row that bring a server back.
    pub healthy_after: NonZeroU32,
    /// Failed checks in a row that take a server out.
    pub unhealthy_after: NonZeroU32,
}

/// `[upstreams.NAME.ejection]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row.
    pub consecutive_failures: NonZeroU32,
    /// Time of the first ejection; doubles.
    pub base: Duration,
    /// Longest ejection, at least `base`.
    pub max: Duration,
    /// Most servers ejected at once, 0 to 100.
    pub max_percent: u8,
}
