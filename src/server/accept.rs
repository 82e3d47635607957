//! The accept loop of one listener on one worker.
//!
//! Each worker accepts on a socket of its own (see [`bind`](super::bind)), and
//! a connection is one task on the worker that accepted it, from here to its
//! end. For each connection the loop
//!
//! 1. counts it for its client, or closes it if the client is banned or has too
//!    many;
//! 2. acquires a slot of the listener and of the process, and waits for one if
//!    there is none, so that further connections wait in the kernel's queue;
//! 3. spawns the task, which holds slot and count in a [`ConnectionGuard`].
//!
//! # Ending
//!
//! When the listener drains, the loop ends after it has served the connections
//! that the kernel had completed by then. Open connections see the same token
//! and end by themselves. A panic in the task of a connection is caught and
//! counted, and ends that connection only.
//!
//! # Concurrency
//!
//! The loop is one task. It awaits a slot before it accepts again, so that at
//! most one accepted connection of each loop has none. All else that a
//! connection takes, from its first byte on, happens in its own task: a slow
//! client delays no other.
//!
//! # Errors of accept
//!
//! An error that concerns one connection is ignored, and the loop goes on. A
//! lack of file descriptors or of memory makes it pause
//! (`Listener::accept_failed`). No error ends it.

#[cfg(test)]
pub(super) mod tests;

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::{sync::Semaphore, task::coop};
use tokio_util::task::TaskTracker;

use super::{
    Listener, ListenerSettings, Socket,
    bind::BACKLOG,
    connection::{ConnectionContext, ConnectionHandle, RequestService},
    connections::{ClientGuard, IdleCell, Registry},
    handshake::{self, CONCURRENT_HANDSHAKES},
    http1,
    incoming::{Accept, Accepted},
    listener::ListenerSlot,
    proxy_protocol::Ends,
};

/// One listener on one worker.
///
/// It owns a share of everything that its connections need, and hands out
/// clones.
struct Acceptor<S> {
    /// Its settings are loaded anew for each connection, so that a reload
    /// applies to the next one.
    listener: Arc<Listener>,
    /// Cloned for each connection.
    service: S,
    /// The tasks of this worker's connections.
    connections: TaskTracker,
    /// The connections of this listener on this worker.
    registry: Arc<Registry>,
    /// A permit for each TLS handshake that this worker computes.
    handshakes: Arc<Semaphore>,
}

/// Accepts connections from `socket` until the listener drains, and has
/// `service` respond to their requests. Connections that the kernel has
/// completed by then are still served.
///
/// `connections` tracks the tasks, which may outlive this future. Each request
/// is sent to a clone of `service` that was seen ready.
///
/// Dropping this future closes the socket and leaves the tasks of its
/// connections running.
pub async fn accept<A, S>(
    mut socket: A,
    listener: Arc<Listener>,
    service: S,
    connections: TaskTracker,
) where
    A: Accept,
    S: RequestService,
{
    let mut acceptor = Acceptor {
        registry: listener.add_registry(),
        listener,
        service,
        connections,
        handshakes: Arc::new(Semaphore::new(CONCURRENT_HANDSHAKES)),
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = acceptor.listener.drain.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((arrived, peer)) => acceptor.admit::<A>(arrived, peer).await,
            Err(error) => acceptor.listener.accept_failed(&error).await,
        }
    }
    acceptor.finish(socket).await;
}

