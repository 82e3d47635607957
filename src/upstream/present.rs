//! The upstream of a name at present.
//!
//! The servers of most upstreams are those of the configuration, and change
//! with a reload. SRV records change while the gateway runs: the control thread
//! then builds another [`Upstream`] in the way of a reload, so that servers
//! which are still there keep their connections, health and load, and puts it
//! in the place of the one before. Requests on their way keep the servers that
//! they were given.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::{
    task::{JoinHandle, spawn},
    time::{Instant, timeout},
};

use super::{
    dns::NameServers,
    lookups,
    service::Upstream,
    srv::{SrvOutcome, SrvRecords},
    view::{ServerView, SrvView},
};
use crate::{
    policy::{self, UpstreamServer},
    telemetry::UpstreamMetrics,
};

/// The longest wait for the addresses of servers that were found. A server
/// whose name is silent keeps no other from its requests for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// An upstream, with the servers that it has at present.
#[derive(Debug)]
pub struct CurrentUpstream {
    policy: Arc<policy::Upstream>,
    workers: usize,
    metrics: Arc<UpstreamMetrics>,
    servers: PresentServers,
}

/// Where the servers of an upstream come from.
#[derive(Debug)]
enum PresentServers {
    /// All are in the configuration. Reading them costs nothing.
    Configured(Arc<Upstream>),
    /// Some are those of SRV records.
    Found(Box<FoundServers>),
}

/// An upstream with servers of SRV records.
#[derive(Debug)]
struct FoundServers {
    records: Vec<SrvRecords>,
    present: ArcSwap<Upstream>,
    /// Held from the choice of other servers until they are in place, so that
    /// an earlier choice does not replace a later one.
    turn: tokio::sync::Mutex<()>,
    /// Held while servers are put in place.
    checking: Mutex<Checking>,
}

/// Whether servers are checked, and so whether those that are found are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checking {
    NotYet,
    Now,
    /// Another upstream has taken the place of this one, which is not to change
    /// any more.
    Over,
}

impl CurrentUpstream {
    /// Builds an upstream. Servers that `earlier`, the upstream of the same
    /// name before a reload, has as well keep their connections, their health
    /// and their load. Records that `earlier` knows are used until they are
    /// looked up.
    ///
    /// Blocks to read the system's trusted certificates if they are needed and
    /// `earlier` does not have them.
    ///
    /// # Errors
    /// TLS cannot be built of the policy; the text says why.
    pub fn new(
        policy: Arc<policy::Upstream>,
        earlier: Option<&Self>,
        workers: usize,
        metrics: Arc<UpstreamMetrics>,
    ) -> Result<Self, String> {
        let before = earlier.map_or(&[][..], Self::records);
        let entries = policy.servers.iter();
        let records: Vec<_> = entries
            .filter_map(|entry| SrvRecords::of(entry, before))
            .collect();
        let servers = servers(&policy, &records);
        let earlier = earlier.map(Self::present);
        let upstream = Upstream::new(
            Arc::clone(&policy),
            &servers,
            earlier.as_deref(),
            workers,
            Arc::clone(&metrics),
        )?;
        let upstream = Arc::new(upstream);
        Ok(Self {
            policy,
            workers,
            metrics,
            servers: match records.is_empty() {
                true => PresentServers::Configured(upstream),
                false => PresentServers::Found(Box::new(FoundServers {
                    records,
                    present: ArcSwap::new(upstream),
                    turn: tokio::sync::Mutex::default(),
                    checking: Mutex::new(Checking::NotYet),
                })),
            },
        })
    }

    /// Whether a reload to `policy` can keep this upstream as it is.
    pub fn implements(&self, policy: &policy::Upstream) -> bool {
        self.present().implements(policy)
    }

    /// Calls `act` with the present upstream.
    #[inline(always)]
    pub(super) fn with<T>(&self, act: impl FnOnce(&Arc<Upstream>) -> T) -> T {
        match &self.servers {
            PresentServers::Configured(upstream) => act(upstream),
            PresentServers::Found(found) => act(&found.present.load()),
        }
    }

    /// The upstream with the servers of this moment.
    fn present(&self) -> Arc<Upstream> {
        self.with(Arc::clone)
    }

    /// The SRV records of its servers; none for most upstreams.
    fn records(&self) -> &[SrvRecords] {
        match &self.servers {
            PresentServers::Configured(_) => &[],
            PresentServers::Found(found) => &found.records,
        }
    }

    /// Whether HTTP/2 is spoken with every server, as far as is known.
    pub fn can_speak_http2(&self) -> bool {
        self.with(|upstream| upstream.can_speak_http2())
    }

    /// The state of every server, in the order of the configuration and of the
    /// records.
    pub fn servers(&self) -> Vec<ServerView> {
        self.present().servers()
    }

