//! The sections about the process: `server`, `listeners`, `client_ip`, `admin`,
//! `store`, `log`, `shutdown`.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::field::{Field, Nested},
    lists::{List, OneOrList, Set, Tables},
    numbers::{SwitchOrPort, Whole, Workers, on},
    scalar::{Off, Or, Scalar},
    syntaxes::{
        AcmeDirectory, AdminHost, AnyDuration, Bind, Bytes, ClientHeader, Domain, EmailAddress,
        FileMode, FileName, HeadBytes, ListenAt, LoggedField, LoggedStatus, Name, Network, PemFile,
        PositiveDuration, Sampled, Share, StoreAt,
    },
    tables::Pairs,
};
use crate::policy::{AcmeChallenge, LogFormat, LogLevel, LogQuery, StoreOnError, TlsVersion};

/// Far more than a process may have open files.
type Connections = Whole<NonZeroUsize, 1, 10_000_000>;
/// Lines of a head, beside the bound on its bytes: each costs an entry in a
/// table, however short it is.
type MostHeaders = Whole<usize, 1, 10_000>;

/// The process itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Server {
    /// Memory for all bodies that routes buffer; when it is used up, further
    /// bodies are streamed.
    // Half of what a small container has; a quarter of a thousand uploads of 1
    // MiB at once.
    #[serde(default = "Scalar::<Bytes>::mib::<256>")]
    pub(in crate::config) max_buffered: Field<Scalar<Bytes>>,
    /// Worker threads: "auto" is one for each core that the process may use; a
    /// change needs a restart.
    #[serde(default)]
    pub(in crate::config) workers: Field<Workers>,
    /// Open connections of one client over all listeners; further ones are
    /// closed when they arrive; absent: a tenth of the listener's
    /// `max_connections`, at least 10.
    pub(in crate::config) max_connections_per_client: Option<Field<Connections>>,
    /// Folder for the state that limits with `persist` keep across a restart,
    /// and for the keys and certificates of `acme`; used by this process only,
    /// created if it is absent; a change needs a restart.
    pub(in crate::config) state_dir: Option<Field<Scalar<FileName>>>,
}

/// An address on which clients connect.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Listener {
    /// Its name in logs and metrics, and for routes; absent: its `bind`.
    pub(in crate::config) name: Option<Field<Scalar<Name>>>,
    /// IP address and port, where port 0 lets the system choose; or "unix:/path"
    /// for a socket in the file system.
    pub(in crate::config) bind: Field<Scalar<ListenAt>>,
    /// Permissions of the file of a "unix:/path": who may connect; absent:
    /// "0660".
    pub(in crate::config) mode: Option<Field<Scalar<FileMode>>>,
    /// Open connections; a further one closes the one that has been idle
    /// longest, or waits; absent: what the limit on open files allows.
    pub(in crate::config) max_connections: Option<Field<Connections>>,
    /// Longest head of a request; a longer one gets 431.
    // Browsers and other gateways stay below it, cookies included.
    #[serde(default = "Scalar::<HeadBytes>::kib::<32>")]
    pub(in crate::config) max_header_bytes: Field<Scalar<HeadBytes>>,
    /// Most header lines of a request; more get 431.
    // Real requests have 10 to 40 header lines; the other gateways allow 100
    // too.
    #[serde(default = "MostHeaders::value::<100>")]
    pub(in crate::config) max_headers: Field<MostHeaders>,
    /// HTTP/2 in addition to HTTP/1: by ALPN with TLS, by prior knowledge
    /// without TLS.
    #[serde(default = "on")]
    pub(in crate::config) http2: Field<bool>,
    /// Header lines whose name contains `_`, which many services take for `-`:
    /// "drop" drops them, "keep" passes them on.
    #[serde(default)]
    pub(in crate::config) underscores: Field<Underscores>,
    /// Clients of HTTP/1 that end their sending side before their response:
    /// "leave": they have left; "serve": they get it.
    #[serde(default)]
    pub(in crate::config) half_closed: Field<HalfClosed>,
    /// How long clients may take.
    pub(in crate::config) timeouts: Nested<ListenerTimeouts>,
    /// "required": each connection begins with a PROXY protocol header, version
    /// 1 or 2, that names the client; only behind a balancer that writes it.
    #[serde(default)]
    pub(in crate::config) proxy_protocol: Field<ProxyProtocol>,
    /// Redirects every request to https, with 308: `true` to port 443, a number to
    /// that port.
    #[serde(default)]
    pub(in crate::config) redirect_https: Field<SwitchOrPort>,
    /// If present, clients speak TLS.
    pub(in crate::config) tls: Nested<ListenerTls>,
}

