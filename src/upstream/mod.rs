//! Upstreams: the services behind the gateway. Choose a server, find or make a connection, send, classify the failure.
//!
//! The innermost service of every route's stack. What an upstream knows (addresses, connections, load) outlives reloads.

mod address;
mod answer;
mod balance;
mod connect;
mod connection;
mod http2;
mod pool;
mod server;
mod stream;
mod upload;
mod way;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tower::Service;

pub use self::{
    balance::Balance,
    pool::PoolSettings,
    server::{Protocol, Security, ServerSettings},
};
use self::{balance::Balancer, connection::Failure, pool::Lease, server::Server, way::Exchange};
use crate::{
    call::Outgoing,
    error::{Error, Fault},
    http1,
    message::Response,
    telemetry::{UpstreamMetrics, worker},
    tls::ClientTls,
};

/// A named set of servers, plainly described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Its identity.
    pub name: Arc<str>,
    /// At least one.
    pub servers: Vec<ServerSettings>,
    /// How one is chosen.
    pub balance: Balance,
    /// Bounds on the connections to each.
    pub pool: PoolSettings,
}

/// A named set of servers.
#[derive(Debug)]
pub struct Upstream {
    settings: UpstreamSettings,
    balancer: Balancer,
    metrics: Arc<UpstreamMetrics>,
}

/// What `/upstreams` and the metrics say of a server.
#[derive(Debug, Clone)]
pub struct ServerView {
    /// Its URL.
    pub url: Arc<str>,
    /// Its share.
    pub weight: u32,
    /// The addresses known.
    pub addresses: Vec<std::net::SocketAddr>,
    /// Requests that it is working on.
    pub in_flight: usize,
    /// Open connections.
    pub open: usize,
    /// Open connections that are unused.
    pub idle: usize,
}

impl Upstream {
    /// Builds an upstream; what `earlier`, of the same name, knows of servers that stay is carried over.
    pub fn new(
        settings: UpstreamSettings,
        earlier: Option<&Self>,
        workers: usize,
        metrics: Arc<UpstreamMetrics>,
    ) -> Self {
        let server = |server: &ServerSettings| {
            let known = earlier.and_then(|earlier| earlier.balancer.servers.iter().find(|old| old.url == server.url));
            Arc::new(match known {
                Some(known) => known.changed(server, &settings.pool, workers),
                None => Server::new(server, &settings.pool, workers),
            })
        };
        let balancer = Balancer::new(settings.balance, settings.servers.iter().map(server).collect());
        Self { settings, balancer, metrics }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// As it was described.
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// How TLS is spoken with its servers; `None` when it is with none.
    pub fn tls(&self) -> Option<&Arc<ClientTls>> {
        self.settings.servers.iter().find_map(|server| server.secure.as_ref()).map(|secure| &secure.tls)
    }

    /// What there is to say of each server.
    pub fn servers(&self) -> Vec<ServerView> {
        self.balancer.servers.iter().map(|server| view(server)).collect()
    }

    /// Looks names up again; not to be called on a worker.
    ///
    /// # Errors
    /// Each name that could not be looked up, and why.
    pub async fn resolve(&self) -> Vec<(Arc<str>, std::io::Error)> {
        let mut failed = Vec::new();
        for server in self.balancer.servers.iter().filter(|server| server.addresses.is_name()) {
            if let Err(error) = server.addresses.refresh().await {
                failed.push((Arc::clone(&server.url), error));
            }
        }
        failed
    }

    /// Closes kept connections that are too old or that their server has closed.
    pub fn sweep(&self) {
        for server in &self.balancer.servers {
            server.pool.sweep();
            if let Some(http2) = server.http2() {
                http2.sweep(&server.pool.settings);
            }
        }
    }

    async fn send(self: Arc<Self>, outgoing: Outgoing) -> Result<Response, Error> {
        let index = self.balancer.choose(|| outgoing.call.tried());
        let server = &self.balancer.servers[index];
        outgoing.call.try_server(index, self.name(), &server.url);
        let in_flight = server.begin();
        let worker = worker::current();
        let (way, started) = match server.kept(worker, outgoing.fresh, outgoing.now) {
            Some(way) => (way, outgoing.now),
            // Boxed, as it is rare and large: others need not carry its state.
            None => Box::pin(self.reach(server, worker, outgoing.fresh)).await?,
        };
        let (mut exchange, call) = Exchange::new(way, outgoing, server).map_err(|failure| self.error(failure))?;
        let head = poll_fn(|cx| exchange.poll(cx, &call.request.method, call.request.interim.as_ref())).await;
        let now = Instant::now();
        let took = now - started;
        self.metrics.answered(took);
        call.sent(took);
        let head = head.map_err(|failure| self.error(failure))?;
        let mut response = exchange.into_answer(head, &call.request.method, now);
        // An answer that is here whole needs nothing of the server any more.
        if !response.body.is_whole() {
            response.body.hold(in_flight);
        }
        Ok(response)
    }

    fn error(&self, failure: Failure) -> Error {
        let upstream = Arc::clone(self.name());
        match failure {
            Failure::Stale { written } => Error::Stale { upstream, written },
            Failure::Reset => Error::Reset { upstream },
            Failure::Unbegun => Error::Unbegun { upstream },
            Failure::BadAnswer(what) => Error::BadAnswer { upstream, what },
            Failure::Client(fault) => client_error(fault),
        }
    }
}

/// What a request is answered whose own body broke off before any answer began.
fn client_error(fault: Fault) -> Error {
    match fault {
        Fault::ClientSilent(after) => Error::SlowBody { after },
        Fault::ClientMalformed(what) => Error::Malformed(what),
        Fault::TooLarge(limit) => Error::BodyTooLarge { limit },
        Fault::Idle(after) => Error::AttemptTimeout { after },
        Fault::OutOfTime => Error::BodyTimeout,
        Fault::ClientGone | Fault::UpstreamCut(_) => Error::ClientGone,
    }
}

fn write_head(lease: &mut Lease, outgoing: &Outgoing, server: &Server) {
    let out = lease.connection.output.buffer();
    out.extend_from_slice(&outgoing.head);
    if !outgoing.has_host {
        http1::write_field(out, "host", server.authority.as_bytes());
    }
    match outgoing.body.length() {
        // A length is named where there is one to name, or where its absence might be taken for "unknown".
        Some(0) if outgoing.names_length => out.extend_from_slice(b"content-length: 0\r\n"),
        Some(0) => {}
        Some(length) => {
            out.extend_from_slice(b"content-length: ");
            http1::write_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        None => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

fn view(server: &Server) -> ServerView {
    let (open, idle) = server.pool.counts();
    let idle = idle + server.http2().map_or(0, |http2| http2.idle());
    ServerView {
        url: Arc::clone(&server.url),
        weight: server.weight,
        addresses: server.addresses.in_turn().0.to_vec(),
        in_flight: server.in_flight(),
        open,
        idle,
    }
}

/// [`Upstream`] as the innermost service of a stack.
#[derive(Debug, Clone)]
pub struct SendTo(pub Arc<Upstream>);

impl Service<Outgoing> for SendTo {
    type Response = Response;
    type Error = Error;
    /// The one box of a request's way through the stack.
    type Future = Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outgoing: Outgoing) -> Self::Future {
        Box::pin(Arc::clone(&self.0).send(outgoing))
    }
}
