//! One open connection, whichever protocol it speaks: the parts that serving it
//! takes, and those that it holds while it is open.

use std::{net::SocketAddr, sync::Arc};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    clients::ClientGuard,
    eviction::{IdleCell, Registry},
    listener::{Listener, ListenerSlot},
};
use crate::{message::Origin, policy::ConnectionLimits};

/// Everything that serving a connection takes, apart from its bytes.
pub(super) struct ConnectionContext<S> {
    /// Responds to its requests.
    pub(super) service: S,
    /// The bounds on heads and silence.
    pub(super) limits: ConnectionLimits,
    /// Both ends of the connection.
    pub(super) origin: Arc<Origin>,
    /// The link to the listener.
    pub(super) handle: ConnectionHandle,
}

/// A connection's link to its listener: hears that it has to end, and records
/// when it is idle.
#[derive(Debug, Clone)]
pub(super) struct ConnectionHandle {
    cell: Arc<IdleCell>,
    listener: Arc<Listener>,
}

impl ConnectionHandle {
    /// The listener that accepted the connection.
    pub(super) fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }

    /// Cancelled when the connection is to end after the requests in flight:
    /// the listener drains, or the connection is evicted.
    pub(super) fn drain(&self) -> &CancellationToken {
        self.cell.drain()
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

/// Held for as long as a connection is open. Frees its slot and its client's
/// count on drop, also after a panic.
#[derive(Debug)]
pub(super) struct ConnectionGuard {
    pub(super) handle: ConnectionHandle,
    registry: Arc<Registry>,
    _slot: ListenerSlot,
    _client: Option<ClientGuard>,
}

impl ConnectionGuard {
    /// Registers a connection that has a slot. `client` is `None` if
    /// connections are not counted by client.
    pub(super) fn new(
        slot: ListenerSlot,
        registry: &Arc<Registry>,
        client: Option<ClientGuard>,
    ) -> Self {
        let listener = Arc::clone(slot.listener());
        let cell = Arc::new(IdleCell::new(listener.drain.child_token()));
        registry.insert(&cell);
        Self {
            handle: ConnectionHandle { cell, listener },
            registry: Arc::clone(registry),
            _slot: slot,
            _client: client,
        }
    }

    /// Logs that the task which served the connection to `peer` panicked.
    pub(super) fn panicked(&self, peer: SocketAddr) {
        self.handle.listener.panicked(peer);
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.registry.remove(&self.handle.cell);
    }
}
