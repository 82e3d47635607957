//! `[store]`.

use std::{sync::Arc, time::Duration};

use super::Secret;

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// At least one.
    pub servers: Vec<StoreServer>,
    /// The servers are nodes of a cluster.
    pub is_cluster: bool,
    /// Longest wait of one request.
    pub timeout: Duration,
    /// What happens while it does not answer.
    pub on_error: StoreOnError,
    /// Percent of a burst that a gateway may take ahead, at most 100.
    pub lease: u8,
}

/// One server of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreServer {
    /// Name or address (IPv6 without brackets).
    pub host: Arc<str>,
    /// The port, 6379 when the URL names none.
    pub port: u16,
    /// `rediss://`
    pub tls: bool,
    /// Number of the database; 0 in a cluster.
    pub database: u32,
    /// Absent: the store's default user.
    pub user: Option<Arc<str>>,
    /// From `password_file` or the URL.
    pub password: Option<Secret>,
}

/// What happens to requests while the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOnError {
    /// This gateway counts alone.
    Local,
    /// They pass.
    Allow,
    /// They are refused with 503.
    Deny,
}
