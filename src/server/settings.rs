//! Settings of a listener that a reload replaces as a whole, while its sockets
//! and connections stay.

use std::{net::SocketAddr, sync::Arc};

use ipnet::IpNet;

use crate::{limit::AddressBans, message::Origin, policy, telemetry::FixedFields, tls::ServerTls};

/// Settings that may change while a listener stays open. They apply to new
/// connections.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// The name of the listener, as access lines have it.
    pub fields: Arc<FixedFields>,
    /// The listener as it is configured.
    pub policy: policy::Listener,
    /// Most open connections over all workers, at least 1: the configured
    /// number, as far as the limit on open files allows.
    pub max_connections: usize,
    /// Most open connections of one client over all listeners, at least 1.
    pub max_per_client: usize,
    /// Peers that connect for many clients: their connections are not counted
    /// by address.
    pub trusted: Arc<[IpNet]>,
    /// The TLS that the policy asks for; `None` for a plain listener.
    pub tls: Option<ServerTls>,
    /// Limits whose bans close connections.
    pub bans: Arc<[AddressBans]>,
}

impl ListenerSettings {
    /// A plain connection from `peer` to `local`, accepted under these settings.
    pub(super) fn origin(&self, peer: SocketAddr, local: SocketAddr) -> Origin {
        let mut origin = Origin::new(Arc::clone(&self.fields), peer, local);
        origin.redirect_https = self.policy.redirect_https;
        origin
    }
}
