//! Where a server is: an address, or a name that is looked up off the workers and kept fresh.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore},
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::ttl::NameServers;

/// When to look again where no time to live is known.
const USUAL: Duration = Duration::from_secs(30);
/// However short a name's time to live, and however often connecting fails: not more often than this.
const SHORTEST: Duration = Duration::from_secs(1);
/// However long it is: a mistake in it must not last for a day.
const LONGEST: Duration = Duration::from_secs(300);
/// Longest wait for a time to live.
const PATIENCE: Duration = Duration::from_secs(1);
/// When to look again after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// A name that takes longer counts as not found, until it is: as long as common resolvers wait for one name server.
const OVERDUE: Duration = Duration::from_secs(5);

/// Look-ups at once, in the whole process. Each holds a thread for as long as the system's resolver takes, which for a
/// name whose name server is silent is many times as long as for others.
const MOST: usize = 16;
/// Those of them that may be for names that were not found the last time, or never: they do not keep others waiting.
const MOST_UNLUCKY: usize = 12;

/// The places of look-ups.
static PLACES: Places = Places::new();
/// Tells the control thread to look at names, connections and servers before its time.
static WANTED: Notify = Notify::const_new();

/// Places for look-ups, whoever's they are: the resolver and its threads are the machine's.
#[derive(Debug)]
struct Places {
    all: Semaphore,
    unlucky: Semaphore,
}

impl Places {
    const fn new() -> Self {
        Self {
            all: Semaphore::const_new(MOST),
            unlucky: Semaphore::const_new(MOST_UNLUCKY),
        }
    }

    /// Looks up in a place, which is held to the end of `look`; says so to `late` when that is overdue.
    async fn look_up<T>(
        &self,
        is_unlucky: bool,
        look: impl Future<Output = T>,
        late: impl FnOnce(),
    ) -> T {
        // Neither is ever closed.
        let _unlucky = if is_unlucky {
            self.unlucky.acquire().await.ok()
        } else {
            None
        };
        let _place = self.all.acquire().await;
        let mut look = std::pin::pin!(look);
        match timeout(OVERDUE, &mut look).await {
            Ok(found) => found,
            Err(_) => {
                late();
                look.await
            }
        }
    }
}

/// Waits until the control thread should look at an upstream before its time.
pub(super) async fn wanted() {
    WANTED.notified().await;
}

/// Has the control thread look before its time.
pub(super) fn want_a_look() {
    WANTED.notify_one();
}

/// A server's addresses.
#[derive(Debug)]
pub(super) struct Addresses {
    host: Arc<str>,
    port: u16,
    /// A name, not an address: it may change.
    is_name: bool,
    known: ArcSwap<Vec<SocketAddr>>,
    /// How often `known` has changed.
    changes: AtomicUsize,
    turn: AtomicUsize,
    lookup: Mutex<Lookup>,
}

/// The last look.
#[derive(Debug, Default)]
struct Lookup {
    /// When the next one is; `None`: now.
    due: Option<Instant>,
    /// When it began; `None` before the first.
    begun: Option<Instant>,
    is_running: bool,
    failed: bool,
}

/// Where a connection goes, as long as its server has that address.
#[derive(Debug)]
pub(super) struct Peer {
    /// `None` for one that nobody knows, which is taken for one that stays.
    address: Option<SocketAddr>,
    /// The number of changes of the addresses after which this one was still among them.
    as_of: AtomicUsize,
}

