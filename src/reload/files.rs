//! The number of connections that the configuration asks for, compared with the
//! limit on open files of the process.
//!
//! A connection that is accepted without a file descriptor for it makes
//! accepting fail in a loop, and a connect without one fails the request. So
//! the numbers of the configuration are reduced to what the system allows, and
//! the log says so and names the remedy.

use crate::{config::Config, policy};

/// Open files that the system allows, without those that the process itself
/// needs. Both are at least 1.
#[derive(Debug, Clone, Copy)]
pub struct Files {
    /// For connections of clients, over all listeners.
    pub clients: usize,
    /// For all connections, to clients and to servers.
    pub all: usize,
}

impl Files {
    /// The most connections of a listener: the configured number, or else as
    /// many as the system allows, and never more. Warns if more are configured.
    pub(super) fn max_connections(&self, listener: &policy::Listener) -> usize {
        let most = self.clients;
        let Some(asked) = listener
            .max_connections
            .map(usize::from)
            .filter(|asked| *asked > most)
        else {
            return listener.max_connections.map_or(most, Into::into);
        };
        tracing::warn!(
            listener = %listener.bind, max_connections = asked,
            "max_connections is more than the limit on open files allows: it counts as {most}. {HELP}"
        );
        most
    }

    /// Warns about pools that may hold more connections than the system allows
    /// in all. Their numbers stay: a connect that finds no descriptor is
    /// counted as `local`.
    pub(super) fn warn_of_pools(&self, config: &Config) {
        for upstream in config.called() {
            let asked = upstream.pool.max_connections.get();
            if asked > self.all {
                tracing::warn!(
                    upstream = &*upstream.name,
                    max_connections = asked,
                    "pool.max_connections is more than the limit on open files allows, {} for all connections: beyond it \
                     none is made (`local` in tidegate_upstream_connects_total). {HELP}",
                    self.all
                );
            }
        }
    }
}

/// The remedies.
const HELP: &str =
    "Raise the limit (LimitNOFILE= in a unit, ulimit -n in a shell), or lower max_connections";
