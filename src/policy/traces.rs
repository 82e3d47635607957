//! `[traces]`: which requests are recorded, and where their spans go.
//!
//! The two halves are apart, as a reload that changes the share of the requests
//! keeps the exporter with its queue and its connection.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::UpstreamServer;

/// `[traces]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Which requests are recorded.
    pub sampling: Sampling,
    /// Where the spans of these go.
    pub export: TraceExport,
}

/// Which requests are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// The share of the requests about which no trusted caller has decided.
    pub share: SampledShare,
    /// The callers that decide about theirs.
    pub trust: TrustParent,
}

/// The callers whose word counts on whether a request is recorded: the flag
/// `sampled` of its `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustParent {
    /// None. The share decides about every request.
    Nobody,
    /// The trusted proxies. Strangers cannot have their requests recorded.
    Proxies,
    /// Every caller.
    Everybody,
}

/// A share of all traces, chosen by their ids, so that several services with one
/// share record the same traces.
///
/// The choice is that of the `TraceIdRatioBased` sampler of OpenTelemetry, by
/// the last 63 bits of an id.
///
/// ```
/// use tidegate::policy::SampledShare;
///
/// let half = SampledShare::of_percent(50.0);
/// assert!(half.takes(0) && !half.takes(u64::MAX));
/// assert!(SampledShare::of_percent(100.0).takes(u64::MAX));
/// assert!(!SampledShare::of_percent(0.0).takes(0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampledShare(u64);

impl SampledShare {
    /// A share in percent; below 0 is none, and above 100 is all.
    pub fn of_percent(percent: f64) -> Self {
        let whole = (1_u64 << 63) as f64;
        Self((percent.clamp(0.0, 100.0) / 100.0 * whole) as u64)
    }

    /// Whether a trace is in the share, whose id ends in these 64 bits.
    #[inline]
    pub fn takes(self, end_of_id: u64) -> bool {
        end_of_id >> 1 < self.0
    }
}

/// Where spans go, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceExport {
    /// The collector.
    pub collector: UpstreamServer,
    /// The path that it takes spans at, with a query if it has one.
    pub target: Box<str>,
    /// The name of the service in all spans; `None` for the one in the
    /// environment (`OTEL_SERVICE_NAME`), or else `tidegate`.
    pub service_name: Option<Box<str>>,
    /// Further fields of each request to it, whose values are never shown.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The longest time of an export with all of its attempts. Above zero.
    pub timeout: Duration,
}
