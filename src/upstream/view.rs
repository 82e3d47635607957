//! What the admin listener and the metrics tell of servers.

use std::{net::SocketAddr, sync::Arc};

use tokio::time::Instant;

use super::{Upstream, health::HealthView, server::Server};

/// What `/upstreams` and the metrics say of a server.
#[derive(Debug, Clone)]
pub struct ServerView {
    /// Its URL.
    pub url: Arc<str>,
    /// Its share.
    pub weight: u32,
    /// The addresses known.
    pub addresses: Vec<SocketAddr>,
    /// It is sent requests: it is well, or none is and it is the best there is.
    pub up: bool,
    /// Its state, and how it came to that.
    pub health: HealthView,
    /// Requests that it is working on.
    pub in_flight: usize,
    /// Open connections.
    pub open: usize,
    /// Open connections that are unused.
    pub idle: usize,
}

impl Upstream {
    /// What there is to say of each server.
    pub fn servers(&self) -> Vec<ServerView> {
        let now = Instant::now();
        let in_use = self.balancer.in_use(now);
        let view = |(server, up): (&Arc<Server>, bool)| {
            let (open, idle) = server.pool.counts();
            let idle = idle + server.http2().map_or(0, |http2| http2.idle());
            ServerView {
                url: Arc::clone(&server.url),
                weight: server.weight,
                addresses: server.addresses.in_turn().0.to_vec(),
                up,
                health: server.health.view(now, self.policy.slow_start),
                in_flight: server.in_flight(),
                open,
                idle,
            }
        };
        self.balancer.servers.iter().zip(in_use).map(view).collect()
    }
}
