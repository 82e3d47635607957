//! Why a connection to a server could not be made: for messages, and as the
//! outcome in metrics.

use thiserror::Error as ThisError;

/// Why no connection to a server could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub enum ConnectFailure {
    /// The server, or the network on the way, refused the connection.
    #[error("connection refused")]
    Refused,
    /// The connection was not established within `connect_timeout`.
    #[error("timed out")]
    Timeout,
    /// The path of the server's socket leads to none that can be used, for
    /// this reason.
    #[error("no connection to its socket: {0}")]
    Socket(&'static str),
    /// The server's name has no address.
    #[error("its name could not be resolved")]
    Name,
    /// The TLS handshake failed, for this reason.
    #[error("TLS handshake failed: {0}")]
    Tls(&'static str),
    /// The server accepted the connection and then did not speak HTTP/2, or
    /// closed it at once.
    #[error("it does not speak HTTP/2")]
    NoHttp2,
    /// This process has no file descriptor, port or memory left for a
    /// connection.
    #[error("no local resources left")]
    Local,
}

impl ConnectFailure {
    /// The label `outcome` of `tidegate_upstream_connects_total`. A server that
    /// does not speak HTTP/2, or whose socket is missing, counts as one that
    /// refuses.
    pub fn outcome(self) -> &'static str {
        match self {
            ConnectFailure::Refused | ConnectFailure::Socket(_) | ConnectFailure::NoHttp2 => {
                "refused"
            }
            ConnectFailure::Timeout => "timeout",
            ConnectFailure::Name => "dns",
            ConnectFailure::Tls(_) => "tls",
            ConnectFailure::Local => "local",
        }
    }
}
