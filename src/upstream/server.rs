//! One server of an upstream: where it is, its connections, and how busy it is.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crossbeam_utils::CachePadded;

use super::{
    address::Addresses,
    pool::{Pool, PoolSettings},
};
use crate::tls::{ClientTls, ServerName};

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
    in_flight: Arc<CachePadded<AtomicUsize>>,
}

impl Server {
    pub(super) fn new(settings: &ServerSettings, pool: &PoolSettings, workers: usize) -> Self {
        Self {
            url: Arc::clone(&settings.url),
            authority: authority(&settings.url).into(),
            weight: settings.weight,
            addresses: Arc::new(Addresses::new(Arc::clone(&settings.host), settings.port)),
            pool: Arc::new(Pool::new(pool.clone(), workers)),
            secure: settings.secure.clone(),
            in_flight: Arc::default(),
        }
    }

    /// The same server with another weight, or with other bounds on its pool or other trust (it then begins anew).
    pub(super) fn changed(&self, settings: &ServerSettings, pool: &PoolSettings, workers: usize) -> Self {
        let keeps_pool = self.pool.settings == *pool && self.secure == settings.secure;
        let pool = if keeps_pool { Arc::clone(&self.pool) } else { Arc::new(Pool::new(pool.clone(), workers)) };
        Self {
            url: Arc::clone(&self.url),
            authority: Arc::clone(&self.authority),
            weight: settings.weight,
            addresses: Arc::clone(&self.addresses),
            pool,
            secure: settings.secure.clone(),
            in_flight: Arc::clone(&self.in_flight),
        }
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
    url.split_once("://").map_or(url, |(_, authority)| authority).trim_end_matches('/')
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct InFlight(Arc<CachePadded<AtomicUsize>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
