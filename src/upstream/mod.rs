//! Upstreams: the services behind the gateway. Choose a server, find or make a connection, send, classify the failure.
//!
//! The innermost service of every route's stack. What an upstream knows (addresses, connections, load) outlives reloads.

mod abandoned;
mod address;
mod answer;
mod balance;
mod connect;
mod connection;
mod health;
mod http2;
mod names;
mod pool;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod trial;
mod ttl;
mod tunnel;
mod upload;
mod view;
mod way;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tokio::{task::JoinSet, time::Instant};
use tower::Service;

use self::{
    abandoned::{Asked, Open},
    balance::Balancer,
    connection::Failure,
    health::{Ejector, Failing},
    server::Server,
    trial::{Rest, Trial},
    way::Exchange,
};
pub use self::{
    health::{HealthState, HealthView},
    view::ServerView,
};
use crate::{
    call::{self, Outgoing},
    error::{Error, Failed, Fault, Seen},
    message::Response,
    policy,
    runtime::worker,
    telemetry::UpstreamMetrics,
    tls::ClientTls,
};

/// A named set of servers.
#[derive(Debug)]
pub struct Upstream {
    policy: Arc<policy::Upstream>,
    /// TLS with the servers that speak it; `None` if none does.
    tls: Option<Arc<ClientTls>>,
    balancer: Balancer,
    ejector: Ejector,
    /// Asks each server from time to time whether it is well; ends with this.
    checks: Mutex<JoinSet<()>>,
    metrics: Arc<UpstreamMetrics>,
}

