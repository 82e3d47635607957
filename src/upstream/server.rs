//! One server of an upstream: where it is, its connections, and how busy it is.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crossbeam_utils::CachePadded;

use super::{
    address::Addresses,
    balance::{Latency, identity},
    health::Health,
    http2::Shared,
    pool::Pool,
    stream::Stream,
};
use crate::{
    policy::{self, Protocol, UpstreamServer},
    telemetry::Latch,
    tls::{ClientTls, ServerName},
};

/// How TLS is spoken with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Security {
    /// Whom to trust, and who we are.
    pub(super) tls: Arc<ClientTls>,
    /// The name that its certificate must stand for.
    pub(super) name: ServerName<'static>,
}

/// A server and what is known of it; outlives reloads.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: Arc<str>,
    /// The `Host` that it is called by when the client's is not preserved.
    pub(super) authority: Arc<str>,
    pub(super) weight: u32,
    pub(super) addresses: Arc<Addresses>,
    pub(super) pool: Arc<Pool>,
    pub(super) secure: Option<Security>,
    /// The last handshake failed.
    pub(super) is_refused: Latch,
    pub(super) health: Arc<Health>,
    /// Only kept where servers are chosen by it.
    pub(super) latency: Arc<Latency>,
    /// Stands for its URL where servers are chosen by keys.
    pub(super) identity: u64,
    pub(super) protocol: Protocol,
    /// Its HTTP/2 connections; `None` when it is never spoken.
    http2: Option<Arc<Shared>>,
    /// Where it may choose: it chose HTTP/1.
    prefers_http1: AtomicBool,
    in_flight: Arc<CachePadded<AtomicUsize>>,
}

/// The parts of a server's policy that its connections depend on.
struct Terms<'a> {
    upstream: &'a policy::Upstream,
    secure: Option<Security>,
}

impl<'a> Terms<'a> {
    fn new(
        upstream: &'a policy::Upstream,
        server: &UpstreamServer,
        tls: Option<&Arc<ClientTls>>,
    ) -> Self {
        let secure = tls.zip(server.secure_as.as_ref());
        Self {
            upstream,
            secure: secure.map(|(tls, name)| Security {
                tls: Arc::clone(tls),
                name: name.clone(),
            }),
        }
    }

    /// The HTTP/2 connections of a server that may speak it.
    fn http2(&self, workers: usize) -> Option<Arc<Shared>> {
        let may_speak_it = match self.upstream.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => self.secure.is_some(),
        };
        may_speak_it.then(|| Arc::new(Shared::new(workers)))
    }

    fn pool(&self, addresses: &Arc<Addresses>, workers: usize) -> Arc<Pool> {
        let settings = self.upstream.pool.clone();
        Arc::new(Pool::new(settings, Arc::clone(addresses), workers))
    }
}

impl Server {
    /// A server of `upstream` of which nothing is known yet.
    pub(super) fn new(
        upstream: &policy::Upstream,
        server: &UpstreamServer,
        tls: Option<&Arc<ClientTls>>,
        workers: usize,
    ) -> Self {
        let terms = Terms::new(upstream, server, tls);
        let url = &server.url;
        let addresses = Arc::new(Addresses::new(Arc::clone(&server.host), server.port));
        Self {
            url: Arc::clone(url),
            authority: authority(url).into(),
            weight: server.weight.get(),
            pool: terms.pool(&addresses, workers),
            addresses,
            is_refused: Latch::default(),
            health: Arc::new(Health::new(Arc::clone(&upstream.name), Arc::clone(url))),
            latency: Arc::new(Latency::new()),
            identity: identity(url),
            protocol: upstream.protocol,
            http2: terms.http2(workers),
            prefers_http1: AtomicBool::new(false),
            in_flight: Arc::default(),
            secure: terms.secure,
        }
    }

    /// The server with the same URL after a reload. Health, latency and requests in flight are carried over, and so are
    /// connections unless the limits on them, TLS or the protocol have changed.
    pub(super) fn reconfigured(
        &self,
        upstream: &policy::Upstream,
        server: &UpstreamServer,
        tls: Option<&Arc<ClientTls>>,
        workers: usize,
    ) -> Self {
        let terms = Terms::new(upstream, server, tls);
        let keeps_connections = self.pool.settings == upstream.pool
            && self.secure == terms.secure
            && self.protocol == upstream.protocol;
        let (pool, http2) = if keeps_connections {
            (Arc::clone(&self.pool), self.http2.clone())
        } else {
            (terms.pool(&self.addresses, workers), terms.http2(workers))
        };
        Self {
            url: Arc::clone(&self.url),
            authority: Arc::clone(&self.authority),
            weight: server.weight.get(),
            addresses: Arc::clone(&self.addresses),
            pool,
            is_refused: Latch::default(),
            health: Arc::clone(&self.health),
            latency: Arc::clone(&self.latency),
            identity: self.identity,
            protocol: upstream.protocol,
            http2,
            prefers_http1: AtomicBool::new(false),
            in_flight: Arc::clone(&self.in_flight),
            secure: terms.secure,
        }
    }

    /// Its HTTP/2 connections, while it is not known to speak HTTP/1.
    pub(super) fn http2(&self) -> Option<&Arc<Shared>> {
        self.http2
            .as_ref()
            .filter(|_| !self.prefers_http1.load(Ordering::Relaxed))
    }

    /// Whether HTTP/2 is spoken on a new connection. Remembers when it is not.
    pub(super) fn agreed_on_http2(&self, stream: &Stream) -> bool {
        let is_agreed = self.protocol == Protocol::Http2 || stream.is_http2();
        if !is_agreed {
            self.prefers_http1.store(true, Ordering::Relaxed);
        }
        is_agreed
    }

    /// Requests that this server is working on.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn begin(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(&self.in_flight))
    }
}

/// Host and port of a URL, as written.
fn authority(url: &str) -> &str {
    url.split_once("://")
        .map_or(url, |(_, authority)| authority)
        .trim_end_matches('/')
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct InFlight(Arc<CachePadded<AtomicUsize>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
