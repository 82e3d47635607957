//! A whole configuration: every section resolved, and what the files told
//! beside it.
//!
//! It is plain data of [`policy`](crate::policy) without connections, threads
//! or clocks; `build` makes the running parts from it. It is compared with the
//! one before at a reload, to say what changed and to keep what did not: parts
//! of a list are shared by [`Arc`] with the snapshots that use them.

use std::sync::Arc;

use super::{diagnostic::Diagnostics, watched::Watched};
use crate::policy::{
    Admin, Authentication, ClientIp, Identity, Limit, Listener, Log, Route, Server, Shutdown,
    Store, Traces, Upstream,
};

/// A whole configuration, ready to be built.
#[derive(Debug, Clone)]
pub struct Config {
    /// The process itself.
    pub server: Server,
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// How the client of a request is identified.
    pub client_ip: ClientIp,
    /// The admin listener; `None` when switched off.
    pub admin: Option<Admin>,
    /// Where limits with `scope = "shared"` are counted.
    pub store: Option<Store>,
    /// Logs and access lines.
    pub log: Log,
    /// Which requests are recorded for a collector; `None` if none are.
    pub traces: Option<Traces>,
    /// How long a drain may take.
    pub shutdown: Shutdown,
    /// Services behind the gateway, in name order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Ways to authenticate clients, in name order.
    pub identities: Vec<Arc<Identity>>,
    /// Token buckets and caps on requests in flight, in name order.
    pub limits: Vec<Arc<Limit>>,
    /// Routes in file order.
    pub routes: Vec<Arc<Route>>,
    /// The files that were read and the folders that were searched, to be
    /// watched.
    pub watched: Watched,
    /// Settings that are allowed and yet surely not meant.
    pub warnings: Arc<Diagnostics>,
    /// As it was written, with the defaults of routes merged in. The view of
    /// [`Config::shown`] is made from it.
    pub(in crate::config) tree: Arc<super::tree::Table>,
}

impl Config {
    /// Everything that requests are sent to: the upstreams, and the services
    /// that identities ask.
    pub fn called(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let asked = self.identities.iter().filter_map(|one| match &one.method {
            Authentication::Forward(forward) => Some(&forward.upstream),
            Authentication::ApiKeys(_) | Authentication::Jwt(_) => None,
        });
        self.upstreams.iter().chain(asked)
    }

    /// The sections that are another in `after`, by their names in the file.
    /// Every field is named here, so that the compiler asks for a new one.
    pub fn changed_sections(&self, after: &Self) -> Vec<&'static str> {
        let Self {
            server,
            listeners,
            client_ip,
            admin,
            store,
            log,
            traces,
            shutdown,
            upstreams,
            identities,
            limits,
            routes,
            watched: _,
            warnings: _,
            tree: _,
        } = self;
        let sections = [
            ("server", *server != after.server),
            ("listeners", *listeners != after.listeners),
            ("client_ip", *client_ip != after.client_ip),
            ("admin", *admin != after.admin),
            ("store", *store != after.store),
            ("log", *log != after.log),
            ("traces", *traces != after.traces),
            ("shutdown", *shutdown != after.shutdown),
            ("upstreams", *upstreams != after.upstreams),
            ("identities", *identities != after.identities),
            ("limits", *limits != after.limits),
            ("routes", *routes != after.routes),
        ];
        sections
            .into_iter()
            .filter_map(|(name, is_changed)| is_changed.then_some(name))
            .collect()
    }
}
