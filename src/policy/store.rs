//! `[store]`: where limits are counted that several gateways share.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The server, or some of the nodes of a cluster, which then tell the
    /// others. At least one.
    pub servers: Vec<StoreServer>,
    /// The servers are nodes of a cluster.
    pub is_cluster: bool,
    /// Longest wait of one request.
    pub timeout: Duration,
    /// What happens to requests while the store does not answer.
    pub on_error: StoreOnError,
    /// Percent of a burst that a gateway may take ahead for a key, at most 100.
    pub lease: u8,
}

impl Store {
    /// The most tokens of a burst of `burst` that a gateway may take ahead for
    /// a key.
    pub fn most_ahead(&self, burst: u64) -> u32 {
        u32::try_from(burst.saturating_mul(self.lease.into()) / 100).unwrap_or(u32::MAX)
    }

    /// The servers as `host:port`, joined by commas: for logs and metrics,
    /// without user and password.
    pub fn addresses(&self) -> String {
        let servers = self.servers.iter();
        let addresses: Vec<_> = servers
            .map(|server| format!("{}:{}", server.host, server.port))
            .collect();
        addresses.join(", ")
    }
}

/// One server of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreServer {
    /// Name or address (IPv6 without brackets).
    pub host: Arc<str>,
    /// The port, 6379 when the URL names none.
    pub port: u16,
    /// `rediss://`: the gateway speaks TLS to it, and trusts the roots of the
    /// system.
    pub tls: bool,
    /// Number of the database; 0 in a cluster.
    pub database: u32,
    /// The user that the gateway logs in as; `None` for the store's default
    /// user.
    pub user: Option<Arc<str>>,
    /// From `password_file` or the URL.
    pub password: Option<Secret>,
}

/// What happens to requests while the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreOnError {
    /// This gateway counts alone.
    #[default]
    Local,
    /// They pass.
    Allow,
    /// They are refused with 503.
    Deny,
}

impl StoreOnError {
    /// The value of `on_error` in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}
