//! One listener as all workers share it: what holds for those who come, and who is in.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    ConnectionLimits,
    crowd::{Crowd, Guest},
    idle::{Roll, Rolls, Seat},
    places::Places,
};
use crate::{
    telemetry::{Latch, ListenerMetrics, Metrics},
    tls::ServerTls,
};

/// How long accepting pauses when the process has no file descriptor left. Connections that close end it earlier.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a connection without a request is waited for once the door drains: a request that was sent before its client
/// could know arrives within it, by any network.
const GRACE: Duration = Duration::from_secs(1);
/// Least time between two lines about the same kind of refusal.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// One listener as all workers share it.
#[derive(Debug)]
pub struct Door {
    /// The address that it is bound to.
    pub name: Arc<str>,
    /// Cancelled when the listener is removed or the process drains.
    pub drain: CancellationToken,
    /// Milliseconds that a connection without a request is waited for once the door drains.
    grace: AtomicU64,
    settings: ArcSwap<DoorSettings>,
    places: Places,
    rolls: Rolls,
    crowd: Arc<Crowd>,
    is_full: Latch,
    /// Open connections when the system last had no file descriptor for another; 0 when it has.
    short_at: AtomicUsize,
    /// Handshakes between a whole ClientHello and their end.
    handshaking: AtomicUsize,
    /// Times of idle connections count from here.
    opened: Instant,
    /// Connections that were closed as their client had too many.
    refused: Rarely,
    /// Handshakes that were refused.
    unsecured: Rarely,
    pub(super) metrics: Arc<ListenerMetrics>,
    process: Arc<Metrics>,
}

/// Something that strangers can bring about as often as they like: told now and then, not each time.
#[derive(Debug, Default)]
struct Rarely(Mutex<(Option<Instant>, u64)>);

impl Rarely {
    /// Counts one more; how many there were since the last line, when it is time for another one.
    fn another(&self) -> Option<u64> {
        let mut state = self.0.lock();
        let (told, since) = &mut *state;
        *since += 1;
        if told.is_some_and(|told| told.elapsed() < TOLD_AGAIN) {
            return None;
        }
        *told = Some(Instant::now());
        Some(std::mem::take(since))
    }
}

/// Settings that may change while a listener stays open; they hold for connections from then on.
#[derive(Debug, Clone)]
pub struct DoorSettings {
    /// Open connections over all workers, at least 1.
    pub max_connections: usize,
    /// Open connections of one client over all listeners, at least 1.
    pub max_per_client: usize,
    /// Peers that speak for many clients: their connections are not counted by address.
    pub trusted: Arc<[IpNet]>,
    /// The connections that each client may have.
    pub limits: ConnectionLimits,
    /// Each begins with a PROXY protocol header, within the time for a head.
    pub proxy_protocol: bool,
    /// Then comes TLS.
    pub tls: Option<ServerTls>,
    /// How long its handshake may take.
    pub tls_handshake: Duration,
}

impl Door {
    /// A listener that is about to open.
    pub fn new(
        name: Arc<str>,
        settings: DoorSettings,
        crowd: Arc<Crowd>,
        process: Arc<Metrics>,
    ) -> Arc<Self> {
        let door = Arc::new(Self {
            metrics: process.listener(&name),
            name,
            drain: CancellationToken::new(),
            grace: AtomicU64::new(GRACE.as_millis() as u64),
            settings: ArcSwap::from_pointee(settings),
            places: Places::default(),
            rolls: Rolls::default(),
            crowd: Arc::clone(&crowd),
            is_full: Latch::default(),
            short_at: AtomicUsize::new(0),
            handshaking: AtomicUsize::new(0),
            opened: Instant::now(),
            refused: Rarely::default(),
            unsecured: Rarely::default(),
            process,
        });
        crowd.add(&door);
        door
    }

    /// Changes what holds for new connections.
    pub fn reconfigure(&self, settings: DoorSettings) {
        self.settings.store(Arc::new(settings));
        self.places.wake();
    }

    /// Takes no more connections, and ends those that are open with what is in flight, or without a request soon: within
    /// half of `patience`, after which they will be cut.
    pub fn begin_drain(&self, patience: Duration) {
        let grace = GRACE.min(patience / 2);
        self.grace
            .store(grace.as_millis() as u64, Ordering::Relaxed);
        self.drain.cancel();
    }

