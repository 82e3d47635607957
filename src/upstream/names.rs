//! Keeping the names of an upstream's servers up to date, on the control
//! thread.
//!
//! `app::maintain` calls this at intervals, and earlier when a worker asks for
//! it. Each look-up is a task of its own; `address` decides when one is due,
//! `lookups` how many run at once, and `dns` how long the result is valid.

use std::sync::Arc;

use tokio::{
    task::{JoinHandle, spawn},
    time::Instant,
};

use super::{address::LookupOutcome, dns::NameServers, lookups, server::Server, service::Upstream};

impl Upstream {
    /// Starts a look-up of each name that is due: its time to live is over, or
    /// none of its addresses accepts connections.
    ///
    /// The look-ups are independent of each other, and go on when the handles
    /// are dropped. The log says what has changed. Call this on the control
    /// thread.
    pub(super) fn resolve(&self) -> Vec<JoinHandle<()>> {
        let now = Instant::now();
        let due = self
            .balancer
            .servers
            .iter()
            .filter(|server| server.addresses.begin(now));
        due.map(|server| spawn(look_up(Arc::clone(self.name()), Arc::clone(server))))
            .collect()
    }
}

/// Looks a server's name up once, and logs what has changed.
///
/// Never fails: a name that is not found keeps its addresses and is tried
/// again.
async fn look_up(upstream: Arc<str>, server: Arc<Server>) {
    let name_servers = NameServers::of_system().await;
    let report = |outcome: LookupOutcome| {
        let (upstream, url) = (&*upstream, &*server.url);
        match outcome {
            LookupOutcome::Unchanged => {}
            LookupOutcome::Changed => {
                // The next sweep closes idle connections to addresses that the
                // name no longer has.
                lookups::request_a_look();
                let addresses = server.addresses.all();
                tracing::info!(upstream, server = url, ?addresses, "name resolved");
            }
            LookupOutcome::Failed(error) => {
                tracing::warn!(upstream, server = url, %error, "name not resolved; trying again");
            }
        }
    };
    server.addresses.refresh(&name_servers, report).await;
}