/// How header lines whose name contains `_` are treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Underscores {
    /// They are left out of the request, and counted.
    // CGI and WSGI make one name of `X_Role` and `X-Role`, so that a line which
    // nobody looked for passes as another.
    #[default]
    Drop,
    /// They are passed on like others.
    Keep,
}

/// The meaning of the end of a client's sending side before its response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum HalfClosed {
    /// It has left, and its request is cancelled.
    // A client that is killed or gives up cannot be told from one that waits,
    // and nearly none waits: NGINX and Envoy decide the same.
    #[default]
    Leave,
    /// It waits for its response. It has left when a write fails.
    Serve,
}

/// Whether connections begin with a header of the PROXY protocol (HAProxy's
/// `proxy-protocol.txt`, versions 1 and 2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum ProxyProtocol {
    /// They do not.
    // A client that is believed about its address can be anybody.
    #[default]
    Off,
    /// All of them do.
    Required,
}

/// How long clients may take.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct ListenerTimeouts {
    /// Longest wait for a complete head, from the accept for the first request,
    /// from the first byte for others; then 408.
    // A slow radio link sends a head in a second; a client that needs ten does
    // it on purpose.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<10>")]
    pub(in crate::config) headers: Field<Scalar<PositiveDuration>>,
    /// Longest idle time between two requests.
    // NGINX's default: browsers come back within about a minute.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<75>")]
    pub(in crate::config) keep_alive: Field<Scalar<PositiveDuration>>,
    /// Longest TLS handshake, once the PROXY protocol header is read.
    // Two round trips and a signature; a client that needs longer is as slow as
    // with a head.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<10>")]
    pub(in crate::config) tls_handshake: Field<Scalar<PositiveDuration>>,
}

/// TLS towards clients. The files are watched: a change takes effect without a
/// restart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct ListenerTls {
    /// Certificates and their keys; the certificate is chosen by the name that
    /// the client requests (SNI), the first is the default; required unless
    /// there is `acme`.
    pub(in crate::config) certificates: Option<Field<Tables<Certificate>>>,
    /// Certificates that the gateway itself orders from an authority (ACME) and
    /// renews in time, beside `certificates` or instead of them; needs `[server]
    /// state_dir`.
    pub(in crate::config) acme: Nested<Acme>,
    /// If present, clients must present a certificate that one of these
    /// authorities signed, or that is itself in the file.
    pub(in crate::config) client_ca: Option<Field<Scalar<PemFile>>>,
    /// Oldest TLS version: "1.2" or "1.3".
    #[serde(default)]
    pub(in crate::config) min_version: Field<TlsVersion>,
}

/// Certificates that the gateway orders itself. With it, the terms of service
/// of the authority are agreed to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Acme {
    /// Host names, each of which gets a certificate; without `*`.
    pub(in crate::config) domains: Field<List<Scalar<Domain>>>,
    /// Address at which the authority can reach you; absent: it has none.
    pub(in crate::config) email: Option<Field<Scalar<EmailAddress>>>,
    /// Authority: "letsencrypt", "letsencrypt-staging", whose certificates only
    /// tests accept, or the URL of a directory.
    #[serde(default = "lets_encrypt")]
    pub(in crate::config) directory: Field<Scalar<AcmeDirectory>>,
    /// Authorities that the server of the directory is verified by (PEM);
    /// absent: those that the system trusts.
    pub(in crate::config) ca: Option<Field<Scalar<PemFile>>>,
    /// How the authority is shown that the domains are yours: "tls-alpn-01" by
    /// a handshake on port 443, "http-01" by a request on port 80.
    #[serde(default)]
    pub(in crate::config) challenge: Field<AcmeChallenge>,
}

/// The authority that most sites use, and that asks for no contract.
fn lets_encrypt() -> Field<Scalar<AcmeDirectory>> {
    Scalar::by_default("letsencrypt".to_owned())
}

/// A certificate and its key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Certificate {
    /// PEM file: the certificate, then those that lead to its authority.
    pub(in crate::config) cert: Field<Scalar<PemFile>>,
    /// PEM file: its private key, not encrypted.
    pub(in crate::config) key: Field<Scalar<PemFile>>,
}