    /// How long a connection without a request is waited for once the door drains.
    pub(super) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace.load(Ordering::Relaxed))
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.places.taken()
    }

    /// TLS handshakes that are worked on; `None` where there is no TLS.
    pub fn handshaking(&self) -> Option<usize> {
        self.settings.load().tls.is_some().then(|| self.shaking())
    }

    pub(super) fn shaking(&self) -> usize {
        self.handshaking.load(Ordering::Relaxed)
    }

    /// Counts a handshake until the guard is dropped.
    pub(super) fn shakes_hands(&self) -> Handshaking<'_> {
        self.handshaking.fetch_add(1, Ordering::Relaxed);
        Handshaking(&self.handshaking)
    }

    /// The TLS that holds for new connections.
    pub fn tls(&self) -> Option<ServerTls> {
        self.settings.load().tls.clone()
    }

    /// The settings that hold for new connections.
    pub(super) fn settings(&self) -> Guard<Arc<DoorSettings>> {
        self.settings.load()
    }

    /// A roll for the connections of another worker.
    pub(super) fn roll(&self) -> Arc<Roll> {
        self.rolls.another()
    }

    /// Counts a connection of `peer` for its client. The guard counts until it is dropped; it is `None` where nobody
    /// counts.
    ///
    /// # Errors
    /// The client has as many as it may have: the connection is to be closed.
    pub(super) fn admit(
        &self,
        peer: SocketAddr,
        settings: &DoorSettings,
    ) -> Result<Option<Guest>, TooMany> {
        let address = peer.ip().to_canonical();
        if settings
            .trusted
            .iter()
            .any(|network| network.contains(&address))
        {
            return Ok(None);
        }
        if let Some(guest) = self.crowd.admit(address, settings.max_per_client) {
            return Ok(Some(guest));
        }
        self.metrics.closed("per_client");
        if let Some(closed) = self.refused.another() {
            tracing::warn!(
                listener = %self.name, client = %peer.ip(), max_connections_per_client = settings.max_per_client, closed,
                "connections closed: the client has as many open as one may have"
            );
        }
        Err(TooMany)
    }

    /// A handshake was refused: what the client showed or wants does not do.
    pub(super) fn unsecured(&self, peer: SocketAddr, why: &str) {
        if let Some(refused) = self.unsecured.another() {
            tracing::info!(listener = %self.name, %peer, refused, "TLS handshakes refused, the last one because {why}");
        }
    }

    /// The reaction to an `accept` that failed.
    pub(super) async fn failed(&self, error: &io::Error) {
        // EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection stays in the kernel's queue; trying at once would spin.
        if !matches!(error.raw_os_error(), Some(23 | 24 | 105 | 12)) {
            // Anything else is about one connection that is gone already.
            return;
        }
        if self.short_at.swap(self.open().max(1), Ordering::Relaxed) == 0 {
            tracing::error!(listener = %self.name, %error, "accepting pauses until a connection closes");
        }
        self.metrics.accept_paused("no_files");
        let left = self.places.changed();
        self.choose();
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = left => {}
        }
    }

    /// A connection asked for too much work, by this kind of frames.
    pub(super) fn flooded(&self, kind: &'static str, peer: SocketAddr) {
        self.metrics.flooded(kind);
        tracing::debug!(listener = %self.name, %peer, kind, "connection closed: a flood of frames");
    }

    /// A connection took too many requests back: its streams are refused until it has calmed down.
    pub(super) fn refuses(&self, peer: SocketAddr) {
        self.metrics.flooded("cancels");
        tracing::debug!(listener = %self.name, %peer, "streams refused: too many requests were taken back");
    }

    /// Notes that the task of a connection ended in a panic.
    pub(super) fn panicked(&self, peer: SocketAddr) {
        self.process.panicked();
        tracing::error!(listener = %self.name, %peer, "what served a connection ended in a panic");
    }

    pub(super) fn accepted(&self) {
        let short_at = self.short_at.load(Ordering::Relaxed);
        // One descriptor that is freed and taken again is no change worth a line.
        if self.open() + short_at / 16 < short_at && self.short_at.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!(listener = %self.name, "accepting connections again");
        }
    }

    /// Takes a place for a connection that was accepted, or waits for one. While it waits, the connection that has idled
    /// longest makes room, or the first one that begins to idle.
    pub(super) async fn enter(self: &Arc<Self>, roll: &Arc<Roll>, guest: Option<Guest>) -> Visit {
        loop {
            if self.take() {
                break;
            }
            // Either this listener is full, or all of them together are.
            let is_own = self.open() >= self.settings.load().max_connections;
            let full = if is_own {
                &self.places
            } else {
                &self.crowd.places
            };
            let (left, _waits) = (full.changed(), full.wait());
            // A place that was left before is not heard of any more.
            if self.take() {
                break;
            }
            if !self.choose() && (is_own || !self.crowd.choose()) {
                self.pause();
            }
            left.await;
        }
        let seat = Seat::new(Arc::clone(self));
        roll.enter(&seat);
        Visit {
            seat,
            roll: Arc::clone(roll),
            _guest: guest,
        }
    }

    fn take(&self) -> bool {
        let max = self.settings.load().max_connections;
        if !self.places.take(max) {
            return false;
        }
        if !self.crowd.places.take(self.crowd.most) {
            self.places.leave();
            return false;
        }
        // One place that is left and taken again is no change worth a line.
        if self.open() + max / 16 < max && self.is_full.clear() {
            tracing::info!(listener = %self.name, "accepting connections again");
        }
        true
    }

    /// All places are taken, and nobody idles.
    fn pause(&self) {
        if self.is_full.raise() {
            let max = self.settings.load().max_connections;
            tracing::warn!(listener = %self.name, max_connections = max, "accepting pauses: all connections are taken");
        }
        self.metrics.accept_paused("max_connections");
    }

    /// Chooses the connection that has idled longest to make room; false when none idles.
    pub(super) fn choose(&self) -> bool {
        let is_chosen = self.rolls.choose();
        if is_chosen {
            self.metrics.closed("idle");
        }
        is_chosen
    }

    /// A connection idles now: it can make room for one that waits.
    pub(super) fn one_idles(&self) {
        self.places.wake_if_awaited();
        self.crowd.places.wake_if_awaited();
    }

    /// A moment as the number that idle connections are compared by.
    pub(super) fn micros(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.opened).as_micros() as u64
    }
}

/// A client has as many connections as it may have.
#[derive(Debug)]
pub(super) struct TooMany;

/// A handshake that is worked on.
#[derive(Debug)]
pub(super) struct Handshaking<'a>(&'a AtomicUsize);

impl Drop for Handshaking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open connection; leaves when dropped.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) seat: Arc<Seat>,
    roll: Arc<Roll>,
    _guest: Option<Guest>,
}

impl Visit {
    pub(super) fn ended(self, peer: SocketAddr, in_panic: bool) {
        if in_panic {
            self.seat.door().panicked(peer);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let door = self.seat.door();
        self.roll.leave(&self.seat);
        door.crowd.places.leave();
        door.places.leave();
    }
}