impl<S> Acceptor<S>
where
    S: RequestService,
{
    /// Serves the connections that were in the kernel's queue when the drain
    /// began, as closing the socket resets them. At most as many as the queue
    /// holds: later ones must not keep the process from ending.
    ///
    /// A client that connects at the moment of the close, or is half connected
    /// then, is still reset, just as one that comes a moment later is refused.
    /// No program can tell the kernel to let the queue run dry;
    /// `[shutdown] delay` is for that.
    async fn finish<A: Accept>(&mut self, mut socket: A) {
        for _ in 0..=BACKLOG {
            // Lets the connections that are already served run, too.
            coop::consume_budget().await;
            match socket.accept_waiting() {
                Ok(Some((arrived, peer))) => self.admit::<A>(arrived, peer).await,
                Ok(None) => return,
                Err(error) => self.listener.accept_failed(&error).await,
            }
        }
    }

    /// Serves a connection once there is a slot for it. If its client is banned
    /// or has too many connections, it is closed at once, before it costs
    /// anything more, and does not even wait for a slot.
    ///
    /// A refused connection is closed without a response: its client speaks a
    /// protocol that is not known yet.
    async fn admit<A: Accept>(&mut self, arrived: A::Arrived, peer: SocketAddr) {
        let client = {
            let settings = self.listener.settings();
            // A load balancer's address is not the client's: the header that it
            // sends names the client.
            if settings.policy.proxy_protocol {
                Ok(None)
            } else {
                self.listener.admit(peer, &settings)
            }
        };
        let Ok(client) = client else {
            return A::reject(arrived);
        };
        let accepted = match A::set_up(arrived, peer) {
            Ok(accepted) => accepted,
            Err(error) => return self.listener.accept_failed(&error).await,
        };
        let slot = self.listener.acquire_slot().await;
        let guard = ConnectionGuard::new(slot, &self.registry, client);
        self.spawn(accepted, guard);
    }

    /// Spawns the task that serves a connection.
    ///
    /// The connection is registered before. Its guard moves to the task, which
    /// drops it at the end in any case, also when the task is dropped by a
    /// worker that is cut.
    fn spawn<IO: Socket>(&self, accepted: Accepted<IO>, guard: ConnectionGuard) {
        self.listener.accepted();
        let settings = self.listener.settings();
        if settings.policy.proxy_protocol || settings.tls.is_some() {
            return self.spawn_with_handshake(accepted, Arc::clone(&settings), guard);
        }
        let Accepted { io, peer, local } = accepted;
        let context = ConnectionContext {
            settings: Arc::clone(&settings),
            origin: Arc::new(settings.origin(peer, local)),
            handle: guard.handle.clone(),
        };
        let served = http1::serve(io, BytesMut::new(), self.service.clone(), context);
        self.track(served, guard, peer);
    }

    /// Spawns the task of a connection that begins with a PROXY protocol header
    /// or a TLS handshake.
    ///
    /// The settings that the connection was accepted under go with it.
    fn spawn_with_handshake<IO: Socket>(
        &self,
        accepted: Accepted<IO>,
        settings: Arc<ListenerSettings>,
        guard: ConnectionGuard,
    ) {
        let Accepted { io, peer, local } = accepted;
        let ends = Ends {
            source: peer,
            destination: local,
        };
        let served = handshake::serve(
            io,
            ends,
            settings,
            self.service.clone(),
            guard.handle.clone(),
            Arc::clone(&self.handshakes),
        );
        self.track(served, guard, peer);
    }

    /// Spawns the task of the connection from `peer`, which holds its guard to
    /// the end.
    ///
    /// Combinators and no `async` block: the block would have room for `served`
    /// twice, as it was captured and as it is awaited.
    fn track(
        &self,
        served: impl Future<Output = ()> + Send + 'static,
        guard: ConnectionGuard,
        peer: SocketAddr,
    ) {
        let ended = AssertUnwindSafe(served).catch_unwind();
        self.connections.spawn(ended.map(move |ended| {
            if ended.is_err() {
                guard.panicked(peer);
            }
        }));
    }
}

/// Held for as long as a connection is open. Frees its slot and its client's
/// count on drop.
#[derive(Debug)]
struct ConnectionGuard {
    /// The link of the connection to its listener.
    handle: ConnectionHandle,
    /// The registry that the connection is in, that of its worker.
    registry: Arc<Registry>,
    /// A slot of the listener and of the process.
    _slot: ListenerSlot,
    /// The count for its client; `None` where connections are not counted.
    _client: Option<ClientGuard>,
}

impl ConnectionGuard {
    /// Registers a connection that has a slot. `client` is `None` where
    /// connections are not counted by client.
    ///
    /// The connection counts as busy until it says otherwise, so that it cannot
    /// be evicted before its task has run.
    fn new(slot: ListenerSlot, registry: &Arc<Registry>, client: Option<ClientGuard>) -> Self {
        let listener = Arc::clone(slot.listener());
        let cell = Arc::new(IdleCell::new());
        registry.insert(&cell);
        // Looked at after that, as a drain ends the registered connections only.
        if listener.drain.is_cancelled() {
            cell.end();
        }
        Self {
            registry: Arc::clone(registry),
            handle: ConnectionHandle::new(cell, listener),
            _slot: slot,
            _client: client,
        }
    }

    /// Logs that the task which served the connection to `peer` panicked.
    ///
    /// The guard itself is dropped afterwards, as after any other end.
    fn panicked(&self, peer: SocketAddr) {
        self.handle.listener().panicked(peer);
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.registry.remove(self.handle.cell());
    }
}
