//! `[upstreams.NAME]`: the services behind the gateway.

use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    super::field::{Field, Nested},
    lists::{List, OneOrList},
    numbers::Whole,
    routes::Concurrency,
    scalar::{Off, Or, Scalar},
    syntaxes::{
        AnyDuration, Bound, CheckHeader, CheckHost, FailedStatus, GrpcService, MethodName, Part,
        PemFile, PositiveDuration, ServerAt, ServerFailure, ServerName, StatusOrClass, Target,
        Value,
    },
    tables::{Either, Pairs, SwitchOr},
};
use crate::policy::Protocol;

/// Something counted in a row.
type Count = Whole<NonZeroU32, 1, 1_000_000>;
/// Weights are shares; finer ones than a millionth make no difference.
type Weight = Whole<u32, 0, 1_000_000>;
/// Of the servers of an upstream.
type Percentage = Whole<u8, 0, 100>;
/// Connections to one server; more than any process may have open files.
type MostConnections = Whole<NonZeroUsize, 1, 1_000_000>;
/// Idle connections to one server; with none, each request opens its own.
type MostIdle = Whole<usize, 0, 1_000_000>;

/// A service behind the gateway.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Upstream {
    /// URLs of its servers, `http://`, `https://`, `unix:/path` or
    /// `srv+http://`, or tables of `url`, `weight` and `backup`.
    pub(in crate::config) servers: Field<List<Either<Scalar<ServerAt>, Server>>>,
    /// Protocol towards the servers: "http1", "http2" (without TLS: prior
    /// knowledge) or "auto" (as TLS agrees).
    #[serde(default)]
    pub(in crate::config) protocol: Field<Protocol>,
    /// Choice of the server: "least-requests" (the less busy of two random
    /// servers), "round-robin", "peak-ewma" (the probably faster of two random
    /// servers) or "hash" (by `hash_key`).
    #[serde(default)]
    pub(in crate::config) balance: Field<Balance>,
    /// With `balance = "hash": requests with the same key go to the same
    /// server, such as "header:x-user" or "client-ip"; a list is one composite
    /// key.
    pub(in crate::config) hash_key: Option<Field<OneOrList<Scalar<Part>>>>,
    /// With `balance = "hash": a server with more than this percentage of its
    /// share of the requests in flight passes requests on to the next server;
    /// "off": a key stays with its server.
    // Hashing is chosen so that a key stays with its server.
    #[serde(default)]
    pub(in crate::config) hash_bound: Field<Or<Off, Bound>>,
    /// Time over which a server that comes back gets its share gradually; "0s":
    /// at once.
    // Most services are quick from their first request on.
    #[serde(default = "Scalar::<AnyDuration>::secs::<0>")]
    pub(in crate::config) slow_start: Field<Scalar<AnyDuration>>,
    /// A server that responds with one of these statuses and `Retry-After` gets
    /// no requests until then (at most 60 s), unless it is the last one;
    /// `true`: `["503"]`; `false`: never.
    // Both say that the server wants fewer requests for a while.
    #[serde(default = "cool_down")]
    pub(in crate::config) cool_down: Field<SwitchOr<List<Scalar<FailedStatus>>>>,
    /// Active checks of each server; absent: none.
    pub(in crate::config) health_check: Nested<HealthCheck>,
    /// Ejection of servers that fail too often in a row.
    pub(in crate::config) ejection: Nested<Ejection>,
    /// Cap on requests in flight over all routes to the upstream; absent: none.
    pub(in crate::config) concurrency: Nested<Concurrency>,
    /// "v2": each connection begins with a PROXY protocol header that names the
    /// client, and serves only this client.
    #[serde(default)]
    pub(in crate::config) proxy_protocol: Field<SentHeader>,
    /// Connections to each server.
    pub(in crate::config) pool: Nested<Pool>,
    /// For `https://` servers; absent: the authorities that the system trusts.
    pub(in crate::config) tls: Nested<UpstreamTls>,
}

fn cool_down() -> Field<SwitchOr<List<Scalar<FailedStatus>>>> {
    Field::by_default(List::of(&["503", "429"]).value.map(SwitchOr::Other))
}

