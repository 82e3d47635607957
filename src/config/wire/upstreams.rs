//! `[upstreams.NAME]`: the services behind the gateway.

use std::num::{NonZeroU32, NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::field::Field,
    lists::{List, OneOrList},
    numbers::Whole,
    numbers::on,
    routes::Concurrency,
    syntaxes::{AnyDuration, Bound, Part, PemFile, PositiveDuration, ServerAt, ServerName, Target},
    tables::{Either, Shape},
    text::{Off, Or, Text},
};
use crate::policy::Protocol;

/// Something counted in a row.
type Count = Whole<NonZeroU32, 1, 1_000_000>;
/// Weights are shares; finer ones than a millionth make no difference.
type Weight = Whole<NonZeroU32, 1, 1_000_000>;
type Percentage = Whole<u8, 0, 100>;
type MostConnections = Whole<NonZeroUsize, 1, 1_000_000>;
type MostIdle = Whole<usize, 0, 1_000_000>;

/// A service behind the gateway.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Upstream {
    /// Where it runs: URLs, or tables with a url and a weight.
    pub(in crate::config) servers: Field<List<Either<Text<ServerAt>, Server>>>,
    /// Protocol towards the servers: "http1", "http2" (by prior knowledge or
    /// ALPN) or "auto" (by ALPN; http1 without TLS).
    #[serde(default)]
    pub(in crate::config) protocol: Field<Protocol>,
    /// How a server is chosen: in turns, the less busy of two random ones, the
    /// one of two that is probably quicker, or by `hash_key`.
    #[serde(default)]
    pub(in crate::config) balance: Field<Balance>,
    /// With balance = "hash": requests with this in common go to one server,
    /// such as "header:x-user" or "client-ip"; a list is one composite key.
    pub(in crate::config) hash_key: Option<Field<OneOrList<Text<Part>>>>,
    /// With balance = "hash": a server that has more than this of its part of
    /// the requests in flight gives keys away. "off": a key stays with its
    /// server.
    // Hashing is chosen so that a key stays with its server.
    #[serde(default)]
    pub(in crate::config) hash_bound: Field<Or<Off, Bound>>,
    /// Time over which a server that came back gets its share; "0s": at once.
    // Most services are quick from their first request on.
    #[serde(default = "Text::<AnyDuration>::secs::<0>")]
    pub(in crate::config) slow_start: Field<Text<AnyDuration>>,
    /// After a 503 with Retry-After nothing is sent to that server until then
    /// (at most 60s), unless it is the last one.
    #[serde(default = "on")]
    pub(in crate::config) cool_down: Field<bool>,
    /// Ask each server in intervals; absent: no active checks.
    pub(in crate::config) health_check: Option<Field<HealthCheck>>,
    /// Leave a server alone for a while that fails too often in a row.
    pub(in crate::config) ejection: Option<Field<Ejection>>,
    /// Cap on requests in flight over all routes to it; absent: none.
    pub(in crate::config) concurrency: Option<Field<Concurrency>>,
    /// Connections to each server.
    pub(in crate::config) pool: Option<Field<Pool>>,
    /// For https servers. Absent: whom the system trusts.
    pub(in crate::config) tls: Option<Field<UpstreamTls>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Balance {
    RoundRobin,
    // Two random choices adapt to slow servers by themselves and need no
    // knowledge of them.
    #[default]
    LeastRequests,
    PeakEwma,
    Hash,
}

/// TLS towards https servers. The files are watched: a change takes effect
/// without a restart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct UpstreamTls {
    /// Authorities that sign the servers' certificates, and certificates of
    /// servers that are trusted as they are. Absent: those that the system
    /// trusts.
    pub(in crate::config) ca: Option<Field<Text<PemFile>>>,
    /// The name that their certificates must stand for, also sent as SNI.
    /// Absent: the host of each URL.
    pub(in crate::config) server_name: Option<Field<Text<ServerName>>>,
    /// The certificate that is shown to servers; needs `client_key`.
    pub(in crate::config) client_cert: Option<Field<Text<PemFile>>>,
    /// Its private key, not encrypted.
    pub(in crate::config) client_key: Option<Field<Text<PemFile>>>,
}