impl Upstream {
    /// Builds an upstream. Servers that `earlier`, the upstream of the same name before a reload, has as well keep their
    /// connections, their health and their load.
    ///
    /// Blocks to read the system's trusted certificates if they are needed and `earlier` does not have them.
    ///
    /// # Errors
    /// TLS cannot be built of the policy; the text says why.
    pub fn new(
        policy: Arc<policy::Upstream>,
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
        let servers: Vec<_> = policy.servers.iter().map(server).collect();
        let health = servers
            .iter()
            .map(|server| Arc::clone(&server.health))
            .collect();
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
    pub fn implements(&self, policy: &policy::Upstream) -> bool {
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
            && *pool == policy.pool
            && *tls == policy.tls
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.policy.name
    }

    /// Whether HTTP/2 can be spoken with each of its servers, as far as is known.
    pub fn can_speak_http2(&self) -> bool {
        self.balancer
            .servers
            .iter()
            .all(|server| server.http2().is_some())
    }

    /// Begins to check the servers, unless that has begun. To be called on the control thread, when requests are sent
    /// here.
    pub fn start_checks(&self) {
        let mut checks = self.checks.lock();
        if !checks.is_empty() {
            return;
        }
        for server in &self.balancer.servers {
            match &self.policy.health_check {
                Some(how) => {
                    checks.spawn(health::watch(
                        Arc::clone(server),
                        how.clone(),
                        self.policy.slow_start,
                    ));
                }
                None => server.health.unchecked(Instant::now()),
            }
        }
    }

    /// Says when a check has ended by itself, which none does. To be called from time to time.
    fn watch_checks(&self) {
        while let Some(ended) = self.checks.lock().try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(upstream = &**self.name(), %error, "a health check has ended; its server keeps its state");
            }
        }
    }

    /// Ends the checks: another set of the same servers, or none, has taken this one's place.
    pub fn stop_checks(&self) {
        self.checks.lock().abort_all();
    }

    /// Closes kept connections that are too old or that their server has closed, ends what has passed of ejections, and tries
    /// servers that are ejected for want of a connection. Tells whether all are within reach. To be called on the control thread.
    pub fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut is_reached = true;
        self.watch_checks();
        for server in &self.balancer.servers {
            server.pool.sweep();
            server.health.settle(now, self.policy.slow_start);
            if server.health.is_out_of_reach() {
                is_reached = false;
                if !server.health.is_tried.swap(true, Ordering::Relaxed) {
                    tokio::spawn(health::try_to_reach(
                        Arc::clone(server),
                        self.policy.slow_start,
                    ));
                }
            }
            if let Some(http2) = server.http2() {
                http2.sweep(&server.pool.settings);
            }
        }
        is_reached
    }

    async fn send(self: Arc<Self>, outgoing: Outgoing) -> Result<Response, Failed> {
        let chosen = self
            .balancer
            .choose(|| outgoing.call.tried(), outgoing.key, outgoing.now);
        let Some(index) = chosen else {
            outgoing.call.no_server(self.name());
            return Err(Failed::unseen(Error::NoHealthyServer {
                upstream: Arc::clone(self.name()),
            }));
        };
        let server = &self.balancer.servers[index];
        outgoing.call.try_server(index, self.name(), &server.url);
        let in_flight = server.begin();
        let worker = worker::current();
        let mut trial = Trial::new(&self, index, &outgoing);
        let (way, started) = match server.kept(worker, outgoing.fresh, outgoing.now) {
            Some(way) => (way, outgoing.now),
            // Boxed, as it is rare and large: others need not carry its state.
            None => Box::pin(self.reach(server, worker, outgoing.fresh, &mut trial))
                .await
                .map_err(|error| self.passed_over(&outgoing.call, Failed::unseen(error)))?,
        };
        let linger = outgoing.linger;
        let (exchange, call) =
            Exchange::new(way, outgoing, server).map_err(|failure| self.error(failure))?;
        if let Some(interim) = &call.request.interim {
            interim.0.sent_up();
        }
        call.is_sent.set();
        trial.sent = Some(Arc::clone(&call));
        let mut asked = Asked::new(
            Open {
                exchange,
                call,
                in_flight,
            },
            linger,
        );
        let head = poll_fn(|cx| asked.poll(cx, &mut trial.is_its_turn)).await;
        let now = Instant::now();
        let took = now - started;
        self.metrics.answered(took);
        if let Some(call) = &trial.sent {
            call.sent(took);
        }
        let head = match head {
            Ok(head) => head,
            Err(failure) => {
                trial.failed(failing(&failure), took, now);
                asked.failed(failure);
                let failed = self.error(failure);
                return Err(match &trial.sent {
                    Some(call) => self.passed_over(call, failed),
                    None => failed,
                });
            }
        };
        let is_sound = trial.answered(&head, took, now);
        let Some(Open {
            exchange,
            call,
            in_flight,
        }) = asked.answered()
        else {
            return Err(Error::ClientGone.into());
        };
        let rest = Rest {
            upstream: self,
            index,
            call,
            is_sound,
            in_flight,
        };
        Ok(exchange.into_answer(head, rest, now))
    }

    /// Adds to the failure of an attempt that no server has seen whether there is another server to send it to.
    fn passed_over(&self, call: &call::Exchange, mut failed: Failed) -> Failed {
        if failed.seen == Seen::No {
            failed.has_alternative = self.balancer.has_other(call.tried(), Instant::now());
        }
        failed
    }

    fn error(&self, failure: Failure) -> Failed {
        let upstream = Arc::clone(self.name());
        match failure {
            Failure::Stale { written: true } => Failed::from(Error::Stale { upstream }),
            Failure::Stale { written: false } => Failed::unseen(Error::Stale { upstream }),
            Failure::Reset { is_begun } => Failed::from(Error::Reset { upstream, is_begun }),
            Failure::Unbegun => Failed::unseen(Error::Unbegun { upstream }),
            Failure::HeadTooLarge { limit } => Failed::from(Error::HeadTooLarge { limit }),
            Failure::BadAnswer(what) => Failed::from(Error::BadAnswer { upstream, what }),
            Failure::Client(fault) => Failed::from(Error::from(fault)),
        }
    }
}

/// TLS with the servers of an upstream: that of `earlier`, with its sessions, if the policy is the same. `None` if no
/// server speaks it.
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

/// What a failure says of its server, if anything: not what the client did, nor that a kept connection had been closed.
fn failing(failure: &Failure) -> Option<Failing> {
    match failure {
        Failure::Reset { .. } => Some(Failing::Reset),
        Failure::BadAnswer(_) => Some(Failing::BadAnswer),
        Failure::Client(Fault::Idle(_)) => Some(Failing::Timeout),
        Failure::Client(_)
        | Failure::HeadTooLarge { .. }
        | Failure::Stale { .. }
        | Failure::Unbegun => None,
    }
}

/// [`Upstream`] as the innermost service of a stack.
#[derive(Debug, Clone)]
pub struct SendTo(pub Arc<Upstream>);

impl Service<Outgoing> for SendTo {
    type Response = Response;
    type Error = Failed;
    /// The one box of a request's way through the stack.
    type Future = Pin<Box<dyn Future<Output = Result<Response, Failed>> + Send>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outgoing: Outgoing) -> Self::Future {
        Box::pin(Arc::clone(&self.0).send(outgoing))
    }
}
