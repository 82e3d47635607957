//! `[routes.request]` and `[routes.response]`: changes to messages on their way
//! through the gateway.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::field::Field,
    lists::Set,
    numbers::on,
    scalar::{Off, Or, Scalar},
    syntaxes::{BufferBytes, Bytes, ChangeableHeader, FilledValue, KeptHeader, Literal, RewriteTo},
    tables::{NameValue, Pairs},
};
use crate::policy::LimitHeaders;

/// Headers that are filled in for each request, by name.
pub(in crate::config) type FilledHeaders = Pairs<ChangeableHeader, FilledValue>;

/// One of them.
pub(in crate::config) type FilledHeader =
    NameValue<Field<Scalar<ChangeableHeader>>, Scalar<FilledValue>>;

/// Changes to the request on its way up.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Request {
    /// Prefix that is removed from the path, whole segments.
    pub(in crate::config) strip_prefix: Option<Field<Scalar<Literal>>>,
    /// Prefix that is added to the path, after `strip_prefix`.
    pub(in crate::config) add_prefix: Option<Field<Scalar<Literal>>>,
    /// Replaces the two: a path with the parameters of the match.
    pub(in crate::config) rewrite: Option<Field<Scalar<RewriteTo>>>,
    /// Fields to set, replacing those of the client; placeholders such as
    /// `{identity}` are filled in, and `{{` is a brace.
    pub(in crate::config) set_headers: Option<Field<FilledHeaders>>,
    /// Fields to add beside those of the client, filled in as those of
    /// `set_headers`.
    pub(in crate::config) add_headers: Option<Field<FilledHeaders>>,
    /// Fields to remove.
    #[serde(default)]
    pub(in crate::config) remove_headers: Field<Set<Scalar<ChangeableHeader>>>,
    /// Fields such as `X-Real-IP` that are passed on although the peer is not a
    /// trusted proxy.
    #[serde(default)]
    pub(in crate::config) keep_headers: Field<Set<Scalar<KeptHeader>>>,
    /// `true` sends the client's `Host`, `false` the server's.
    #[serde(default = "on")]
    pub(in crate::config) preserve_host: Field<bool>,
    /// Trailers of requests towards HTTP/1 services: "drop" drops them, "pass"
    /// sends those that the request announces.
    #[serde(default)]
    pub(in crate::config) trailers: Field<Trailers>,
    /// Longest request body, or "off"; a longer one gets 413.
    // Uploads of documents and pictures; a route that takes more says so.
    #[serde(default = "Or::<Off, Bytes>::mib::<10>")]
    pub(in crate::config) max_body: Field<Or<Off, Bytes>>,
    /// Bytes of a body that are read before the request takes a permit and a
    /// server; the rest of a longer body is streamed.
    #[serde(default)]
    pub(in crate::config) buffer: Field<Or<Off, BufferBytes>>,
}

/// How the trailers of a request are treated on their way to HTTP/1 services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Trailers {
    /// They are dropped.
    // Hardly any service asks for trailers, and some take them for fields of
    // the head.
    #[default]
    Drop,
    /// Those that the request announces are sent.
    Pass,
}

/// Changes to the response on its way down.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Response {
    /// Fields to set, replacing those of the upstream; placeholders such as
    /// `{request_id}` are filled in, and `{{` is a brace.
    pub(in crate::config) set_headers: Option<Field<FilledHeaders>>,
    /// Fields to add beside those of the upstream, filled in as those of
    /// `set_headers`.
    pub(in crate::config) add_headers: Option<Field<FilledHeaders>>,
    /// Fields to remove.
    #[serde(default)]
    pub(in crate::config) remove_headers: Field<Set<Scalar<ChangeableHeader>>>,
    /// `true` maps `Location`, `Content-Location`, `Refresh` and the paths of
    /// cookies back to the scheme, the host and the prefix that the client
    /// knows.
    #[serde(default)]
    pub(in crate::config) locations: Field<bool>,
    /// Fields for clients about the limit nearest to exhaustion: "draft-11",
    /// "x-ratelimit", "both" or "off".
    #[serde(default)]
    pub(in crate::config) limit_headers: Field<LimitHeaders>,
    /// Bytes of a response that are read ahead of a slow client, so that the
    /// server and its connection are free early.
    #[serde(default)]
    pub(in crate::config) buffer: Field<Or<Off, BufferBytes>>,
}
