//! One server of an upstream: its address, its connections, its health and its
//! load.
//!
//! # Reloads
//!
//! A server is known by its URL. After a reload a new [`Server`] shares the
//! parts that describe the machine and not the configuration: addresses,
//! health, latency and the count of requests in flight. Connections are shared
//! as well, unless their limits, TLS or the protocol have changed; then the old
//! ones serve the requests that they carry, and close.
//!
//! # Protocol
//!
//! With `protocol = "auto"` a server inside of TLS is taken to speak HTTP/2
//! until a handshake agrees on something else, which is remembered until the
//! next reload. The connection of that handshake is used as one of HTTP/1.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crossbeam_utils::CachePadded;
use tokio::time::Instant;

use super::{
    address::Addresses,
    balance::{Latency, identity},
    capacity::Capacity,
    health::Health,
    http1::{Http1Pool, Lease, Reuse},
    http2::{Http2Pool, StreamPermit},
    stream::Stream,
};
use crate::{
    call::Exchange,
    policy::{self, Protocol, UpstreamServer},
    telemetry::{FixedFields, Latch},
    tls::{ClientTls, ServerName},
};

/// How TLS is spoken with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsTo {
    /// The TLS of the upstream, shared by its servers.
    pub(super) tls: Arc<ClientTls>,
    /// The name that the server's certificate must be valid for.
    pub(super) name: ServerName<'static>,
}

/// A connection of HTTP/1 that is checked out, or permission to open a stream
/// on one of HTTP/2.
pub(super) enum Checkout {
    Http1(Lease),
    Http2(StreamPermit),
}

/// A server and everything that is known of it.
///
/// A reload makes a new `Server` of the same URL that shares the parts which
/// outlive it: see [`reconfigured`](Self::reconfigured).
#[derive(Debug)]
pub(super) struct Server {
    /// The URL as configured, which identifies the server across reloads and in
    /// metrics.
    pub(super) url: Arc<str>,
    /// Upstream and URL as access lines have them.
    pub(super) fields: Arc<FixedFields>,
    /// The `Host` for requests that do not keep the client's.
    pub(super) authority: Arc<str>,
    /// The share of requests, relative to those of other servers of its tier;
    /// 0 for none.
    pub(super) weight: u32,
    /// As in [`UpstreamServer::tier`].
    pub(super) tier: u16,
    /// The addresses of its host.
    pub(super) addresses: Arc<Addresses>,
    /// `None` on plain connections.
    pub(super) secure: Option<TlsTo>,
    /// The configured protocol.
    pub(super) protocol: Protocol,
    /// Whether a connection begins with a header that names the client.
    pub(super) announces: bool,
    /// The number of its connections, and the queue for them.
    pub(super) capacity: Arc<Capacity>,
    /// Idle connections of HTTP/1.
    pub(super) http1: Arc<Http1Pool>,
    /// `None` if HTTP/2 is never spoken with this server.
    http2: Option<Arc<Http2Pool>>,
    /// Whether the server, where it may choose, has chosen HTTP/1.
    prefers_http1: AtomicBool,
    /// Set while handshakes fail, so that the log tells of the first one only.
    pub(super) has_failed_tls: Latch,
    /// Whether it may be sent requests.
    pub(super) health: Arc<Health>,
    /// Only updated if servers are chosen by latency.
    pub(super) latency: Arc<Latency>,
    /// Hash of the URL, which represents the server where servers are chosen by
    /// key.
    pub(super) identity: u64,
    /// Requests that it is working on, over all workers and routes.
    in_flight: Arc<CachePadded<AtomicUsize>>,
}

/// The connections to a server.
struct ServerConnections {
    capacity: Arc<Capacity>,
    http1: Arc<Http1Pool>,
    http2: Option<Arc<Http2Pool>>,
}

impl ServerConnections {
    /// No connections yet, to a server with these addresses.
    fn none(
        upstream: &policy::Upstream,
        addresses: &Arc<Addresses>,
        secure: Option<&TlsTo>,
        workers: usize,
    ) -> Self {
        let settings = upstream.pool.clone();
        let capacity = Arc::new(Capacity::new(settings, Arc::clone(addresses)));
        let may_speak_http2 = match upstream.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => secure.is_some(),
        };
        let http2 = || Arc::new(Http2Pool::new(Arc::clone(&capacity), workers));
        Self {
            http2: may_speak_http2.then(http2),
            http1: Arc::new(Http1Pool::new(Arc::clone(&capacity), workers)),
            capacity,
        }
    }
}

