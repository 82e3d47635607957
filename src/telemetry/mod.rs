//! Logs, access lines and metrics. A leaf.
//!
//! Every call on the path of a request takes bounded time and memory and never
//! waits: counters and access lines go to cells and buffers of the worker that
//! serves the request, and only scrapes and the writer thread visit those of
//! all workers.

pub mod access;
pub mod logs;
pub mod metrics;

mod dropped;
mod latch;

use std::io::IsTerminal;

pub use self::{
    access::{AccessGuard, AccessLog, Form, Line},
    dropped::Dropped,
    latch::Latch,
    logs::{LogControl, LogGuard},
    metrics::{Decision, ListenerMetrics, Metrics, RouteMetrics, UpstreamMetrics},
};

/// Whether to write in colour: on a terminal, for people who did not decline it
/// (<https://no-color.org>).
pub fn is_colored(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
