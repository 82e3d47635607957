//! The number of open connections to one server, and the queue of requests that
//! wait for one.
//!
//! All workers share this, and so do the pools of HTTP/1 and HTTP/2. A request
//! normally takes an idle connection of its own worker, which touches nothing
//! here but [`Capacity::is_contended`]. Only when `max_connections` are open
//! does it join the queue, for at most `wait_timeout`.
//!
//! The queue is strict: while a request waits, a request that arrives joins
//! behind it instead of taking a connection past it, and only the request at
//! the front looks for connections that become free. So one wake-up suffices
//! for each connection, and no request starves.
//!
//! # Invariants
//!
//! * `open` is at most `max_connections` of the configuration under which the
//!   permits were taken. A reload that changes the number makes a new capacity,
//!   and connections of the old one are not reused.
//! * A request that leaves the queue, also by cancellation, drops its place,
//!   and the next one becomes the front.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex, MutexGuard, Notify, futures::Notified},
    time::Instant,
};

use super::address::{Addresses, Peer};
use crate::policy;

/// Limits on the connections to one server, and how far they are used up.
#[derive(Debug)]
pub(super) struct Capacity {
    /// The bounds and timeouts of the pool.
    pub(super) settings: policy::Pool,
    /// The server's addresses. A connection to one that the server no longer
    /// has is not reused.
    addresses: Arc<Addresses>,
    /// Connections that are open or being made.
    open: AtomicUsize,
    /// Requests in the queue.
    waiting: AtomicUsize,
    /// Held by the request at the front of the queue. tokio's mutex is fair: it
    /// is passed on in the order of arrival.
    front: Mutex<()>,
    /// Wakes the request at the front when something became free since it last
    /// looked.
    freed: Notify,
}

impl Capacity {
    /// The capacity of a server without connections.
    pub(super) fn new(settings: policy::Pool, addresses: Arc<Addresses>) -> Self {
        Self {
            settings,
            addresses,
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            front: Mutex::new(()),
            freed: Notify::new(),
        }
    }

    /// Permission to open a connection, unless `max_connections` are open.
    pub(super) fn permit(self: &Arc<Self>) -> Option<ConnectionPermit> {
        let max = self.settings.max_connections.get();
        let taken = self
            .open
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |open| {
                (open < max).then_some(open + 1)
            });
        taken.ok().map(|_| ConnectionPermit(Arc::clone(self)))
    }

    /// Connections that are open or being made.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether requests are waiting. A request that arrives now has to join the
    /// queue behind them.
    pub(super) fn is_contended(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Joins the queue. Ready at its front; dropping the result lets the next
    /// request move up.
    pub(super) async fn queue(&self) -> FrontOfQueue<'_> {
        let waiter = QueuedForConnection::new(self);
        FrontOfQueue {
            _turn: self.front.lock().await,
            waiter,
        }
    }

    /// Wakes the request at the front of the queue, as a connection or a stream
    /// became free.
    ///
    /// A wake-up that comes between two looks is not lost: `Notify` keeps one
    /// permit.
    pub(super) fn wake_front(&self) {
        if self.is_contended() {
            self.freed.notify_one();
        }
    }

    /// Whether a connection may be used for another request: it is younger than
    /// `max_lifetime`, and `peer` is still an address of the server.
    #[inline]
    pub(super) fn allows_reuse(&self, opened: Instant, peer: &Peer, now: Instant) -> bool {
        is_within(opened, self.settings.max_lifetime, now) && self.addresses.have(peer)
    }
}

/// Whether `now` is less than `time` after `since`. An end beyond the range of
/// the clock is never reached.
#[inline]
pub(super) fn is_within(since: Instant, time: Duration, now: Instant) -> bool {
    since.checked_add(time).is_none_or(|end| now < end)
}

/// Permission to have one connection open, held by the connection. Dropping it
/// frees one of `max_connections`.
#[derive(Debug)]
pub(super) struct ConnectionPermit(Arc<Capacity>);

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Release);
        self.0.wake_front();
    }
}

/// The front of the queue.
pub(super) struct FrontOfQueue<'a> {
    _turn: MutexGuard<'a, ()>,
    waiter: QueuedForConnection<'a>,
}

impl FrontOfQueue<'_> {
    /// Ready when something became free since the last wake-up.
    ///
    /// Look for a free connection before awaiting this: it may have become free
    /// before this request reached the front.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.waiter.0.freed.notified()
    }
}

/// Counts one request in the queue; the count is decremented on drop.
struct QueuedForConnection<'a>(&'a Capacity);

impl<'a> QueuedForConnection<'a> {
    /// Counts a request that joins the queue.
    fn new(capacity: &'a Capacity) -> Self {
        capacity.waiting.fetch_add(1, Ordering::AcqRel);
        Self(capacity)
    }
}

impl Drop for QueuedForConnection<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Release);
    }
}
