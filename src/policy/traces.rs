//! `[traces]`: which requests are recorded, and where their spans go.
//!
//! The two halves are apart, as a reload that changes the share of the requests
//! keeps the exporter with its queue and its connection.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{SampledShare, UpstreamServer};

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
