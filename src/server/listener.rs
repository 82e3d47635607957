//! One listener as all workers share it: the settings for new connections, and
//! the bounds on how many are open.
//!
//! # Slots
//!
//! A connection needs a slot of its listener (`max_connections`) and one of the
//! process (the limit on open files). A worker that finds none evicts the
//! connection that has been idle for longest, and waits otherwise; meanwhile
//! further connections wait in the kernel's queue, where they cost nothing.
//! When a slot is released all waiting workers try again, as the first of them
//! may have no connection to accept.
//!
//! # Reloads
//!
//! Settings are replaced as a whole and apply to new connections. An open
//! connection keeps those that it was accepted under.
//!
//! # Logging
//!
//! Strangers can cause most of these events as often as they like. Their log
//! lines are throttled, or belong to a change of state, and each event is
//! counted in a metric.

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
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    connections::{AllConnections, ClientGuard, Connections, Registry},
    log_throttle::LogThrottle,
    settings::ListenerSettings,
    slots::{CountedOne, Slots},
};
use crate::{
    message::UNIX_PEER,
    policy::ListenAddress,
    telemetry::{Latch, ListenerMetrics, Metrics},
    tls::ServerTls,
};

/// The pause of accepting if the process has no file descriptor left. A
/// connection that closes ends the pause.
const PAUSE: Duration = Duration::from_millis(100);

/// The time for which a connection without a request is kept once the listener
/// drains. Over any network, a request arrives within this time if it was sent
/// before its client could know of the drain.
const GRACE: Duration = Duration::from_secs(1);

/// A listener as all workers share it.
#[derive(Debug)]
pub struct Listener {
    /// The address that it is bound to, with the port that the system chose.
    pub local: ListenAddress,
    /// Cancelled by [`close`](Self::close).
    pub(super) drain: CancellationToken,
    /// How long a connection without a request is kept once the listener
    /// drains, in milliseconds.
    grace: AtomicU64,
    /// The settings of new connections.
    settings: ArcSwap<ListenerSettings>,
    /// The slots of this listener.
    slots: Slots,
    /// The connections of this listener, for evictions.
    connections: Arc<Connections>,
    /// The connections and slots of all listeners together.
    all: Arc<AllConnections>,
    /// Raised while accepting pauses for lack of a slot.
    is_full: Latch,
    /// Open connections when the system last had no file descriptor for another
    /// one; 0 when it has.
    short_at: AtomicUsize,
    /// TLS handshakes between a whole ClientHello and their end.
    handshaking: AtomicUsize,
    /// The times of idle connections count from here.
    opened: Instant,
    /// Connections that were closed because their client had too many.
    refused: LogThrottle,
    /// TLS handshakes that were refused.
    unsecured: LogThrottle,
    /// The metrics of the process: those of listeners by name, and panics.
    process: Arc<Metrics>,
}

impl Listener {
    /// A listener that is about to open.
    pub fn new(
        local: ListenAddress,
        settings: ListenerSettings,
        all: Arc<AllConnections>,
        process: Arc<Metrics>,
    ) -> Arc<Self> {
        let connections = Connections::new(process.listener(settings.fields.name()));
        all.add(&connections);
        Arc::new(Self {
            local,
            drain: CancellationToken::new(),
            grace: AtomicU64::new(GRACE.as_millis() as u64),
            settings: ArcSwap::from_pointee(settings),
            slots: Slots::default(),
            connections,
            all,
            is_full: Latch::default(),
            short_at: AtomicUsize::new(0),
            handshaking: AtomicUsize::new(0),
            opened: Instant::now(),
            refused: LogThrottle::default(),
            unsecured: LogThrottle::default(),
            process,
        })
    }

    /// Changes the settings for new connections. A larger number of connections
    /// takes effect at once for those that wait.
    /// Under a new name, it counts in the metrics of that name.
    pub fn reconfigure(&self, settings: ListenerSettings) {
        let metrics = self.process.listener(settings.fields.name());
        self.connections.metrics.store(metrics);
        self.settings.store(Arc::new(settings));
        self.slots.wake();
    }

