//! Where a server is: an address, or a name that is looked up off the workers and kept fresh.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;

/// A server's addresses.
#[derive(Debug)]
pub(super) struct Addresses {
    host: Arc<str>,
    port: u16,
    /// A name, not an address: it may change.
    is_name: bool,
    known: ArcSwap<Vec<SocketAddr>>,
    turn: AtomicUsize,
}

impl Addresses {
    pub(super) fn new(host: Arc<str>, port: u16) -> Self {
        let literal = host.parse::<IpAddr>().ok();
        let known = literal.map(|ip| SocketAddr::new(ip, port)).into_iter().collect::<Vec<_>>();
        Self { host, port, is_name: literal.is_none(), known: ArcSwap::from_pointee(known), turn: AtomicUsize::new(0) }
    }

    /// All known addresses, and with which of them to begin: they take turns.
    pub(super) fn in_turn(&self) -> (Arc<Vec<SocketAddr>>, usize) {
        let known = self.known.load_full();
        let first = if known.len() > 1 { self.turn.fetch_add(1, Ordering::Relaxed) % known.len() } else { 0 };
        (known, first)
    }

    /// Looks the name up again. What is known stays when that fails: a name server that is down must not stop what works.
    ///
    /// # Errors
    /// What the system's resolver says.
    pub(super) async fn refresh(&self) -> std::io::Result<()> {
        if !self.is_name {
            return Ok(());
        }
        let mut found: Vec<_> = tokio::net::lookup_host((&*self.host, self.port)).await?.collect();
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
        }
        if **self.known.load() != found {
            self.known.store(Arc::new(found));
        }
        Ok(())
    }

    pub(super) fn is_name(&self) -> bool {
        self.is_name
    }
}
