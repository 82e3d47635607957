//! The open files that the configuration asks for, held against the limit of the process.

use crate::{config::Config, policy};

/// Open files that the system allows, the process's own left out.
#[derive(Debug, Clone, Copy)]
pub struct Files {
    /// For connections of clients, over all listeners.
    pub clients: usize,
    /// For all connections.
    pub all: usize,
}

impl Files {
    /// Connections that a listener takes: what it asks for, or else as many as there may be, and never more. Warns where
    /// it asks for more.
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

    /// Warns of pools that would hold more connections than there may be of all kinds.
    pub(super) fn warn_of_pools(&self, config: &Config) {
        for upstream in &config.upstreams {
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

/// The two ways out.
const HELP: &str =
    "Raise the limit (LimitNOFILE= in a unit, ulimit -n in a shell), or lower max_connections";
