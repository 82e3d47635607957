//! The addresses of a server: one that is fixed, or those of a name that is
//! resolved again and again. A socket in the file system has none, and its path
//! stands here instead.
//!
//! Look-ups run on the control thread's runtime, off the workers, which only
//! read the result. Addresses come from the system's resolver, so that
//! `/etc/hosts`, `nsswitch.conf`, and search domains work as in every other
//! program of the machine. It does not tell how long they are valid;
//! [`NameServers`] finds that out.
//!
//! Known addresses stay when a look-up fails: a name server that is down must
//! not stop services that work.
//!
//! A look-up blocks a thread, since `getaddrinfo` has no asynchronous form.
//! [`lookups`](super::lookups) bounds how many run at once.

#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{
    dns::NameServers,
    lookups::{SLOTS, request_a_look},
    schedule::{LONGEST_INTERVAL, RETRY_INTERVAL, SHORTEST_INTERVAL, Schedule, valid_for},
};
use crate::policy::ServerAddress;

/// The interval of look-ups if no time to live is known.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
/// The longest wait for a time to live.
const TTL_TIMEOUT: Duration = Duration::from_secs(1);

/// The addresses of a server.
#[derive(Debug)]
pub(super) struct Addresses {
    /// The place as configured.
    place: ServerAddress,
    /// Whether the host is a name, whose addresses may change, and not an
    /// address.
    is_name: bool,
    /// The addresses that were found last; empty before the first look-up.
    known: ArcSwap<Vec<SocketAddr>>,
    /// How often `known` has changed.
    changes: AtomicUsize,
    /// Counts connections, to begin at another address each time.
    rotation: AtomicUsize,
    /// The time of the next look-up.
    schedule: Mutex<Schedule>,
}

/// The address that a connection goes to, to find out whether the server still
/// has it.
#[derive(Debug)]
pub(super) struct Peer {
    /// `None` if the system did not tell it; such a connection is taken to be
    /// up to date.
    address: Option<SocketAddr>,
    /// The number of changes of the server's addresses at which this one was
    /// last found among them.
    seen_at: AtomicUsize,
}

impl Peer {
    /// The peer of a connection that was just made.
    pub(super) fn new(address: Option<SocketAddr>) -> Self {
        // No list of addresses has changed so often, so that the first
        // comparison is a real one.
        Self {
            address,
            seen_at: AtomicUsize::new(usize::MAX),
        }
    }
}

/// The outcome of a look-up.
#[derive(Debug)]
pub(super) enum LookupOutcome {
    /// Nothing: the addresses are the same, or the name was not found for
    /// another time.
    Unchanged,
    /// There are other addresses than before.
    Changed,
    /// The name was not found for the first time in a row. The addresses stay.
    Failed(io::Error),
}

impl Addresses {
    /// The addresses of a server that is configured at `place`.
    pub(super) fn new(place: ServerAddress) -> Self {
        let (is_name, known) = match &place {
            ServerAddress::Tcp { host, port } => match host.parse::<IpAddr>() {
                Ok(ip) => (false, vec![SocketAddr::new(ip, *port)]),
                Err(_) => (true, Vec::new()),
            },
            ServerAddress::Unix(_) | ServerAddress::Srv { .. } => (false, Vec::new()),
        };
        Self {
            place,
            is_name,
            known: ArcSwap::from_pointee(known),
            changes: AtomicUsize::new(0),
            rotation: AtomicUsize::new(0),
            schedule: Mutex::default(),
        }
    }

    /// The path of the socket that the server is reached by; `None` for a
    /// server that is reached over TCP.
    pub(super) fn socket(&self) -> Option<&Path> {
        match &self.place {
            ServerAddress::Unix(path) => Some(path),
            ServerAddress::Tcp { .. } | ServerAddress::Srv { .. } => None,
        }
    }

    /// The known addresses; none of a socket.
    pub(super) fn all(&self) -> Arc<Vec<SocketAddr>> {
        self.known.load_full()
    }

    /// The known addresses, and the index of the one to begin with, which is
    /// another one each time.
    pub(super) fn rotated(&self) -> (Arc<Vec<SocketAddr>>, usize) {
        let known = self.known.load_full();
        let first = if known.len() > 1 {
            self.rotation.fetch_add(1, Ordering::Relaxed) % known.len()
        } else {
            0
        };
        (known, first)
    }