    /// [Closes](Self::close), as the process ends. Connections without a request
    /// end within half of `timeout`, after which all that are left will be cut.
    pub fn begin_drain(&self, timeout: Duration) {
        let grace = GRACE.min(timeout / 2);
        self.grace
            .store(grace.as_millis() as u64, Ordering::Relaxed);
        self.close();
    }

    /// Begins to drain: accepts no more, and lets open connections end after
    /// their requests in flight.
    pub fn close(&self) {
        // In this order: a connection that is registered later sees that the
        // listener drains.
        self.drain.cancel();
        self.connections.end_all();
    }

    /// The time for which a connection without a request is kept once the
    /// listener drains.
    pub(super) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace.load(Ordering::Relaxed))
    }

    /// The name of the listener, which a reload may change.
    pub fn name(&self) -> Arc<str> {
        self.settings.load().fields.name().into()
    }

    /// The counters of the listener.
    pub(super) fn metrics(&self) -> Guard<Arc<ListenerMetrics>> {
        self.connections.metrics.load()
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.slots.used()
    }

    /// TLS handshakes in progress; `None` if the listener has no TLS.
    pub fn handshaking(&self) -> Option<usize> {
        let has_tls = self.settings.load().tls.is_some();
        has_tls.then(|| self.handshakes())
    }

    /// TLS handshakes in progress.
    pub(super) fn handshakes(&self) -> usize {
        self.handshaking.load(Ordering::Relaxed)
    }

    /// Counts a TLS handshake until the guard is dropped.
    pub(super) fn begin_handshake(&self) -> CountedOne<'_> {
        CountedOne::of(&self.handshaking)
    }

    /// The TLS of new connections.
    pub fn tls(&self) -> Option<ServerTls> {
        self.settings.load().tls.clone()
    }

    /// The settings of new connections.
    pub fn settings(&self) -> Guard<Arc<ListenerSettings>> {
        self.settings.load()
    }

    /// A registry for the connections of another worker.
    pub(super) fn add_registry(&self) -> Arc<Registry> {
        self.connections.add_registry()
    }

    /// Counts a connection from `peer` for its client. Returns `None` where
    /// connections are not counted by client.
    ///
    /// # Errors
    /// [`NotAdmitted`] if the client is banned or has as many as it may have; the
    /// connection is to be closed.
    pub(super) fn admit(
        &self,
        peer: SocketAddr,
        settings: &ListenerSettings,
    ) -> Result<Option<ClientGuard>, NotAdmitted> {
        // All processes of this machine would count as one client.
        if peer == UNIX_PEER {
            return Ok(None);
        }
        let address = peer.ip().to_canonical();
        let is_trusted = |network: &IpNet| network.contains(&address);
        if settings.trusted.iter().any(is_trusted) {
            return Ok(None);
        }
        if settings.bans.iter().any(|bans| bans.refuses(address)) {
            self.metrics().closed("banned");
            return Err(NotAdmitted);
        }
        if let Some(guard) = self.all.admit(address, settings.max_per_client) {
            return Ok(Some(guard));
        }
        self.metrics().closed("per_client");
        if let Some(closed) = self.refused.count() {
            tracing::warn!(
                listener = %self.name(), client = %peer.ip(), max_connections_per_client = settings.max_per_client, closed,
                "connections closed: the client has as many open as one may have"
            );
        }
        Err(NotAdmitted)
    }

    /// Logs a TLS handshake that was refused for what the client offered.
    pub(super) fn unsecured(&self, peer: SocketAddr, why: &str) {
        if let Some(refused) = self.unsecured.count() {
            tracing::info!(listener = %self.name(), %peer, refused, "TLS handshakes refused, the last one because {why}");
        }
    }

    /// Reacts to a failed `accept`: if the system is short of resources, waits
    /// until that may have changed.
    pub(super) async fn accept_failed(&self, error: &io::Error) {
        // EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection stays in the kernel's
        // queue, and trying at once would spin.
        if !matches!(error.raw_os_error(), Some(23 | 24 | 105 | 12)) {
            // All others concern one connection, which is already gone.
            return;
        }
        if self.short_at.swap(self.open().max(1), Ordering::Relaxed) == 0 {
            tracing::error!(listener = %self.name(), %error, "accepting pauses until a connection closes");
        }
        self.metrics().accept_paused("no_files");
        let released = self.slots.released();
        self.connections.evict_idle();
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = released => {}
        }
    }

    /// Counts a connection that asked for too much work, by this kind of
    /// frames.
    pub(super) fn flooded(&self, kind: &'static str, peer: SocketAddr) {
        self.metrics().flooded(kind);
        tracing::debug!(listener = %self.name(), %peer, kind, "connection closed: a flood of frames");
    }

    /// Counts a connection that cancelled too many requests; its streams are
    /// refused until it has calmed down.
    pub(super) fn refuses_streams(&self, peer: SocketAddr) {
        self.metrics().flooded("cancels");
        tracing::debug!(listener = %self.name(), %peer, "streams refused: too many requests were taken back");
    }

    /// Logs that the task of a connection panicked.
    pub(super) fn panicked(&self, peer: SocketAddr) {
        self.process.panicked();
        tracing::error!(listener = %self.name(), %peer, "what served a connection ended in a panic");
    }

    /// Notes that a connection was accepted: the system has file descriptors
    /// again.
    pub(super) fn accepted(&self) {
        let short_at = self.short_at.load(Ordering::Relaxed);
        // One descriptor that is freed and used again is not worth a line.
        if self.open() + short_at / 16 < short_at && self.short_at.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!(listener = %self.name(), "accepting connections again");
        }
    }

    /// Acquires a slot for a connection that was accepted, or waits for one.
    pub(super) async fn acquire_slot(self: &Arc<Self>) -> ListenerSlot {
        match self.try_acquire_slot() {
            Some(slot) => slot,
            None => self.wait_for_slot().await,
        }
    }

    /// Waits for a slot. Meanwhile the connection that has been idle for
    /// longest is evicted, or the first one that becomes idle.
    async fn wait_for_slot(self: &Arc<Self>) -> ListenerSlot {
        loop {
            // Either this listener is full, or all of them together are.
            let is_own = self.open() >= self.settings.load().max_connections;
            let full = if is_own { &self.slots } else { &self.all.slots };
            let (released, _waiting) = (full.released(), full.wait());
            // A slot may have been released before `released` was created.
            if let Some(slot) = self.try_acquire_slot() {
                return slot;
            }
            if !self.connections.evict_idle() && (is_own || !self.all.evict_idle()) {
                self.pause();
            }
            released.await;
        }
    }

    /// Acquires a slot of the listener and of the process, or neither.
    fn try_acquire_slot(self: &Arc<Self>) -> Option<ListenerSlot> {
        let max = self.settings.load().max_connections;
        if !self.slots.try_acquire(max) {
            return None;
        }
        if !self.all.slots.try_acquire(self.all.max) {
            self.slots.release();
            return None;
        }
        // One slot that is released and acquired again is not worth a line.
        if self.open() + max / 16 < max && self.is_full.clear() {
            tracing::info!(listener = %self.name(), "accepting connections again");
        }
        Some(ListenerSlot(Arc::clone(self)))
    }

    /// Notes that all slots are used and no connection is idle, so that
    /// accepting pauses.
    fn pause(&self) {
        if self.is_full.raise() {
            let max = self.settings.load().max_connections;
            tracing::warn!(listener = %self.name(), max_connections = max, "accepting pauses: all connections are taken");
        }
        self.metrics().accept_paused("max_connections");
    }

    /// Wakes the workers that wait for a slot: a connection has become idle and
    /// can be evicted.
    pub(super) fn wake_waiters(&self) {
        self.slots.wake_if_awaited();
        self.all.slots.wake_if_awaited();
    }

    /// The microseconds by which idle connections are compared.
    pub(super) fn micros(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.opened).as_micros() as u64
    }
}

/// A client is banned, or has as many open connections as it may have.
#[derive(Debug)]
pub(super) struct NotAdmitted;

/// One of a listener's slots for connections, and one of all listeners
/// together. Released on drop.
#[derive(Debug)]
pub(super) struct ListenerSlot(Arc<Listener>);

impl ListenerSlot {
    /// The listener that the slot belongs to.
    pub(super) fn listener(&self) -> &Arc<Listener> {
        &self.0
    }
}

impl Drop for ListenerSlot {
    fn drop(&mut self) {
        self.0.all.slots.release();
        self.0.slots.release();
    }
}