/// How a server is chosen. The key of `Hash` is a key of its own in the file,
/// and part of the variant in [`policy::Balance`](crate::policy::Balance).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Balance {
    /// In turns, by weight.
    RoundRobin,
    /// The less busy of two random servers.
    // Two random choices adapt to slow servers by themselves and need no
    // knowledge of them.
    #[default]
    LeastRequests,
    /// The one of two random servers that is probably faster.
    PeakEwma,
    /// By what requests have in common.
    Hash,
}

/// A version of the PROXY protocol that servers are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum SentHeader {
    /// None.
    // A server that does not expect the header takes it for a bad request.
    #[default]
    Off,
    /// The binary form.
    V2,
}

/// TLS towards https servers. The files are watched: a change takes effect
/// without a restart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct UpstreamTls {
    /// Authorities of the servers' certificates, and server certificates that
    /// are trusted directly; absent: the authorities that the system trusts.
    pub(in crate::config) ca: Option<Field<Scalar<PemFile>>>,
    /// Name that the servers' certificates must cover, also sent as SNI;
    /// absent: the host of each URL.
    pub(in crate::config) server_name: Option<Field<Scalar<ServerName>>>,
    /// Certificate that is presented to the servers; needs `client_key`.
    pub(in crate::config) client_cert: Option<Field<Scalar<PemFile>>>,
    /// Its private key, not encrypted.
    pub(in crate::config) client_key: Option<Field<Scalar<PemFile>>>,
}

/// One server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Server {
    /// Scheme, host and port, such as "http://10.0.0.1:9001"; `https://` for
    /// TLS; "unix:/run/app.sock" for a socket of this machine;
    /// "srv+http://_api._tcp.internal" for the servers of SRV records.
    pub(in crate::config) url: Field<Scalar<ServerAt>>,
    /// Its share of the requests; 0: none for now.
    #[serde(default = "Weight::value::<1>")]
    pub(in crate::config) weight: Field<Weight>,
    /// It gets requests only while no other server is available.
    // Usually all servers share the requests.
    #[serde(default)]
    pub(in crate::config) backup: Field<bool>,
}

/// Active health checks.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = path_or_other_kind()))]
pub(in crate::config) struct HealthCheck {
    /// Question that each server is asked: "http" (a request), "grpc" (a call
    /// of `grpc.health.v1.Health/Check`) or "tcp" (a connection, to `https://`
    /// servers with the TLS handshake).
    #[serde(default)]
    pub(in crate::config) kind: Field<CheckKind>,
    /// Path and query of the request, such as "/healthz"; only with
    /// `kind = "http"`, and required there.
    pub(in crate::config) path: Option<Field<Scalar<Target>>>,
    /// Method of the request; only with `kind = "http"`.
    // Every service answers it.
    #[serde(default = "get")]
    pub(in crate::config) method: Field<Scalar<MethodName>>,
    /// Statuses and classes of them that are healthy; only with
    /// `kind = "http"`.
    // A redirection to a login is as good as a page.
    #[serde(default = "healthy_statuses")]
    pub(in crate::config) statuses: Field<List<Scalar<StatusOrClass>>>,
    /// Service that is asked about; only with `kind = "grpc"`; absent: the
    /// server as a whole.
    pub(in crate::config) service: Option<Field<Scalar<GrpcService>>>,
    /// Host that is asked for, such as "orders.internal"; not with
    /// `kind = "tcp"`; absent: the server's own.
    pub(in crate::config) host: Option<Field<Scalar<CheckHost>>>,
    /// Further fields of the request; not with `kind = "tcp"`.
    pub(in crate::config) headers: Option<Field<Pairs<CheckHeader, Value>>>,
    /// Another port of the same address; absent: that of the server.
    pub(in crate::config) port: Option<Field<Whole<NonZeroU16, 1, 65535>>>,
    /// Time between two checks of a server, plus or minus a tenth.
    // A server that dies is noticed within a quarter of a minute, at the cost
    // of one request in 5 s.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<5>")]
    pub(in crate::config) interval: Field<Scalar<PositiveDuration>>,
    /// Longest time for one check, including the connection.
    // A server that responds so late is not well.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<1>")]
    pub(in crate::config) timeout: Field<Scalar<PositiveDuration>>,
    /// Passed checks in a row after which a server is up.
    // One passed check may be luck.
    #[serde(default = "Count::value::<2>")]
    pub(in crate::config) healthy_after: Field<Count>,
    /// Failed checks in a row after which a server is down.
    // One failed check, or two, may be bad luck.
    #[serde(default = "Count::value::<3>")]
    pub(in crate::config) unhealthy_after: Field<Count>,
}

