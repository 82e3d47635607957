//! Where the store is and how long it may take.

use std::{fmt, sync::Arc, time::Duration};

/// What a [`Store`](super::Store) is made of.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// One server, or some of the nodes of a cluster.
    pub servers: Vec<Server>,
    /// Whether the servers form a cluster.
    pub is_cluster: bool,
    /// Longest wait of one request.
    pub timeout: Duration,
    /// What happens to requests while the store does not answer.
    pub on_error: OnError,
    /// Percent of a burst that one gateway may take ahead for a key, up to 100.
    pub lease: u8,
}

/// One server of a store.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Name or address.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// Whether it is spoken to by TLS, under the system's roots.
    pub tls: bool,
    /// Number of the database.
    pub database: u32,
    /// Who the gateway says it is, where that is not the default user.
    pub user: Option<Arc<str>>,
    /// What it then has to know.
    pub password: Option<Arc<str>>,
}

/// What happens to a request while the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// This gateway counts alone.
    Local,
    /// It passes.
    Allow,
    /// It is refused with 503.
    Deny,
}

impl OnError {
    pub(super) fn name(self) -> &'static str {
        match self {
            OnError::Local => "local",
            OnError::Allow => "allow",
            OnError::Deny => "deny",
        }
    }
}

impl Settings {
    /// Tokens of a burst that may be taken ahead.
    pub(super) fn most_ahead(&self, burst: u64) -> u32 {
        u32::try_from(burst.saturating_mul(self.lease.into()) / 100).unwrap_or(u32::MAX)
    }

    /// The servers for a log: no user, no password.
    pub(super) fn shown(&self) -> String {
        self.servers
            .iter()
            .map(|server| format!("{server:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl fmt::Debug for Server {
    /// Without what must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}
