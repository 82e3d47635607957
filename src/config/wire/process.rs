//! The sections about the process: `server`, `listeners`, `client_ip`, `admin`,
//! `store`, `log`, `shutdown`.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::field::Field,
    lists::{OneOrList, Set, Tables},
    numbers::on,
    numbers::{Whole, Workers},
    syntaxes::{
        AdminHost, AnyDuration, Bind, Bytes, FileName, HeadBytes, Network, PemFile,
        PositiveDuration, Share, StoreAt,
    },
    text::{Off, Or, Text},
};
use crate::policy::{ClientIpHeader, LogFormat, LogLevel, LogQuery, StoreOnError, TlsVersion};

/// Far more than a process may have open files.
type Connections = Whole<NonZeroUsize, 1, 10_000_000>;
type MostHeaders = Whole<usize, 1, 10_000>;

/// The process itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Server {
    /// Memory for all bodies that routes buffer; beyond it, bodies stream.
    // Half of what a small container has; a quarter of a thousand uploads of 1
    // MiB at once.
    #[serde(default = "Text::<Bytes>::mib::<256>")]
    pub(in crate::config) max_buffered: Field<Text<Bytes>>,
    /// Worker threads: "auto" is one per core this process may use. Needs a
    /// restart.
    #[serde(default)]
    pub(in crate::config) workers: Field<Workers>,
    /// Open connections of one client, over all listeners: of an IPv4 address,
    /// of an IPv6 network of 64 bits; more are closed at once. Absent: a tenth
    /// of the listener's max_connections, at least 10.
    pub(in crate::config) max_connections_per_client: Option<Field<Connections>>,
    /// A folder of this process alone, for what `persist` of limits keeps over
    /// a restart; made when it is absent. Needs a restart.
    pub(in crate::config) state_dir: Option<Field<Text<FileName>>>,
}

/// An address on which clients connect.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Listener {
    /// IP address and port; port 0 lets the system choose.
    pub(in crate::config) bind: Field<Text<Bind>>,
    /// Open connections; a further one closes the one that has idled longest,
    /// or waits. Absent: what the file limit allows.
    pub(in crate::config) max_connections: Option<Field<Connections>>,
    /// Longest head of a request; more is 431.
    // Browsers and other gateways stay below it, cookies included.
    #[serde(default = "Text::<HeadBytes>::kib::<32>")]
    pub(in crate::config) max_header_bytes: Field<Text<HeadBytes>>,
    /// Most header lines of a request; more is 431.
    // Real requests have 10 to 40 header lines; the other gateways allow 100
    // too.
    #[serde(default = "MostHeaders::value::<100>")]
    pub(in crate::config) max_headers: Field<MostHeaders>,
    /// HTTP/2 is spoken, too: with TLS where ALPN agrees on it, without by
    /// prior knowledge.
    #[serde(default = "on")]
    pub(in crate::config) http2: Field<bool>,
    /// Header names with `_`, which many services take for `-`: "drop" takes
    /// such lines out, "keep" passes them on.
    #[serde(default)]
    pub(in crate::config) underscores: Field<Underscores>,
    /// How long clients may take.
    pub(in crate::config) timeouts: Option<Field<ListenerTimeouts>>,
    /// "required": every connection begins with a PROXY protocol header (v1 or
    /// v2) that names the client. Only behind a balancer that writes it.
    #[serde(default)]
    pub(in crate::config) proxy_protocol: Field<ProxyProtocol>,
    /// Present: clients speak TLS.
    pub(in crate::config) tls: Option<Field<ListenerTls>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Underscores {
    // CGI and WSGI make one name of `X_Role` and `X-Role`, so that a line which
    // nobody looked for passes as another.
    #[default]
    Drop,
    Keep,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum ProxyProtocol {
    #[default]
    Off,
    Required,
}

/// How long clients may take.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct ListenerTimeouts {
    /// The whole head of a request, from its first byte; of the first, from the
    /// accept. Then 408.
    // A slow radio link sends a head in a second; a client that needs ten does
    // it on purpose.
    #[serde(default = "Text::<PositiveDuration>::secs::<10>")]
    pub(in crate::config) headers: Field<Text<PositiveDuration>>,
    /// Longest life of an idle connection.
    // NGINX's default: browsers come back within about a minute.
    #[serde(default = "Text::<PositiveDuration>::secs::<75>")]
    pub(in crate::config) keep_alive: Field<Text<PositiveDuration>>,
    /// Longest TLS handshake, once the PROXY protocol header is read.
    // Two round trips and a signature; a client that needs longer is as slow as
    // with a head.
    #[serde(default = "Text::<PositiveDuration>::secs::<10>")]
    pub(in crate::config) tls_handshake: Field<Text<PositiveDuration>>,
}

