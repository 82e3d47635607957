//! `[store]`: the Redis or Valkey server in which limits are counted that
//! several gateways share.
//!
//! `build` opens the store from these settings, and `store` talks to it. A
//! reload that changes them opens another one.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The server, or some of the nodes of a cluster, from which the gateway
    /// learns the others. At least one.
    pub servers: Vec<StoreServer>,
    /// Whether the servers are nodes of a cluster: the URL was given as a list.
    pub is_cluster: bool,
    /// The longest wait of one request for the store. Above zero.
    pub timeout: Duration,
    /// The decision for requests while the store does not respond.
    pub on_error: StoreOnError,
    /// Percentage of a burst, 0 to 100, that a gateway may take in advance for
    /// a key. With 0, every request calls the store.
    pub lease: u8,
}

impl Store {
    /// The most tokens of a burst of `burst` that a gateway may take in advance
    /// for a key, rounded down.
    ///
    /// ```
    /// use tidegate::config;
    ///
    /// let text = r#"
    ///     [store]
    ///     url = "redis://10.0.0.9"
    ///     lease = "5%"
    ///     [[routes]]
    ///     name = "a"
    ///     respond = {}
    /// "#;
    /// let config = config::parse("tidegate.toml", text, &config::Environment::new()).unwrap();
    /// let store = config.store.unwrap();
    /// assert_eq!(store.addresses(), "10.0.0.9:6379");
    /// assert_eq!(store.most_ahead(199), 9);
    /// ```
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
    /// A host name, or an IP address (IPv6 without brackets).
    pub host: Arc<str>,
    /// The TCP port, 6379 if the URL names none.
    pub port: u16,
    /// Whether the gateway speaks TLS with it (`rediss://`), with the root
    /// certificates of the system.
    pub tls: bool,
    /// The number of the database; 0 in a cluster.
    pub database: u32,
    /// The user that the gateway logs in as; `None` for the store's default
    /// user.
    pub user: Option<Arc<str>>,
    /// The password, from `password_file` or the URL; `None` if the gateway
    /// does not log in.
    pub password: Option<Secret>,
}

/// The decision for requests while the store does not respond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreOnError {
    /// This gateway counts alone, in buckets of its own.
    #[default]
    Local,
    /// Requests pass.
    Allow,
    /// Requests are refused with 503.
    Deny,
}

impl StoreOnError {
    /// This value in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}
