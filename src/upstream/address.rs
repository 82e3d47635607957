//! Where a server is: an address, or a name that is looked up off the workers and kept fresh.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::{
    net::lookup_host,
    time::{Instant, timeout},
};

use super::ttl::NameServers;

/// When to look again where no time to live is known.
const USUAL: Duration = Duration::from_secs(30);
/// However short a name's time to live: not more often than this.
const SHORTEST: Duration = Duration::from_secs(1);
/// However long it is: a mistake in it must not last for a day.
const LONGEST: Duration = Duration::from_secs(300);
/// Longest wait for a time to live.
const PATIENCE: Duration = Duration::from_secs(1);
/// When to look again after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// A server's addresses.
#[derive(Debug)]
pub(super) struct Addresses {
    host: Arc<str>,
    port: u16,
    /// A name, not an address: it may change.
    is_name: bool,
    known: ArcSwap<Vec<SocketAddr>>,
    turn: AtomicUsize,
    lookup: Mutex<Lookup>,
}

/// The last look.
#[derive(Debug, Default)]
struct Lookup {
    /// When the next one is; `None`: now.
    due: Option<Instant>,
    failed: bool,
}

/// What a lookup came to.
#[derive(Debug)]
pub(super) enum Found {
    /// As before, or not found as before.
    Same,
    /// Other addresses than before.
    Changed,
    /// Not found any more; what was known stays.
    Failed(io::Error),
}

impl Addresses {
    pub(super) fn new(host: Arc<str>, port: u16) -> Self {
        let literal = host.parse::<IpAddr>().ok();
        let known = literal.map(|ip| SocketAddr::new(ip, port)).into_iter().collect::<Vec<_>>();
        Self {
            host,
            port,
            is_name: literal.is_none(),
            known: ArcSwap::from_pointee(known),
            turn: AtomicUsize::new(0),
            lookup: Mutex::default(),
        }
    }

    /// All known addresses, and with which of them to begin: they take turns.
    pub(super) fn in_turn(&self) -> (Arc<Vec<SocketAddr>>, usize) {
        let known = self.known.load_full();
        let first = if known.len() > 1 { self.turn.fetch_add(1, Ordering::Relaxed) % known.len() } else { 0 };
        (known, first)
    }

    /// Whether it is time to look the name up.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.is_name && self.lookup.lock().due.is_none_or(|due| now >= due)
    }

    /// Looks the name up. What is known stays when that fails: a name server that is down must not stop what works.
    pub(super) async fn refresh(&self, servers: &NameServers) -> Found {
        let found = self.look_up().await;
        let had_failed = std::mem::replace(&mut self.lookup.lock().failed, found.is_err());
        let (found, next) = match found {
            Ok(found) => (self.learn(found), self.time_to_live(servers).await),
            Err(_) if had_failed => (Found::Same, AFTER_FAILURE),
            Err(error) => (Found::Failed(error), AFTER_FAILURE),
        };
        self.lookup.lock().due = Some(Instant::now() + next);
        found
    }

    fn learn(&self, found: Vec<SocketAddr>) -> Found {
        if **self.known.load() == found {
            return Found::Same;
        }
        self.known.store(Arc::new(found));
        Found::Changed
    }

    async fn time_to_live(&self, servers: &NameServers) -> Duration {
        let told = timeout(PATIENCE, servers.time_to_live(self.host.trim_end_matches('.'))).await.ok().flatten();
        told.map_or(USUAL, |time| time.clamp(SHORTEST, LONGEST))
    }

    async fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        let mut found: Vec<_> = match (lookup_host((&*self.host, self.port)).await, self.host.strip_suffix('.')) {
            // The file of hosts has no names with a final dot.
            (Err(error), Some(name)) => lookup_host((name, self.port)).await.map_err(|_| error)?.collect(),
            (found, _) => found?.collect(),
        };
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::{super::ttl::tests::serve, *};

    #[tokio::test]
    async fn a_name_is_looked_up_again_when_its_time_to_live_has_passed() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let servers = NameServers::only(socket.local_addr().unwrap());
        let addresses = Addresses::new("localhost".into(), 80);
        assert!(addresses.is_due(Instant::now()));
        let (found, ()) = tokio::join!(addresses.refresh(&servers), serve(&socket, [7, 9]));
        assert!(matches!(found, Found::Changed));
        assert!(addresses.in_turn().0.iter().any(|address| address.ip().is_loopback()));
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(!addresses.is_due(after(6)) && addresses.is_due(after(7)));
        let (found, ()) = tokio::join!(addresses.refresh(&servers), serve(&socket, [1_000_000, 1_000_000]));
        assert!(matches!(found, Found::Same));
        assert!(!addresses.is_due(after(298)) && addresses.is_due(after(300)));
    }

    #[tokio::test]
    async fn what_is_known_stays_when_a_name_is_not_found_any_more() {
        let known: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let gone = Addresses { known: ArcSwap::from_pointee(vec![known]), ..Addresses::new("a.invalid".into(), 80) };
        let nobody = NameServers::only("127.0.0.1:9".parse().unwrap());
        assert!(matches!(gone.refresh(&nobody).await, Found::Failed(_)));
        assert!(matches!(gone.refresh(&nobody).await, Found::Same), "told once");
        assert_eq!(*gone.in_turn().0, [known]);
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(!gone.is_due(after(4)) && gone.is_due(after(5)));
    }

    #[test]
    fn an_address_is_never_looked_up() {
        assert!(!Addresses::new("::1".into(), 80).is_due(Instant::now()));
    }

    /// For tests of those who use addresses.
    impl Addresses {
        pub(in crate::upstream) fn known(known: Vec<SocketAddr>) -> Self {
            Self { known: ArcSwap::from_pointee(known), ..Self::new("a.invalid".into(), 80) }
        }
    }
}