/// The client's address, for keys and logs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct ClientIp {
    /// Networks whose header is believed; by default none, and the peer's
    /// address is the client.
    #[serde(default)]
    pub(in crate::config) trusted_proxies: Field<Set<Scalar<Network>>>,
    /// Field in which trusted proxies name the client: "x-forwarded-for" or
    /// "forwarded", read from the right past trusted hops, or another field,
    /// which holds one address.
    #[serde(default = "client_header")]
    pub(in crate::config) header: Field<Scalar<ClientHeader>>,
}

/// The field that most proxies write.
fn client_header() -> Field<Scalar<ClientHeader>> {
    Scalar::by_default("x-forwarded-for".to_owned())
}

/// The admin listener.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Admin {
    /// Address and port, or "off".
    #[serde(default = "admin_bind")]
    pub(in crate::config) bind: Field<Or<Off, Bind>>,
    /// Further values of `Host` that the listener accepts, besides its
    /// addresses and `localhost`.
    #[serde(default)]
    pub(in crate::config) hosts: Field<Set<Scalar<AdminHost>>>,
    /// File with the token that is needed for every call that changes something
    /// (`Authorization: Bearer ...`).
    pub(in crate::config) token_file: Option<Field<Scalar<FileName>>>,
}

/// Loopback: the admin listener shows much and can reload. The port is the one
/// that Envoy uses for the same.
fn admin_bind() -> Field<Or<Off, Bind>> {
    Or::by_default("127.0.0.1:9901".to_owned())
}

/// Redis or Valkey, for limits with scope = "shared".
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Store {
    /// "redis://host:port", or "rediss://" for TLS with the system's root
    /// certificates; a list of URLs is a cluster.
    pub(in crate::config) url: Field<OneOrList<Scalar<StoreAt>>>,
    /// File with the password, in one line; watched like the configuration.
    pub(in crate::config) password_file: Option<Field<Scalar<FileName>>>,
    /// Longest wait of one request for the store.
    // Twenty times what a store in the same network takes; no user notices it.
    #[serde(default = "Scalar::<PositiveDuration>::millis::<20>")]
    pub(in crate::config) timeout: Field<Scalar<PositiveDuration>>,
    /// Decision while the store does not respond: "local": this gateway counts
    /// alone; "allow": requests pass; "deny": requests get 503.
    #[serde(default)]
    pub(in crate::config) on_error: Field<StoreOnError>,
    /// Share of a burst that one gateway may take in advance for each key; with
    /// "0%" every request calls the store.
    // Ten gateways then hold at most half of a burst that the others cannot
    // use.
    #[serde(default = "Scalar::<Share>::percent::<5>")]
    pub(in crate::config) lease: Field<Scalar<Share>>,
}

/// Logs and access lines.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Log {
    /// Least severity that is logged: "error", "warn", "info", "debug" or
    /// "trace".
    #[serde(default)]
    pub(in crate::config) level: Field<LogLevel>,
    /// "json" or "text"; absent: text on a terminal, JSON otherwise.
    pub(in crate::config) format: Option<Field<LogFormat>>,
    /// One line for each request on stdout; everything else goes to stderr.
    #[serde(default = "on")]
    pub(in crate::config) access: Field<bool>,
    /// Query in access lines: "masked" hides the values of parameters that are
    /// keys of the route's limits or credentials of an identity, or whose name is
    /// that of a secret; "off" leaves it out; "full" writes it as received.
    #[serde(default)]
    pub(in crate::config) query: Field<LogQuery>,
    /// Further fields of access lines: "header:NAME" and "cookie:NAME" of the
    /// request, "response-header:NAME"; at most 16, 512 bytes of each.
    #[serde(default)]
    pub(in crate::config) fields: Field<Set<Scalar<LoggedField>>>,
    /// Access lines have a hash of the request's key for each limit of its
    /// route.
    #[serde(default)]
    pub(in crate::config) keys: Field<bool>,
    /// Share of the access lines that are written, by status such as "204" or
    /// class such as "2xx"; lines of refusals only by their status; absent: all.
    pub(in crate::config) sample: Option<Field<Pairs<LoggedStatus, Sampled>>>,
}

/// How the process ends.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Shutdown {
    /// Longest wait for requests in flight.
    // The default total timeout of a route: by then every request has its
    // response's head.
    #[serde(default = "Scalar::<AnyDuration>::secs::<30>")]
    pub(in crate::config) drain: Field<Scalar<AnyDuration>>,
    /// Time to continue accepting after `/readyz` has become 503, so that
    /// balancers notice.
    // Only balancers that poll `/readyz` need a delay.
    #[serde(default = "Scalar::<AnyDuration>::secs::<0>")]
    pub(in crate::config) delay: Field<Scalar<AnyDuration>>,
}
