//! One open connection, whichever protocol it speaks: everything that serving
//! it takes, and its link to the listener that accepted it.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tower::Service;

use super::{connections::IdleCell, listener::Listener, settings::ListenerSettings};
use crate::{
    message::{Arrival, Origin, Response},
    policy::ConnectionLimits,
};

/// The service that responds to the requests of connections. Each connection
/// has a clone, and each stream of HTTP/2 another one.
///
/// It is a name for these bounds: every service that meets them implements it.
/// Its future can be moved, so that it is small: one that has to wait is in a
/// box, and a response that is there at once needs none.
pub trait RequestService:
    Service<Arrival, Response = Response, Error = Infallible, Future: Send + Unpin>
    + Clone
    + Send
    + 'static
{
}

impl<S> RequestService for S where
    S: Service<Arrival, Response = Response, Error = Infallible, Future: Send + Unpin>
        + Clone
        + Send
        + 'static
{
}

/// Everything that serving a connection takes, apart from its bytes and from
/// the service that responds to its requests.
pub(super) struct ConnectionContext {
    /// The settings that the connection was accepted under.
    pub(super) settings: Arc<ListenerSettings>,
    /// Both ends of the connection.
    pub(super) origin: Arc<Origin>,
    /// The link to the listener.
    pub(super) handle: ConnectionHandle,
}

impl ConnectionContext {
    /// The bounds on heads and silence.
    pub(super) fn limits(&self) -> &ConnectionLimits {
        &self.settings.policy.limits
    }
}

/// A connection's link to its listener: hears that it has to end, and records
/// when it is idle.
#[derive(Debug, Clone)]
pub(super) struct ConnectionHandle {
    /// Where the connection records that it is idle.
    cell: Arc<IdleCell>,
    /// The listener that accepted the connection.
    listener: Arc<Listener>,
}

impl ConnectionHandle {
    /// Links the connection with this `cell` to its listener.
    pub(super) fn new(cell: Arc<IdleCell>, listener: Arc<Listener>) -> Self {
        Self { cell, listener }
    }

    /// The listener that accepted the connection.
    pub(super) fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }

    /// The cell in which the connection records that it is idle.
    pub(super) fn cell(&self) -> &IdleCell {
        &self.cell
    }

    /// Whether the connection is to end after the requests in flight: the
    /// listener drains, or the connection is evicted.
    pub(super) fn must_end(&self) -> bool {
        self.cell.must_end()
    }

    /// Ready once [`must_end`](Self::must_end) is true. Only the connection's
    /// own task polls this: the last task that did is woken.
    pub(super) fn poll_must_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.cell.poll_must_end(cx)
    }

    /// Records that the connection has no request since `now` and may be
    /// evicted.
    pub(super) fn set_idle(&self, now: Instant) {
        self.cell.set_idle(self.listener.micros(now));
        self.listener.wake_waiters();
    }

    /// Records that the connection has a request.
    pub(super) fn set_busy(&self) {
        if self.cell.set_busy() {
            self.listener.wake_waiters();
        }
    }

    /// Whether the connection is to make room for another one and has no
    /// request.
    pub(super) fn is_evicted(&self) -> bool {
        self.cell.is_evicted()
    }
}
