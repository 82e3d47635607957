//! `[traces]`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    super::field::Field,
    scalar::Scalar,
    syntaxes::{ChangeableHeader, CollectorAt, NotEmpty, PositiveDuration, Sampled, Value},
    tables::Pairs,
};

/// Spans of requests for a collector (OpenTelemetry).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Traces {
    /// URL of the collector, which takes spans over HTTP (OTLP, protobuf); its
    /// path is followed by `/v1/traces`, unless it ends so or has a query.
    pub(in crate::config) otlp: Field<Scalar<CollectorAt>>,
    /// Share of the requests that are recorded, of those about which no caller
    /// has decided; "0.1%" is one in a thousand.
    // A first request shows whether everything works. The bound of the queue
    // holds whatever the share is.
    #[serde(default = "Scalar::<Sampled>::percent::<100>")]
    pub(in crate::config) sample: Field<Scalar<Sampled>>,
    /// Whether the callers decide if their requests are recorded, by the flag
    /// `sampled` of `traceparent`: true: every caller, also a stranger; false:
    /// none; absent: the `trusted_proxies` of `[client_ip]`.
    pub(in crate::config) trust_parent: Option<Field<bool>>,
    /// Name of this service in its spans; absent: `OTEL_SERVICE_NAME` of the
    /// environment, or else `tidegate`.
    pub(in crate::config) service_name: Option<Field<Scalar<NotEmpty>>>,
    /// Fields of the requests to the collector, such as `authorization`; their
    /// values are never shown.
    pub(in crate::config) headers: Option<Field<Pairs<ChangeableHeader, Value>>>,
    /// Longest time of an export, with all of its attempts.
    // As the specification of OTLP has it.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<10>")]
    pub(in crate::config) timeout: Field<Scalar<PositiveDuration>>,
}
