//! The state of servers as the admin listener and the metrics show it.

use std::{net::SocketAddr, sync::Arc};

use serde::Serialize;
use tokio::time::Instant;

use super::{health::HealthView, server::Server, service::Upstream};

/// The state of a server, for `/upstreams` and the metrics.
#[derive(Debug, Clone)]
pub struct ServerView {
    /// The server's URL as configured.
    pub url: Arc<str>,
    /// The server's share of requests, relative to the other servers; 0 for
    /// none.
    pub weight: u32,
    /// Whether it gets requests only while no other server is available.
    pub is_backup: bool,
    /// The known addresses.
    pub addresses: Vec<SocketAddr>,
    /// Whether its health lets it have requests: it is healthy, or no server is
    /// and it is among the best that are left. A backup and a server without
    /// weight may be up and get none.
    pub up: bool,
    /// The state of its health, and the reason for it.
    pub health: HealthView,
    /// Requests that the server is working on.
    pub in_flight: usize,
    /// Open connections.
    pub open: usize,
    /// Open connections that are idle.
    pub idle: usize,
}

/// The state of the SRV records that an entry of the configuration stands for.
#[derive(Debug, Serialize)]
pub struct SrvView {
    /// The entry as configured.
    pub url: String,
    /// How many servers the records name.
    pub servers: usize,
    /// Why the last look-up failed; `None` if it did not. The servers are then
    /// those of the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Upstream {
    /// The state of every server, in the order of the configuration.
    pub(super) fn servers(&self) -> Vec<ServerView> {
        let now = Instant::now();
        let in_use = self.balancer.in_use(now);
        let view = |(server, up): (&Arc<Server>, bool)| ServerView {
            url: Arc::clone(&server.url),
            weight: server.weight,
            is_backup: server.tier > 0,
            addresses: server.addresses.all().to_vec(),
            up,
            health: server.health.view(now, self.policy.slow_start),
            in_flight: server.in_flight(),
            open: server.capacity.open(),
            idle: server.http1.idle() + server.http2().map_or(0, |http2| http2.idle()),
        };
        self.balancer.servers.iter().zip(in_use).map(view).collect()
    }
}
