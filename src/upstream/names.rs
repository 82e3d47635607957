//! The names of an upstream's servers, looked up again and again on the control thread.

use std::sync::Arc;

use tokio::{
    task::{JoinHandle, spawn},
    time::Instant,
};

use super::{
    Upstream,
    address::{self, Found},
    server::Server,
    ttl::NameServers,
};

impl Upstream {
    /// Begins to look the names up whose time has come: that of their records, as far as a name server tells it, or when none
    /// of their addresses takes connections. The log says what changed. Each name by itself; look-ups go on when what is
    /// returned is dropped. To be called on the control thread.
    pub fn resolve(&self) -> Vec<JoinHandle<()>> {
        let now = Instant::now();
        let due = self
            .balancer
            .servers
            .iter()
            .filter(|server| server.addresses.begin(now));
        due.map(|server| spawn(look_up(Arc::clone(self.name()), Arc::clone(server))))
            .collect()
    }

    /// Waits until an upstream should be looked at before its time: a name is in doubt or has other addresses, or a server has
    /// been ejected as no connection to it can be made.
    pub async fn wants_a_look() {
        address::wanted().await;
    }
}

async fn look_up(upstream: Arc<str>, server: Arc<Server>) {
    let servers = NameServers::of_system().await;
    let tell = |found: Found| {
        let (upstream, server_url) = (&*upstream, &*server.url);
        match found {
            Found::Same => {}
            Found::Changed => {
                // Connections to addresses that it no longer has are closed then.
                address::want_a_look();
                let addresses = server.addresses.in_turn().0;
                tracing::info!(upstream, server = server_url, ?addresses, "name resolved");
            }
            Found::Failed(error) => {
                tracing::warn!(upstream, server = server_url, %error, "name not resolved; trying again");
            }
        }
    };
    server.addresses.refresh(&servers, tell).await;
}
