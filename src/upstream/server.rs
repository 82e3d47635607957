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
    pool::{Pool, PoolSettings},
    stream::Stream,
};
use crate::{
    telemetry::Latch,
    tls::{ClientTls, ServerName},
};

/// A server as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Its URL: the label in logs and metrics.
    pub url: Arc<str>,
    /// Name or address.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Share of the requests, at least 1.
    pub weight: u32,
    /// How TLS is spoken with it; `None`: plain.
    pub secure: Option<Security>,
    /// What is spoken with it.
    pub protocol: Protocol,
}

/// What is spoken with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by prior knowledge, or agreed on with TLS.
    Http2,
    /// What the server prefers, where TLS lets it say so; otherwise HTTP/1.1.
    Auto,
}

impl ServerSettings {
    /// Whether requests may share connections.
    fn shares(&self) -> bool {
        match self.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => self.secure.is_some(),
        }
    }
}

/// How TLS is spoken with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// Whom to trust, and who we are.
    pub tls: Arc<ClientTls>,
    /// The name that its certificate must stand for.
    pub name: ServerName<'static>,
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

impl Server {
    pub(super) fn new(
        upstream: &Arc<str>,
        settings: &ServerSettings,
        pool: &PoolSettings,
        workers: usize,
    ) -> Self {
        let addresses = Arc::new(Addresses::new(Arc::clone(&settings.host), settings.port));
        Self {
            url: Arc::clone(&settings.url),
            authority: authority(&settings.url).into(),
            weight: settings.weight,
            pool: Arc::new(Pool::new(pool.clone(), Arc::clone(&addresses), workers)),
            addresses,
            secure: settings.secure.clone(),
            is_refused: Latch::default(),
            health: Arc::new(Health::new(Arc::clone(upstream), Arc::clone(&settings.url))),
            latency: Arc::new(Latency::new()),
            identity: identity(&settings.url),
            protocol: settings.protocol,
            http2: settings.shares().then(|| Arc::new(Shared::new(workers))),
            prefers_http1: AtomicBool::new(false),
            in_flight: Arc::default(),
        }
    }

    /// The same server with another weight, or with other bounds on its pool or other trust (it then begins anew).
    pub(super) fn changed(
        &self,
        settings: &ServerSettings,
        pool: &PoolSettings,
        workers: usize,
    ) -> Self {
        let keeps_pool = self.pool.settings == *pool
            && self.secure == settings.secure
            && self.protocol == settings.protocol;
        let http2 = if keeps_pool {
            self.http2.clone()
        } else {
            settings.shares().then(|| Arc::new(Shared::new(workers)))
        };
        let pool = if keeps_pool {
            Arc::clone(&self.pool)
        } else {
            Arc::new(Pool::new(
                pool.clone(),
                Arc::clone(&self.addresses),
                workers,
            ))
        };
        Self {
            url: Arc::clone(&self.url),
            authority: Arc::clone(&self.authority),
            weight: settings.weight,
            addresses: Arc::clone(&self.addresses),
            pool,
            secure: settings.secure.clone(),
            is_refused: Latch::default(),
            health: Arc::clone(&self.health),
            latency: Arc::clone(&self.latency),
            identity: self.identity,
            protocol: settings.protocol,
            http2,
            prefers_http1: AtomicBool::new(false),
            in_flight: Arc::clone(&self.in_flight),
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