    /// The state of the look-ups of SRV records.
    pub fn srv(&self) -> Vec<SrvView> {
        let view = |records: &SrvRecords| SrvView {
            url: records.entry.url.to_string(),
            servers: records.servers().len(),
            fault: records.fault(),
        };
        self.records().iter().map(view).collect()
    }

    /// Starts the health checks, unless they run already. Call this on the
    /// control thread once requests are sent here.
    pub fn start_checks(&self) {
        self.check(Checking::Now);
    }

    /// Stops the health checks, because another upstream has taken this one's
    /// place.
    pub fn stop_checks(&self) {
        self.check(Checking::Over);
    }

    /// Starts or stops the checks of the present servers, and notes it for
    /// those that will be found.
    fn check(&self, checking: Checking) {
        let mut noted = match &self.servers {
            PresentServers::Configured(_) => None,
            PresentServers::Found(found) => Some(found.checking.lock()),
        };
        if let Some(noted) = &mut noted {
            **noted = checking;
        }
        let upstream = self.present();
        match checking {
            Checking::Now => upstream.start_checks(),
            Checking::NotYet | Checking::Over => upstream.stop_checks(),
        }
    }

    /// Does the regular work of `Upstream::sweep`.
    pub fn sweep(&self) -> bool {
        self.present().sweep()
    }

    /// Starts a look-up of each name that is due, of servers and of SRV
    /// records.
    ///
    /// The look-ups are independent of each other, and go on when the handles
    /// are dropped. The log says what has changed. Call this on the control
    /// thread.
    pub fn resolve(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let now = Instant::now();
        let mut lookups = self.present().resolve();
        for (index, records) in self.records().iter().enumerate() {
            if records.begin(now) {
                lookups.push(spawn(Arc::clone(self).look_up(index)));
            }
        }
        lookups
    }

    /// Waits until an upstream should be looked at before the next regular
    /// time: the addresses of a name are suspect or have changed, or a server
    /// was ejected because connections to it could not be made.
    pub async fn wants_a_look() {
        lookups::look_requested().await;
    }

    /// Looks SRV records up once, and uses what has changed. Ends when the
    /// names of new servers are looked up as well.
    ///
    /// Never fails: records that are not found stay, and are tried again.
    async fn look_up(self: Arc<Self>, index: usize) {
        let Some(records) = self.records().get(index) else {
            return;
        };
        let outcome = records.refresh(&NameServers::of_system().await).await;
        let (upstream, server) = (&*self.policy.name, &*records.entry.url);
        match outcome {
            SrvOutcome::Unchanged => {}
            SrvOutcome::Failed(error) => {
                tracing::warn!(upstream, server, %error, "SRV records not found; trying again");
            }
            SrvOutcome::Changed(left_out) => {
                let servers = records.servers().len();
                tracing::info!(upstream, server, servers, "SRV records found");
                if left_out > 0 {
                    tracing::warn!(
                        upstream,
                        server,
                        left_out,
                        "the SRV records name too many servers"
                    );
                }
                self.replace().await;
                // The control thread learns of servers to sweep.
                lookups::request_a_look();
            }
        }
    }

    /// Replaces the servers by those that are known now, once the names of new
    /// ones are looked up: before that, requests to them would fail.
    async fn replace(&self) {
        let PresentServers::Found(found) = &self.servers else {
            return;
        };
        let _turn = found.turn.lock().await;
        let before = found.present.load_full();
        let built = Upstream::new(
            Arc::clone(&self.policy),
            &servers(&self.policy, &found.records),
            Some(&before),
            self.workers,
            Arc::clone(&self.metrics),
        );
        let upstream = match built {
            Ok(upstream) => Arc::new(upstream),
            // Hardly ever: TLS is that of the servers before.
            Err(error) => {
                let upstream = &*self.policy.name;
                tracing::error!(upstream, error, "the servers of SRV records cannot be used");
                return;
            }
        };
        let lookups = join_all(upstream.resolve());
        // One that takes longer goes on.
        let _ = timeout(LONGEST_WAIT, lookups).await;
        let checking = found.checking.lock();
        if *checking == Checking::Over {
            return;
        }
        found.present.store(Arc::clone(&upstream));
        if *checking == Checking::Now {
            before.stop_checks();
            upstream.start_checks();
        }
    }
}

/// The servers of an upstream that are known now: those of the configuration,
/// with those of SRV records in the place of their entries. A server that both
/// have is that of the configuration.
fn servers(policy: &policy::Upstream, records: &[SrvRecords]) -> Vec<UpstreamServer> {
    let is_configured =
        |found: &UpstreamServer| policy.servers.iter().any(|server| server.url == found.url);
    let mut servers: Vec<UpstreamServer> = Vec::new();
    for server in &policy.servers {
        match records.iter().find(|records| records.entry == *server) {
            None => servers.push(server.clone()),
            Some(records) => {
                for found in records.servers() {
                    let is_known = servers.iter().any(|server| server.url == found.url);
                    if !is_known && !is_configured(&found) {
                        servers.push(found);
                    }
                }
            }
        }
    }
    servers
}