/// A check without a kind is a request, which needs a path. The other kinds
/// have none.
fn path_or_other_kind() -> serde_json::Value {
    let no_path = json!({ "required": ["path"] });
    json!([{ "required": ["path"] }, { "required": ["kind"], "not": no_path }])
}

fn get() -> Field<Scalar<MethodName>> {
    Scalar::by_default("GET".to_owned())
}

fn healthy_statuses() -> Field<List<Scalar<StatusOrClass>>> {
    List::of(&["2xx", "3xx"])
}

/// The question of a check. The keys of each kind are keys of the check in the
/// file, and part of the variant in
/// [`policy::CheckKind`](crate::policy::CheckKind).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum CheckKind {
    /// A request.
    #[default]
    Http,
    /// A call of `grpc.health.v1.Health/Check`.
    Grpc,
    /// A connection.
    Tcp,
}

/// Passive ejection of servers that fail requests in a row.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Ejection {
    /// Failures that count: "connect", "reset" (also a response that breaks off
    /// or is not HTTP), "timeout", statuses such as "503" and classes such as
    /// "5xx".
    // Statuses with which a server says that it cannot work at all. 501 and 505
    // depend on the request: a client must not have a server ejected with them.
    #[serde(default = "server_failures")]
    pub(in crate::config) on: Field<List<Scalar<ServerFailure>>>,
    /// Failures in a row that eject a server.
    // Envoy's number: fewer happen by chance.
    #[serde(default = "Count::value::<5>")]
    pub(in crate::config) consecutive_failures: Field<Count>,
    /// Duration of the first ejection; doubles with each further ejection of
    /// the same server.
    // Long enough to restart, short enough to matter little.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<10>")]
    pub(in crate::config) base: Field<Scalar<PositiveDuration>>,
    /// Longest duration of an ejection.
    // A server that stays broken is tried a few times an hour.
    #[serde(default = "Scalar::<PositiveDuration>::minutes::<5>")]
    pub(in crate::config) max: Field<Scalar<PositiveDuration>>,
    /// Percentage of the servers that may be ejected or in cool-down at once;
    /// one of two or more always may, and the last one is never ejected; 0
    /// switches both off.
    // The other half has to carry the load.
    #[serde(default = "Percentage::value::<50>")]
    pub(in crate::config) max_percent: Field<Percentage>,
}

fn server_failures() -> Field<List<Scalar<ServerFailure>>> {
    List::of(&["500", "502", "503", "504", "connect", "reset", "timeout"])
}

/// Connections to each server; the numbers are per server, over all workers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Pool {
    /// Open connections.
    // Bounds memory and file descriptors; more requests at once to one server
    // are better refused than sent.
    #[serde(default = "MostConnections::value::<512>")]
    pub(in crate::config) max_connections: Field<MostConnections>,
    /// Idle connections that are kept; 0 keeps none.
    // Enough for a steady load, without holding what one burst opened.
    #[serde(default = "MostIdle::value::<128>")]
    pub(in crate::config) max_idle: Field<MostIdle>,
    /// Longest life of an idle connection; choose it shorter than the server's
    /// own timeout.
    // Below the 60 s to 75 s after which common servers close: the side that
    // closes first avoids the race.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<60>")]
    pub(in crate::config) idle_timeout: Field<Scalar<PositiveDuration>>,
    /// Longest life of any connection.
    // Lets a change of DNS take effect in reasonable time.
    #[serde(default = "Scalar::<PositiveDuration>::minutes::<10>")]
    pub(in crate::config) max_lifetime: Field<Scalar<PositiveDuration>>,
    /// Longest time for name resolution, TCP and TLS together.
    // Two lost SYN packets (1 s, then 2 s) are one too many for a machine
    // nearby.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<2>")]
    pub(in crate::config) connect_timeout: Field<Scalar<PositiveDuration>>,
    /// Longest wait while all `max_connections` are busy; then 503.
    // A connection that is not free within a second will not be free in time.
    #[serde(default = "Scalar::<AnyDuration>::secs::<1>")]
    pub(in crate::config) wait_timeout: Field<Scalar<AnyDuration>>,
}
