//! Logs, access lines and metrics. A leaf: it depends on
//! [`policy`](crate::policy) and [`runtime`](crate::runtime) alone.
//!
//! Every call on the path of a request takes bounded time and memory and never
//! waits for a reader or a scrape: counters and access lines go to cells and
//! buffers of the worker that serves the request, and only scrapes and the
//! writer thread visit those of all workers.
//!
//! * [`access`]: one line for each request, on stdout.
//! * [`logs`]: everything else that is worth a line, on stderr.
//! * [`metrics`]: counters, histograms and gauges in the format of Prometheus.
//! * [`Latch`]: one line in the log for a change, however many requests notice
//!   it.
//! * [`Dropped`]: the count of lines that were dropped because nobody read
//!   them.
//!
//! A key of a limit may be a credential, so neither a line nor a label ever has
//! its value: access lines have a keyed hash of it. The texts of log lines, the
//! fields of access lines and the names of metrics are interfaces, and the
//! reference in `docs/configuration.md` lists the latter two.

pub mod access;
pub mod logs;
pub mod metrics;

mod dropped;
mod latch;

use std::io::IsTerminal;

pub use self::{
    access::{
        AccessGuard, AccessLog, ExtraFields, FixedFields, Form, LONGEST_FIELD, LimitState, Line,
    },
    dropped::Dropped,
    latch::Latch,
    logs::{LogControl, LogGuard},
    metrics::{
        Decision, ListenerMetrics, Metrics, RouteMetrics, TraceMetrics, UnknownCost,
        UpstreamMetrics,
    },
};

/// Whether to write in colour: `stream` is a terminal, and the variable
/// `NO_COLOR` is absent or empty (<https://no-color.org>).
pub fn is_colored(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