/// TLS towards clients. The files are watched: a change takes effect without a
/// restart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct ListenerTls {
    /// Certificates and their keys. The names inside choose by what the client
    /// asks for (SNI); the first is the default.
    pub(in crate::config) certificates: Field<Tables<Certificate>>,
    /// Present: clients must show a certificate that one of these authorities
    /// signed, or that is itself in the file.
    pub(in crate::config) client_ca: Option<Field<Text<PemFile>>>,
    /// The oldest version of TLS that is spoken.
    #[serde(default)]
    pub(in crate::config) min_version: Field<TlsVersion>,
}

/// A certificate and its key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Certificate {
    /// PEM file: the certificate, then those that lead to its authority.
    pub(in crate::config) cert: Field<Text<PemFile>>,
    /// PEM file: its private key, not encrypted.
    pub(in crate::config) key: Field<Text<PemFile>>,
}

/// The client's address, for keys and logs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct ClientIp {
    /// Peers whose header is believed. Absent: nobody, the peer's address is
    /// the client.
    #[serde(default)]
    pub(in crate::config) trusted_proxies: Field<Set<Text<Network>>>,
    /// Where trusted proxies name the client; walked from the right, past
    /// trusted hops only.
    #[serde(default)]
    pub(in crate::config) header: Field<ClientIpHeader>,
}

/// The admin listener.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Admin {
    /// Its address, or "off" for none.
    #[serde(default = "admin_bind")]
    pub(in crate::config) bind: Field<Or<Off, Bind>>,
    /// Other names it may be called by; its addresses and localhost always
    /// work.
    #[serde(default)]
    pub(in crate::config) hosts: Field<Set<Text<AdminHost>>>,
    /// A file with a token; when given, every call that changes something needs
    /// it (Authorization: Bearer ...).
    pub(in crate::config) token_file: Option<Field<Text<FileName>>>,
}

/// Loopback: the admin listener shows much and can reload. The port is the one
/// that Envoy uses for the same.
fn admin_bind() -> Field<Or<Off, Bind>> {
    Or::text_by_default("127.0.0.1:9901")
}

/// Redis or Valkey, for limits with scope = "shared".
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Store {
    /// "redis://host:port", or "rediss://" for TLS under the system's roots; a
    /// list of urls is a cluster.
    pub(in crate::config) url: Field<OneOrList<Text<StoreAt>>>,
    /// A file with the password; it is watched, and a change is used at once.
    pub(in crate::config) password_file: Option<Field<Text<FileName>>>,
    /// Longest wait of one request for the store.
    // Twenty times what a store in the same network takes; no user notices it.
    #[serde(default = "Text::<PositiveDuration>::millis::<20>")]
    pub(in crate::config) timeout: Field<Text<PositiveDuration>>,
    /// While the store does not answer: "local" (this gateway counts alone),
    /// "allow", or "deny" with 503.
    #[serde(default)]
    pub(in crate::config) on_error: Field<StoreOnError>,
    /// Share of a burst that one gateway may take ahead for each key; "0%":
    /// every request asks the store.
    // Ten gateways then hold at most half of a burst that the others cannot
    // use.
    #[serde(default = "Text::<Share>::percent::<5>")]
    pub(in crate::config) lease: Field<Text<Share>>,
}

/// Logs and access lines.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Log {
    /// Least severity that is written.
    #[serde(default)]
    pub(in crate::config) level: Field<LogLevel>,
    /// Shape of a line. Absent: text on a terminal, json elsewhere.
    pub(in crate::config) format: Option<Field<LogFormat>>,
    /// One line a request on stdout; everything else goes to stderr.
    #[serde(default = "on")]
    pub(in crate::config) access: Field<bool>,
    /// How access lines tell the query: "masked" hides the values of parameters
    /// that are keys of the route's limits, or whose name is that of a secret;
    /// "off" leaves it out; "full" writes it as received.
    #[serde(default)]
    pub(in crate::config) query: Field<LogQuery>,
}

/// How the process ends.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Shutdown {
    /// Longest wait for requests in flight.
    // The default total timeout of a route: by then every request has its
    // response's head.
    #[serde(default = "Text::<AnyDuration>::secs::<30>")]
    pub(in crate::config) drain: Field<Text<AnyDuration>>,
    /// Keep accepting this long after /readyz turned 503.
    // Only balancers that poll `/readyz` need a delay.
    #[serde(default = "Text::<AnyDuration>::secs::<0>")]
    pub(in crate::config) delay: Field<Text<AnyDuration>>,
}