impl Server {
    /// A server of `upstream` of which nothing is known yet. `tls` is that of
    /// the upstream, if any of its servers speaks TLS.
    pub(super) fn new(
        upstream: &policy::Upstream,
        server: &UpstreamServer,
        tls: Option<&Arc<ClientTls>>,
        workers: usize,
    ) -> Self {
        let url = &server.url;
        let addresses = Arc::new(Addresses::new(server.address.clone()));
        let secure = tls_to(server, tls);
        let connections = ServerConnections::none(upstream, &addresses, secure.as_ref(), workers);
        Self {
            url: Arc::clone(url),
            fields: Arc::new(FixedFields::server(
                Arc::clone(&upstream.name),
                Arc::clone(url),
            )),
            authority: server.authority().into(),
            weight: server.weight,
            tier: server.tier,
            addresses,
            secure,
            protocol: upstream.protocol,
            announces: upstream.proxy_protocol,
            capacity: connections.capacity,
            http1: connections.http1,
            http2: connections.http2,
            prefers_http1: AtomicBool::new(false),
            has_failed_tls: Latch::default(),
            health: Arc::new(Health::new(Arc::clone(&upstream.name), Arc::clone(url))),
            latency: Arc::new(Latency::new()),
            identity: identity(url),
            in_flight: Arc::default(),
        }
    }

    /// The server with the same URL after a reload.
    ///
    /// Addresses, health, latency and requests in flight are carried over, and
    /// so are connections, unless their limits, TLS or the protocol have
    /// changed.
    pub(super) fn reconfigured(
        &self,
        upstream: &policy::Upstream,
        server: &UpstreamServer,
        tls: Option<&Arc<ClientTls>>,
        workers: usize,
    ) -> Self {
        let secure = tls_to(server, tls);
        let keeps_connections = self.capacity.settings == upstream.pool
            && self.secure == secure
            && self.protocol == upstream.protocol
            && self.announces == upstream.proxy_protocol;
        let connections = if keeps_connections {
            ServerConnections {
                capacity: Arc::clone(&self.capacity),
                http1: Arc::clone(&self.http1),
                http2: self.http2.clone(),
            }
        } else {
            ServerConnections::none(upstream, &self.addresses, secure.as_ref(), workers)
        };
        Self {
            url: Arc::clone(&self.url),
            fields: Arc::clone(&self.fields),
            authority: Arc::clone(&self.authority),
            weight: server.weight,
            tier: server.tier,
            addresses: Arc::clone(&self.addresses),
            secure,
            protocol: upstream.protocol,
            announces: upstream.proxy_protocol,
            capacity: connections.capacity,
            http1: connections.http1,
            http2: connections.http2,
            prefers_http1: AtomicBool::new(false),
            has_failed_tls: Latch::default(),
            health: Arc::clone(&self.health),
            latency: Arc::clone(&self.latency),
            identity: self.identity,
            in_flight: Arc::clone(&self.in_flight),
        }
    }

    /// Whether connections to this server are inside TLS.
    pub(super) fn speaks_tls(&self) -> bool {
        self.secure.is_some()
    }

    /// The server's HTTP/2 connections, as long as it is not known to speak
    /// HTTP/1.
    pub(super) fn http2(&self) -> Option<&Arc<Http2Pool>> {
        self.http2
            .as_ref()
            .filter(|_| !self.prefers_http1.load(Ordering::Relaxed))
    }

    /// Whether HTTP/2 is spoken on a new connection. If it is not, remembers
    /// that the server prefers HTTP/1.
    pub(super) fn agrees_on_http2(&self, stream: &Stream) -> bool {
        let is_agreed = self.protocol == Protocol::Http2 || stream.is_http2();
        if !is_agreed {
            self.prefers_http1.store(true, Ordering::Relaxed);
        }
        is_agreed
    }

    /// Checks out an idle connection of this worker, or a stream of one, if
    /// there is any and nobody waits for it.
    pub(super) fn pooled(&self, worker: usize, reuse: Reuse<'_>, now: Instant) -> Option<Checkout> {
        match self.http2() {
            None => self.http1.idle_of(worker, reuse, now).map(Checkout::Http1),
            Some(_) if self.capacity.is_contended() => None,
            Some(http2) => http2.stream_of(worker, now).map(Checkout::Http2),
        }
    }

    /// Which connections may be reused for a request. `fresh` says that it
    /// needs a new one.
    pub(super) fn reuse<'a>(&self, exchange: &'a Exchange, fresh: bool) -> Reuse<'a> {
        match (fresh, self.announces) {
            (true, _) => Reuse::Forbidden,
            (false, false) => Reuse::Allowed,
            (false, true) => Reuse::By(exchange),
        }
    }

    /// Requests that this server is working on.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request as in flight until the guard is dropped.
    pub(super) fn begin(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(&self.in_flight))
    }
}

/// TLS with `server`, if it speaks it.
fn tls_to(server: &UpstreamServer, tls: Option<&Arc<ClientTls>>) -> Option<TlsTo> {
    Some(TlsTo {
        tls: Arc::clone(tls?),
        name: server.secure_as.clone()?,
    })
}

/// Counts one request in flight; the count is decremented on drop.
#[derive(Debug)]
pub(super) struct InFlight(Arc<CachePadded<AtomicUsize>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