    /// Whether the server still has the address of this connection. Costs two
    /// loads as long as nothing has changed.
    #[inline]
    pub(super) fn have(&self, peer: &Peer) -> bool {
        let changes = self.changes.load(Ordering::Relaxed);
        peer.seen_at.load(Ordering::Relaxed) == changes || self.contain(peer, changes)
    }

    /// Compares the connection's address with the known ones, and remembers
    /// that it is among them.
    fn contain(&self, peer: &Peer, changes: usize) -> bool {
        let has = !self.is_name
            || peer
                .address
                .is_none_or(|address| self.known.load().contains(&address));
        if has {
            peer.seen_at.store(changes, Ordering::Relaxed);
        }
        has
    }

    /// Has the name looked up soon, as none of its addresses accepts a
    /// connection: it may have others by now. It is looked up once a second at
    /// most.
    pub(super) fn suspect(&self) {
        if !self.is_name {
            return;
        }
        let mut schedule = self.schedule.lock();
        let now = Instant::now();
        let soonest = schedule
            .begun
            .map_or(now, |begun| begun + SHORTEST_INTERVAL);
        if let Some(due) = schedule.due.filter(|_| !schedule.is_running) {
            schedule.due = Some(due.min(soonest));
            // The control thread does not know of it yet if it was due later,
            // and has to hurry if it is due.
            if due > soonest || due <= now {
                request_a_look();
            }
        }
    }

    /// Begins a look-up if one is due at `now` and none is running. Follow it
    /// by [`refresh`](Self::refresh).
    pub(super) fn begin(&self, now: Instant) -> bool {
        self.is_name && self.schedule.lock().begin(now)
    }

    /// Looks the name up and schedules the next look-up. Calls `report` with
    /// the outcome, and before that with a failure if the look-up is overdue.
    pub(super) async fn refresh(&self, servers: &NameServers, report: impl Fn(LookupOutcome)) {
        let is_unlucky = self.schedule.lock().has_failed || self.known.load().is_empty();
        let late = || report(self.fail(io::ErrorKind::TimedOut.into()));
        let (outcome, interval) = match SLOTS.run(is_unlucky, self.look_up(), late).await {
            Ok(found) => {
                self.schedule.lock().has_failed = false;
                (self.update(found), self.time_to_live(servers).await)
            }
            Err(error) => (self.fail(error), RETRY_INTERVAL),
        };
        report(outcome);
        self.schedule.lock().end(Instant::now() + interval);
    }

    /// Notes a failure, which is reported if the last look-up had not failed.
    fn fail(&self, error: io::Error) -> LookupOutcome {
        let had_failed = std::mem::replace(&mut self.schedule.lock().has_failed, true);
        if had_failed {
            LookupOutcome::Unchanged
        } else {
            LookupOutcome::Failed(error)
        }
    }

    /// Takes over the addresses that were found.
    fn update(&self, found: Vec<SocketAddr>) -> LookupOutcome {
        if **self.known.load() == found {
            return LookupOutcome::Unchanged;
        }
        self.known.store(Arc::new(found));
        self.changes.fetch_add(1, Ordering::Release);
        LookupOutcome::Changed
    }

    /// How long the addresses are valid, within the bounds of the interval.
    async fn time_to_live(&self, servers: &NameServers) -> Duration {
        let ServerAddress::Tcp { host, .. } = &self.place else {
            return LONGEST_INTERVAL;
        };
        let ttl = timeout(TTL_TIMEOUT, servers.time_to_live(host)).await;
        ttl.ok().flatten().map_or(DEFAULT_INTERVAL, valid_for)
    }

    /// Asks the system's resolver, on a thread that may block.
    ///
    /// # Errors
    /// The name was not found, has no address, or no name server responded.
    async fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        let ServerAddress::Tcp { host, port } = self.place.clone() else {
            return Ok(Vec::new());
        };
        let look = move || match ((&*host, port).to_socket_addrs(), host.strip_suffix('.')) {
            // `/etc/hosts` has no names with a final dot.
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
