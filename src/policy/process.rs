//! Settings of the process: workers, listeners, the client's address, the admin
//! listener and shutdown.
//!
//! A reload applies most of them at once. `workers`, `state_dir` and the format
//! of logs are read once at the start, and a reload that changes them says so.

use std::{
    fmt,
    net::SocketAddr,
    num::{NonZeroU16, NonZeroUsize},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::HeaderName;
use ipnet::IpNet;

use super::ListenerTls;

/// `[server]`: the process itself, and bounds over all of its listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Worker threads, 1 to 1,024; `None` is one for each core that this
    /// process may use.
    pub workers: Option<NonZeroUsize>,
    /// Open connections of one client over all listeners, which is one IPv4
    /// address or one IPv6 network of 64 bits. `None` is a tenth of each
    /// listener's `max_connections`, at least 10.
    pub max_connections_per_client: Option<NonZeroUsize>,
    /// The folder for the state that limits with `persist` keep across a
    /// restart. It belongs to this process alone. `None` if nothing is kept.
    pub state_dir: Option<PathBuf>,
    /// Bytes of bodies that all routes together may buffer at once. When they
    /// are used up, further bodies are streamed and not buffered.
    pub max_buffered: usize,
}

/// One of `[[listeners]]`: an address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name in logs, metrics and routes; no two listeners have the same.
    /// `None`: it is on port 0 and was given no name, and is called by the
    /// address that the system chooses.
    pub name: Option<Arc<str>>,
    /// Where it listens. No two listeners have an address in common.
    pub bind: ListenAddress,
    /// The permissions of the file of a socket, at most 0o777.
    pub mode: u32,
    /// Open connections over all workers; `None` is as many as the process's
    /// limit on open files allows.
    pub max_connections: Option<NonZeroUsize>,
    /// The limits of each connection.
    pub limits: ConnectionLimits,
    /// The longest TLS handshake, counted from the end of the PROXY protocol
    /// header if there is one. Above zero.
    pub tls_handshake: Duration,
    /// Whether connections begin with a PROXY protocol header, version 1 or 2,
    /// that names the client. A connection without one is closed.
    pub proxy_protocol: bool,
    /// TLS with clients; `None` if the listener speaks plain HTTP.
    pub tls: Option<ListenerTls>,
    /// The port of https to which every request is redirected; `None` if they are
    /// served.
    pub redirect_https: Option<NonZeroU16>,
}

impl Listener {
    /// Its identity over reloads.
    pub fn key(&self) -> ListenerKey {
        let is_any_port = self.bind.is_any_port();
        ListenerKey {
            bind: self.bind.clone(),
            name: self.name.clone().filter(|_| is_any_port),
        }
    }
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenAddress {
    /// An address and a port; port 0 lets the system choose.
    Ip(SocketAddr),
    /// A socket in the file system, by its absolute path of at most 107 bytes.
    Unix(Arc<Path>),
}

impl ListenAddress {
    /// The address and port; `None` for a socket in the file system.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether the system chooses the port.
    pub fn is_any_port(&self) -> bool {
        self.ip().is_some_and(|address| address.port() == 0)
    }
}

/// As in the file.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The identity of a listener over reloads: its address. Its name may change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerKey {
    /// The address as it is configured.
    pub bind: ListenAddress,
    /// For port 0, which several listeners may have, the name too.
    pub name: Option<Arc<str>>,
}

/// The limits of one connection of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Bounds on the head of each request.
    pub head: HeadLimits,
    /// The longest wait for a whole head: from the accept for the first
    /// request, from the first byte for others. Above zero.
    pub headers_timeout: Duration,
    /// The longest idle time between two requests. Above zero.
    pub keep_alive: Duration,
    /// Whether HTTP/2 is spoken beside HTTP/1.
    pub http2: bool,
    /// Whether a client of HTTP/1 that has ended its sending side still gets its
    /// response; otherwise it has left.
    pub serves_half_closed: bool,
}

/// Bounds on the head of a request, in HTTP/1 and HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, 256 to 1 MiB; a longer one gets 431.
    pub bytes: usize,
    /// Header lines, 1 to 10,000; more get 431.
    pub headers: usize,
    /// Whether lines whose name contains `_` are passed on; otherwise they are
    /// dropped. CGI and its descendants treat `X_Role` as `X-Role`, so that
    /// such a line can pass for a field that the gateway sets or removes.
    pub keeps_underscores: bool,
}

/// `[client_ip]`: how the address of a request's client is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIp {
    /// Peers whose header is believed. Empty: none is, and the peer's address
    /// is the client's.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which these peers name the client.
    pub header: ClientIpHeader,
}

/// The header in which trusted proxies name the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientIpHeader {
    /// A list of the hops that the request came through.
    Hops(HopsField),
    /// Any other field, which holds one address: that of the client.
    Single(HeaderName),
}

/// A field to which each proxy adds a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopsField {
    /// `X-Forwarded-For`, a list of addresses.
    XForwardedFor,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}

/// `[admin]`: the listener for metrics, health, views and reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The address and port; no address in common with a listener.
    pub bind: SocketAddr,
    /// Further values of `Host` that are accepted besides its addresses and
    /// `localhost`: in lower case, with the port if it was configured with one.
    pub hosts: Vec<String>,
    /// The token that changing calls need, read from `token_file` without
    /// surrounding blanks: one word of printable ASCII. `None` if no call needs
    /// one.
    pub token: Option<Secret>,
}

/// A value that never shows itself in `Debug`, so that it cannot reach a log by
/// the way of a larger value.
///
/// ```
/// use tidegate::policy::Secret;
///
/// assert_eq!(format!("{:?}", Secret("hunter2".to_owned())), "[redacted]");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `[shutdown]`: how the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// The longest wait for requests in flight; those that are left then are
    /// cut. Zero cuts them at once.
    pub drain: Duration,
    /// The time in which the gateway still accepts after `/readyz` has become
    /// 503, so that balancers stop sending.
    pub delay: Duration,
}