/// One server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Server {
    /// Scheme, host and port, such as "http://10.0.0.1:9001"; https:// for TLS.
    pub(in crate::config) url: Field<Text<ServerAt>>,
    /// Its share of the requests.
    #[serde(default = "Weight::value::<1>")]
    pub(in crate::config) weight: Field<Weight>,
}

impl Shape for Server {
    const SHAPE: &'static str = "a table";
}

/// Active health checks: GET with the server's own host; 2xx and 3xx are
/// healthy.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct HealthCheck {
    /// Path that is asked for, such as "/healthz".
    pub(in crate::config) path: Field<Text<Target>>,
    /// Time between two checks of a server, give or take a tenth.
    // A server that dies is noticed within a quarter of a minute, at the cost
    // of one request in 5 s.
    #[serde(default = "Text::<PositiveDuration>::secs::<5>")]
    pub(in crate::config) interval: Field<Text<PositiveDuration>>,
    /// Longest time for one check, connecting included.
    // A server that responds so late is not well.
    #[serde(default = "Text::<PositiveDuration>::secs::<1>")]
    pub(in crate::config) timeout: Field<Text<PositiveDuration>>,
    /// Checks in a row that bring a server back.
    // One passed check may be luck.
    #[serde(default = "Count::value::<2>")]
    pub(in crate::config) healthy_after: Field<Count>,
    /// Failed checks in a row that take a server out.
    // One failed check, or two, may be bad luck.
    #[serde(default = "Count::value::<3>")]
    pub(in crate::config) unhealthy_after: Field<Count>,
}

/// Passive ejection: answers with 500, 502, 503 or 504, broken ones, resets,
/// connect failures and timeouts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Ejection {
    /// Failures in a row.
    // Envoy's number: fewer happen by chance.
    #[serde(default = "Count::value::<5>")]
    pub(in crate::config) consecutive_failures: Field<Count>,
    /// Time of the first ejection; doubles with each of the same server.
    // Long enough to restart, short enough to matter little.
    #[serde(default = "Text::<PositiveDuration>::secs::<10>")]
    pub(in crate::config) base: Field<Text<PositiveDuration>>,
    /// Longest ejection.
    // A server that stays broken is tried a few times an hour.
    #[serde(default = "Text::<PositiveDuration>::minutes::<5>")]
    pub(in crate::config) max: Field<Text<PositiveDuration>>,
    /// Most servers ejected or cooling down at once; one of two or more may
    /// always be, the last one is never ejected. 0: none.
    // The other half has to carry the load.
    #[serde(default = "Percentage::value::<50>")]
    pub(in crate::config) max_percent: Field<Percentage>,
}

/// Connections to each server; the numbers are per server, over all workers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Pool {
    /// Most open connections.
    // Bounds memory and file descriptors; more requests at once to one server
    // are better refused than sent.
    #[serde(default = "MostConnections::value::<512>")]
    pub(in crate::config) max_connections: Field<MostConnections>,
    /// Connections kept while unused; 0 keeps none.
    // Enough for a steady load, without holding what one burst opened.
    #[serde(default = "MostIdle::value::<128>")]
    pub(in crate::config) max_idle: Field<MostIdle>,
    /// Longest life of an unused connection.
    // Below the 60 s to 75 s after which common servers close: the side that
    // closes first avoids the race.
    #[serde(default = "Text::<PositiveDuration>::secs::<60>")]
    pub(in crate::config) idle_timeout: Field<Text<PositiveDuration>>,
    /// Longest life of any connection.
    // Lets a change of DNS take effect in reasonable time.
    #[serde(default = "Text::<PositiveDuration>::minutes::<10>")]
    pub(in crate::config) max_lifetime: Field<Text<PositiveDuration>>,
    /// Name, TCP and TLS together.
    // Two lost SYN packets (1 s, then 2 s) are one too many for a machine
    // nearby.
    #[serde(default = "Text::<PositiveDuration>::secs::<2>")]
    pub(in crate::config) connect_timeout: Field<Text<PositiveDuration>>,
    /// Longest wait for a connection while all max_connections are busy; then 503.
    // A connection that is not free within a second will not be free in time.
    #[serde(default = "Text::<AnyDuration>::secs::<1>")]
    pub(in crate::config) wait_timeout: Field<Text<AnyDuration>>,
}
