//! The names of an upstream's servers, looked up again and again on the control thread.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Upstream, address::Found, server::Server, ttl::NameServers};

impl Upstream {
    /// Looks the names up whose time has come: that of their records, as far as a name server tells it. Says what
    /// changed. Not to be called on a worker.
    pub async fn resolve(&self) {
        let now = Instant::now();
        let due: Vec<_> = self.balancer.servers.iter().filter(|server| server.addresses.is_due(now)).collect();
        if due.is_empty() {
            return;
        }
        let servers = NameServers::of_system();
        let lookups = due.into_iter().map(|server| async {
            let found = server.addresses.refresh(&servers).await;
            self.tell(server, &found);
        });
        futures_util::future::join_all(lookups).await;
    }

    fn tell(&self, server: &Arc<Server>, found: &Found) {
        let (upstream, server_url) = (&**self.name(), &*server.url);
        match found {
            Found::Same => {}
            Found::Changed => {
                let addresses = server.addresses.in_turn().0;
                tracing::info!(upstream, server = server_url, ?addresses, "name resolved");
            }
            Found::Failed(error) => {
                tracing::warn!(upstream, server = server_url, %error, "name not resolved; trying again");
            }
        }
    }
}
