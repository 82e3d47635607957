//! What the gateway says of itself: logs, access lines, metrics. A leaf.
//!
//! Whatever a request's path calls here takes bounded time and memory and never waits: counters and access lines go
//! to the lane of the worker that serves the request, and only scrapes and the one writer thread look across lanes.

pub mod access;
pub mod logs;
pub mod metrics;
pub mod worker;

mod dropped;
mod latch;

pub use self::{
    access::{AccessGuard, AccessLog, Line},
    dropped::Dropped,
    latch::Latch,
    logs::{LogControl, LogGuard},
    metrics::{Decision, ListenerMetrics, Metrics, RouteMetrics, UpstreamMetrics},
};

/// Shapes of a line, in the log and in the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For eyes.
    Text,
}
