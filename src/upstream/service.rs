//! An upstream: its servers, how one is chosen, and what runs for it beside
//! requests.
//!
//! # Reloads
//!
//! A reload builds an [`Upstream`] of the new policy only if the policy has
//! changed ([`Upstream::implements`]). Servers that both have are carried over
//! with their connections, health and load, so that a reload costs no
//! connection and hides no failure. Requests on their way keep the upstream
//! that they were given.
//!
//! # Duties of the control thread
//!
//! Workers only send requests. The control thread starts the health checks, and
//! every few seconds calls [`Upstream::sweep`] and [`Upstream::resolve`], which
//! close idle connections, end ejections, and look names up.

use std::sync::{Arc, atomic::Ordering};

use parking_lot::Mutex;
use tokio::{task::JoinSet, time::Instant};

use super::{
    balance::Balancer,
    health::{self, Ejector},
    server::Server,
};
use crate::{policy, telemetry::UpstreamMetrics, tls::ClientTls};

/// A named set of interchangeable servers.
#[derive(Debug)]
pub struct Upstream {
    pub(super) policy: Arc<policy::Upstream>,
    /// TLS with the servers that speak it; `None` if none does.
    tls: Option<Arc<ClientTls>>,
    pub(super) balancer: Balancer,
    pub(super) ejector: Ejector,
    /// The tasks that check the servers, which end when this is dropped.
    checks: Mutex<JoinSet<()>>,
    pub(super) metrics: Arc<UpstreamMetrics>,
}

impl Upstream {
    /// Builds an upstream with these `servers`, none of which is a name of SRV
    /// records. Servers that `earlier`, the upstream of the same name before,
    /// has as well keep their connections, their health and their load.
    ///
    /// Blocks to read the system's trusted certificates if they are needed and
    /// `earlier` does not have them.
    ///
    /// # Errors
    /// TLS cannot be built of the policy; the text says why.
    pub(super) fn new(
        policy: Arc<policy::Upstream>,
        servers: &[policy::UpstreamServer],
        earlier: Option<&Self>,
        workers: usize,
        metrics: Arc<UpstreamMetrics>,
    ) -> Result<Self, String> {
        let tls = client_tls(&policy, earlier)?;
        let tls_ref = tls.as_ref();
        let server = |server: &policy::UpstreamServer| {
            let same_url = |old: &&Arc<Server>| old.url == server.url;
            let known = earlier.and_then(|earlier| earlier.balancer.servers.iter().find(same_url));
            Arc::new(match known {
                Some(known) => known.reconfigured(&policy, server, tls_ref, workers),
                None => Server::new(&policy, server, tls_ref, workers),
            })
        };
        let servers: Vec<_> = servers.iter().map(server).collect();
        let health = servers
            .iter()
            .map(|server| (Arc::clone(&server.health), server.weight));
        let ejector = Ejector::new(policy.ejection.clone(), policy.slow_start, health);
        let balancer = Balancer::new(Arc::clone(&policy), servers);
        Ok(Self {
            policy,
            tls,
            balancer,
            ejector,
            checks: Mutex::default(),
            metrics,
        })
    }

    /// Whether a reload to `policy` can keep this upstream as it is.
    pub(super) fn implements(&self, policy: &policy::Upstream) -> bool {
        // The concurrency limit is enforced by a layer, and so does not count.
        let policy::Upstream {
            name,
            servers,
            protocol,
            balance,
            hash_bound,
            concurrency: _,
            slow_start,
            cool_down,
            health_check,
            ejection,
            proxy_protocol,
            pool,
            tls,
        } = &*self.policy;
        *name == policy.name
            && *servers == policy.servers
            && *protocol == policy.protocol
            && *balance == policy.balance
            && *hash_bound == policy.hash_bound
            && *slow_start == policy.slow_start
            && *cool_down == policy.cool_down
            && *health_check == policy.health_check
            && *ejection == policy.ejection
            && *proxy_protocol == policy.proxy_protocol
            && *pool == policy.pool
            && *tls == policy.tls
    }

    /// The name that identifies it across reloads.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.policy.name
    }

    /// Whether HTTP/2 is spoken with every server, as far as is known.
    pub(super) fn can_speak_http2(&self) -> bool {
        let servers = &self.balancer.servers;
        servers.iter().all(|server| server.http2().is_some())
    }

    /// Starts the health checks, unless they run already. Call this on the
    /// control thread once requests are sent here.
    pub(super) fn start_checks(&self) {
        let mut checks = self.checks.lock();
        if !checks.is_empty() {
            return;
        }
        for server in &self.balancer.servers {
            match &self.policy.health_check {
                Some(check) => {
                    checks.spawn(health::check_regularly(
                        Arc::clone(server),
                        check.clone(),
                        self.policy.slow_start,
                    ));
                }
                None => server.health.end_checks(Instant::now()),
            }
        }
    }

    /// Stops the health checks, because another upstream has taken this one's
    /// place.
    pub(super) fn stop_checks(&self) {
        self.checks.lock().abort_all();
    }

    /// Logs health checks that have ended, which they do only by a panic.
    fn watch_checks(&self) {
        while let Some(ended) = self.checks.lock().try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(upstream = &**self.name(), %error, "a health check has ended; its server keeps its state");
            }
        }
    }

    /// Closes idle connections that are too old or that their server has
    /// closed, ends ejections and cool-downs whose time is over, and tries to
    /// connect to servers that are ejected for refusing connections. Returns
    /// whether there is none of the latter. Call this every few seconds on the
    /// control thread.
    pub(super) fn sweep(&self) -> bool {
        let (now, slow_start) = (Instant::now(), self.policy.slow_start);
        let mut all_reachable = true;
        self.watch_checks();
        for server in &self.balancer.servers {
            server.http1.sweep();
            server.health.settle(now, slow_start);
            if server.health.is_unreachable() {
                all_reachable = false;
                if !server.health.is_being_tried.swap(true, Ordering::Relaxed) {
                    tokio::spawn(health::try_to_reach(Arc::clone(server), slow_start));
                }
            }
            if let Some(http2) = server.http2() {
                http2.sweep();
            }
        }
        all_reachable
    }
}

/// TLS with the servers of an upstream: that of `earlier`, with its sessions,
/// if the policy is the same. `None` if no server speaks it.
fn client_tls(
    policy: &policy::Upstream,
    earlier: Option<&Upstream>,
) -> Result<Option<Arc<ClientTls>>, String> {
    let is_plain = |server: &policy::UpstreamServer| server.secure_as.is_none();
    if policy.servers.iter().all(is_plain) {
        return Ok(None);
    }
    let kept = earlier
        .and_then(|earlier| earlier.tls.as_ref())
        .filter(|tls| tls.implements(&policy.tls, policy.protocol));
    match kept {
        Some(tls) => Ok(Some(Arc::clone(tls))),
        None => ClientTls::new(&policy.tls, policy.protocol).map(|tls| Some(Arc::new(tls))),
    }
}
