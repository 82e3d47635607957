//! What the gateway says of itself: logs, access lines, metrics. A leaf.
//!
//! Whatever a request's path calls here takes bounded time and memory and never waits: counters and access lines go
//! to the lane of the worker that serves the request, and only scrapes and the one writer thread look across lanes.

pub mod metrics;
pub mod worker;

mod dropped;

pub use self::{dropped::Dropped, metrics::Metrics};