impl Peer {
    pub(super) fn new(address: Option<SocketAddr>) -> Self {
        // Nobody has seen so many changes: the first look is a close one.
        Self {
            address,
            as_of: AtomicUsize::new(usize::MAX),
        }
    }
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
        let known = literal
            .map(|ip| SocketAddr::new(ip, port))
            .into_iter()
            .collect::<Vec<_>>();
        Self {
            host,
            port,
            is_name: literal.is_none(),
            known: ArcSwap::from_pointee(known),
            changes: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            lookup: Mutex::default(),
        }
    }

    /// All known addresses, and with which of them to begin: they take turns.
    pub(super) fn in_turn(&self) -> (Arc<Vec<SocketAddr>>, usize) {
        let known = self.known.load_full();
        let first = if known.len() > 1 {
            self.turn.fetch_add(1, Ordering::Relaxed) % known.len()
        } else {
            0
        };
        (known, first)
    }

    /// Whether the name still has the address of this connection. Costs two loads while nothing has changed.
    #[inline]
    pub(super) fn have(&self, peer: &Peer) -> bool {
        let changes = self.changes.load(Ordering::Relaxed);
        peer.as_of.load(Ordering::Relaxed) == changes || self.have_still(peer, changes)
    }

    fn have_still(&self, peer: &Peer, changes: usize) -> bool {
        let has = !self.is_name
            || peer
                .address
                .is_none_or(|address| self.known.load().contains(&address));
        if has {
            peer.as_of.store(changes, Ordering::Relaxed);
        }
        has
    }

    /// None of the addresses takes a connection: the name may have others by now. It is looked up at once, but not more often
    /// than once a second.
    pub(super) fn are_in_doubt(&self) {
        if !self.is_name {
            return;
        }
        let mut lookup = self.lookup.lock();
        let now = Instant::now();
        let soonest = lookup.begun.map_or(now, |begun| begun + SHORTEST);
        if let Some(due) = lookup.due.filter(|_| !lookup.is_running) {
            lookup.due = Some(due.min(soonest));
            // Told of what is due by now, or of what is due earlier than the control thread knows.
            if due > soonest || due <= now {
                want_a_look();
            }
        }
    }

    /// Begins a look-up, if it is time for one and none is running; to be followed by [`Self::refresh`].
    pub(super) fn begin(&self, now: Instant) -> bool {
        let mut lookup = self.lookup.lock();
        let begins = self.is_name && !lookup.is_running && lookup.due.is_none_or(|due| now >= due);
        if begins {
            lookup.is_running = true;
            lookup.begun = Some(now);
        }
        begins
    }

    /// Looks the name up, and tells what comes of it. What is known stays when that fails: a name server that is down must not
    /// stop what works.
    pub(super) async fn refresh(&self, servers: &NameServers, tell: impl Fn(Found)) {
        let is_unlucky = self.lookup.lock().failed || self.known.load().is_empty();
        let late = || tell(self.failed(io::ErrorKind::TimedOut.into()));
        let (found, next) = match PLACES.look_up(is_unlucky, self.look_up(), late).await {
            Ok(found) => {
                self.lookup.lock().failed = false;
                (self.learn(found), self.time_to_live(servers).await)
            }
            Err(error) => (self.failed(error), AFTER_FAILURE),
        };
        tell(found);
        let mut lookup = self.lookup.lock();
        lookup.due = Some(Instant::now() + next);
        lookup.is_running = false;
    }

    /// Told once in a row.
    fn failed(&self, error: io::Error) -> Found {
        let had_failed = std::mem::replace(&mut self.lookup.lock().failed, true);
        if had_failed {
            Found::Same
        } else {
            Found::Failed(error)
        }
    }

    fn learn(&self, found: Vec<SocketAddr>) -> Found {
        if **self.known.load() == found {
            return Found::Same;
        }
        self.known.store(Arc::new(found));
        self.changes.fetch_add(1, Ordering::Release);
        Found::Changed
    }

    async fn time_to_live(&self, servers: &NameServers) -> Duration {
        let told = timeout(
            PATIENCE,
            servers.time_to_live(self.host.trim_end_matches('.')),
        )
        .await
        .ok()
        .flatten();
        told.map_or(USUAL, |time| time.clamp(SHORTEST, LONGEST))
    }

    async fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = (Arc::clone(&self.host), self.port);
        let look = move || match ((&*host, port).to_socket_addrs(), host.strip_suffix('.')) {
            // The file of hosts has no names with a final dot.
            (Err(error), Some(name)) => (name, port)
                .to_socket_addrs()
                .map(Vec::from_iter)
                .map_err(|_| error),
            (found, _) => found.map(Vec::from_iter),
        };
        let mut found = spawn_blocking(look).await.map_err(io::Error::other)??;
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream::FuturesUnordered};
    use tokio::net::UdpSocket;

    use super::{super::ttl::tests::serve, *};

    /// One whole look-up; what came of it.
    async fn refreshed(addresses: &Addresses, servers: &NameServers) -> Vec<Found> {
        let told = Mutex::new(Vec::new());
        assert!(!addresses.begin(Instant::now()) || addresses.lookup.lock().is_running);
        addresses
            .refresh(servers, |found| told.lock().push(found))
            .await;
        told.into_inner()
    }

    /// Whether it would be looked up so many milliseconds from now.
    fn is_due(addresses: &Addresses, after: u64) -> bool {
        let begins = addresses.begin(Instant::now() + Duration::from_millis(after));
        addresses.lookup.lock().is_running = false;
        begins
    }

    #[tokio::test]
    async fn a_name_is_looked_up_again_when_its_time_to_live_has_passed() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let servers = NameServers::only(socket.local_addr().unwrap());
        let addresses = Addresses::new("localhost".into(), 80);
        assert!(is_due(&addresses, 0));
        let (found, ()) = tokio::join!(refreshed(&addresses, &servers), serve(&socket, [7, 9]));
        assert!(matches!(found[..], [Found::Changed]));
        assert!(
            addresses
                .in_turn()
                .0
                .iter()
                .any(|address| address.ip().is_loopback())
        );
        assert!(!is_due(&addresses, 6_000) && is_due(&addresses, 7_000));
        let (found, ()) = tokio::join!(
            refreshed(&addresses, &servers),
            serve(&socket, [1_000_000, 1_000_000])
        );
        assert!(matches!(found[..], [Found::Same]));
        assert!(!is_due(&addresses, 298_000) && is_due(&addresses, 300_000));
    }

    #[tokio::test]
    async fn what_is_known_stays_when_a_name_is_not_found_any_more() {
        let known: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let gone = Addresses {
            known: ArcSwap::from_pointee(vec![known]),
            ..Addresses::new("a.invalid".into(), 80)
        };
        let nobody = NameServers::only("127.0.0.1:9".parse().unwrap());
        assert!(matches!(
            refreshed(&gone, &nobody).await[..],
            [Found::Failed(_)]
        ));
        assert!(
            matches!(refreshed(&gone, &nobody).await[..], [Found::Same]),
            "told once"
        );
        assert_eq!(*gone.in_turn().0, [known]);
        assert!(!is_due(&gone, 4_000) && is_due(&gone, 5_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_none_of_whose_addresses_answers_is_looked_up_at_once_but_once_a_second() {
        let name = Addresses::new("a.invalid".into(), 80);
        let looked_up = |begun: Option<Instant>| {
            let due = Some(Instant::now() + LONGEST);
            *name.lookup.lock() = Lookup {
                due,
                begun,
                ..Lookup::default()
            };
        };
        looked_up(None);
        assert!(!is_due(&name, 290_000));
        name.are_in_doubt();
        name.are_in_doubt();
        let wanted = tokio::time::timeout(Duration::ZERO, super::wanted()).await;
        assert!(wanted.is_ok(), "the control thread is told");
        looked_up(Some(Instant::now()));
        name.are_in_doubt();
        assert!(!is_due(&name, 999) && is_due(&name, 1_000));
        let is_told = async || {
            tokio::time::timeout(Duration::ZERO, super::wanted())
                .await
                .is_ok()
        };
        assert!(is_told().await, "so that it looks soon");
        name.are_in_doubt();
        assert!(!is_told().await, "nothing is due yet");
        tokio::time::advance(SHORTEST).await;
        name.are_in_doubt();
        assert!(is_told().await, "nobody waits for the next round");
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_are_never_answered_keep_no_other_waiting_and_count_as_failed() {
        let (places, late) = (Places::new(), AtomicUsize::new(0));
        let silent = |is_unlucky| {
            places.look_up(is_unlucky, std::future::pending::<()>(), || {
                late.fetch_add(1, Ordering::Relaxed);
            })
        };
        let mut all: FuturesUnordered<_> = (0..600).map(|_| silent(true)).collect();
        let found = tokio::time::timeout(Duration::from_secs(60), async {
            tokio::select! {
                _ = all.next() => unreachable!("they are never answered"),
                found = async {
                    // Those begin first.
                    tokio::time::sleep(Duration::from_secs(6)).await;
                    places.look_up(false, std::future::ready(7), || {}).await
                } => found,
            }
        });
        assert_eq!(found.await, Ok(7));
        assert_eq!(
            late.load(Ordering::Relaxed),
            MOST_UNLUCKY,
            "no more were begun"
        );
    }

    #[test]
    fn a_connection_to_an_address_that_a_name_no_longer_has_is_told_apart() {
        let [one, two]: [SocketAddr; 2] =
            ["10.0.0.1:80", "10.0.0.2:80"].map(|address| address.parse().unwrap());
        let name = Addresses::known(vec![one, two]);
        let (stays, goes, unknown) = (Peer::new(Some(two)), Peer::new(Some(one)), Peer::new(None));
        assert!([&stays, &goes, &unknown].iter().all(|peer| name.have(peer)));
        assert!(matches!(name.learn(vec![two]), Found::Changed));
        assert!(name.have(&stays) && !name.have(&goes) && name.have(&unknown));
        let address = Addresses::new("10.0.0.9".into(), 80);
        assert!(address.have(&goes), "an address does not change");
    }

    #[test]
    fn an_address_is_never_looked_up() {
        assert!(!Addresses::new("::1".into(), 80).begin(Instant::now()));
    }

    /// For tests of those who use addresses.
    impl Addresses {
        pub(in crate::upstream) fn known(known: Vec<SocketAddr>) -> Self {
            Self {
                known: ArcSwap::from_pointee(known),
                ..Self::new("a.invalid".into(), 80)
            }
        }
    }
}
