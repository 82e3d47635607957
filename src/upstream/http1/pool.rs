//! HTTP/1 connections to one server, and the pool of idle ones.
//!
//! Each worker has idle connections of its own and reuses the one that was used
//! last, so that reuse touches no cache line that another worker writes, and
//! connections that are not needed grow old and are closed. Only when
//! `max_connections` are open does a worker look at the idle connections of
//! others, or wait in the queue of [`Capacity`].
//!
//! # Races
//!
//! A server may close an idle connection at any time.
//! [`PooledConnection::is_quiet`] looks once more before each reuse, without a
//! system call unless something has arrived, and closes a connection that has
//! ended or that sent bytes nobody asked for. A close that arrives after that
//! look is found when the response does not come: the exchange then fails as
//! `Stale`, which the retry layer may answer with a new connection.
//!
//! A response may arrive before the request was sent completely, and the next
//! request must not be mixed with its rest: [`Lease::end`] pools a connection
//! only if both sides are exactly at the end of their message.
//!
//! A request may time out of the queue at the moment at which a connection
//! becomes free for it. The wake-up is then passed on with the front of the
//! queue: the next request looks for free connections when it reaches the
//! front, whether it was woken or not.
//!
//! # Bounds
//!
//! At most `max_idle` connections of all workers together are idle, each for at
//! most `idle_timeout`, and none is reused beyond `max_lifetime`. Open ones are
//! bounded by `max_connections` ([`Capacity`]).
//!
//! # Clients
//!
//! A connection that was announced for a client (`proxy_protocol`) serves only
//! requests of this client. When `max_idle` are idle, the one that its worker
//! used longest ago gives way, so that connections of clients that have left
//! keep none from being pooled. When `max_connections` are open, an idle one of
//! another client is closed.
//!
//! # Event loops
//!
//! A connection belongs to the event loop of the worker that made it. One that
//! another worker took, when all connections were open, returns to its home
//! worker when it is pooled.

#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::connection::PooledConnection;
use crate::{
    call::Exchange,
    runtime::{PerWorker, timer::timeout},
    upstream::{
        capacity::{Capacity, ConnectionPermit, is_within},
        proxy_protocol::ClientEnds,
        stream::Stream,
    },
};

/// A connection in use by one exchange. Dropped without [`end`](Lease::end),
/// the connection closes.
#[derive(Debug)]
pub(in crate::upstream) struct Lease {
    /// Boxed once when it is made, so that pooling and reusing it moves a
    /// pointer.
    pub(super) connection: Box<PooledConnection>,
    pool: Arc<Http1Pool>,
    /// Whether the connection served a request before.
    pub(super) is_reused: bool,
}

impl Lease {
    /// Leases a connection that was just made on the worker `home`, and
    /// announced for `client`, if servers are told it.
    pub(in crate::upstream) fn new(
        io: Stream,
        home: usize,
        permit: ConnectionPermit,
        pool: &Arc<Http1Pool>,
        client: Option<ClientEnds>,
    ) -> Self {
        Self {
            connection: Box::new(PooledConnection::new(io, home, permit, client)),
            pool: Arc::clone(pool),
            is_reused: false,
        }
    }

    /// Ends the exchange at `now`. The connection is pooled if `is_complete`
    /// says that both messages were transferred whole and the server keeps the
    /// connection open; it closes otherwise.
    ///
    /// It also closes if bytes follow the response: nobody asked for them, and
    /// they must never be taken for the response to another request.
    pub(super) fn end(self, is_complete: bool, now: Instant) {
        if is_complete && self.connection.input.is_empty() {
            self.put_back(now);
        }
    }

    /// Pools the connection on its home worker, if it is not too old, goes to an
    /// address that the server still has, and there is room.
    fn put_back(self, now: Instant) {
        let Self {
            mut connection,
            pool,
            ..
        } = self;
        let capacity = &pool.capacity;
        if !capacity.allows_reuse(connection.opened, &connection.peer, now) {
            return;
        }
        let has_room = pool.has_room();
        if !has_room && connection.client.is_none() {
            return;
        }
        connection.idle_since = now;
        let mut idle = pool.workers.of(connection.home).lock();
        if !has_room {
            if idle.is_empty() {
                return;
            }
            idle.remove(0);
        }
        idle.push(connection);
        drop(idle);
        capacity.wake_front();
    }
}

/// Whether a request may use a connection that served others before.
#[derive(Debug, Clone, Copy)]
pub(in crate::upstream) enum Reuse<'a> {
    /// An idle connection is preferred.
    Allowed,
    /// Only a new connection: the last attempt found that its idle connection
    /// had been closed.
    Forbidden,
    /// An idle connection that was announced for the client of this request.
    By(&'a Exchange),
}

/// A connection, or permission to make one.
#[derive(Debug)]
pub(in crate::upstream) enum Acquired {
    /// An idle connection.
    Idle(Lease),
    /// Permission to make a connection.
    Permit(ConnectionPermit),
}

/// The idle connections of one server.
#[derive(Debug)]
pub(in crate::upstream) struct Http1Pool {
    pub(in crate::upstream) capacity: Arc<Capacity>,
    workers: PerWorker<Mutex<IdleConnections>>,
    /// Idle connections of all workers, at most `max_idle`.
    idle: AtomicUsize,
}

/// The idle connections of one worker; the one that was used last is at the
/// end.
type IdleConnections = Vec<Box<PooledConnection>>;

impl Http1Pool {
    /// An empty pool for this number of workers.
    pub(in crate::upstream) fn new(capacity: Arc<Capacity>, workers: usize) -> Self {
        Self {
            capacity,
            workers: PerWorker::workers_only(workers, |_| Mutex::default()),
            idle: AtomicUsize::new(0),
        }
    }

    /// An idle connection of this worker, which is how most requests get
    /// theirs. None while other requests wait.
    pub(in crate::upstream) fn idle_of(
        self: &Arc<Self>,
        worker: usize,
        reuse: Reuse<'_>,
        now: Instant,
    ) -> Option<Lease> {
        if matches!(reuse, Reuse::Forbidden) || self.capacity.is_contended() {
            None
        } else {
            self.pop(worker, reuse, now)
        }
    }

    /// Finds an idle connection or permission to make one. Waits for either, at
    /// most `wait_timeout`; `None` after that.
    pub(in crate::upstream) async fn acquire(
        self: &Arc<Self>,
        worker: usize,
        reuse: Reuse<'_>,
    ) -> Option<Acquired> {
        let at_once = if self.capacity.is_contended() {
            None
        } else {
            self.try_acquire(worker, reuse)
        };
        match at_once {
            None => self.wait(worker, reuse).await,
            acquired => acquired,
        }
    }

    /// Idle connections of all workers.
    pub(in crate::upstream) fn idle(&self) -> usize {
        self.idle.load(Ordering::Relaxed)
    }

    /// Closes idle connections that are too old or that the server has closed.
    pub(in crate::upstream) fn sweep(&self) {
        let now = Instant::now();
        for worker in self.workers.iter() {
            let mut connections = worker.lock();
            let before = connections.len();
            connections.retain_mut(|connection| self.is_usable(connection, now));
            self.idle
                .fetch_sub(before - connections.len(), Ordering::Relaxed);
        }
    }

    /// Finds an idle connection or permission to make one without waiting.
    fn try_acquire(self: &Arc<Self>, worker: usize, reuse: Reuse<'_>) -> Option<Acquired> {
        let idle = match reuse {
            Reuse::Allowed | Reuse::By(_) => self.pop(worker, reuse, Instant::now()),
            Reuse::Forbidden => None,
        };
        idle.map(Acquired::Idle)
            .or_else(|| self.capacity.permit().map(Acquired::Permit))
            .or_else(|| self.steal(worker, reuse))
    }

    /// Waits in the queue for an idle connection or permission to make one.
    async fn wait(self: &Arc<Self>, worker: usize, reuse: Reuse<'_>) -> Option<Acquired> {
        let acquired = async {
            let front = self.capacity.queue().await;
            loop {
                if let Some(acquired) = self.try_acquire(worker, reuse) {
                    return acquired;
                }
                front.freed().await;
            }
        };
        timeout(self.capacity.settings.wait_timeout, acquired)
            .await
            .ok()
    }

    /// The usable connection of this worker that was used last, of those that
    /// `reuse` admits. Closes unusable ones that it finds on the way.
    fn pop(self: &Arc<Self>, worker: usize, reuse: Reuse<'_>, now: Instant) -> Option<Lease> {
        let mut connections = self.workers.of(worker).lock();
        while let Some(mut connection) = last(&mut connections, reuse) {
            self.idle.fetch_sub(1, Ordering::Relaxed);
            if self.is_usable(&mut connection, now) {
                return Some(Lease {
                    connection,
                    pool: Arc::clone(self),
                    is_reused: true,
                });
            }
        }
        None
    }

    /// Takes an idle connection of another worker when no further connection
    /// may be opened: to use it here, or to close it and make a new one in its
    /// place if it may not be used for this request.
    fn steal(self: &Arc<Self>, worker: usize, reuse: Reuse<'_>) -> Option<Acquired> {
        let now = Instant::now();
        let workers = 0..self.workers.iter().count();
        if !matches!(reuse, Reuse::Forbidden) {
            let mut others = workers.clone().filter(|other| *other != worker);
            let found = others.find_map(|other| self.pop(other, reuse, now));
            if found.is_some() || matches!(reuse, Reuse::Allowed) {
                return found.map(Acquired::Idle);
            }
        }
        let mut all = workers;
        drop(all.find_map(|other| self.pop(other, Reuse::Allowed, now))?);
        self.capacity.permit().map(Acquired::Permit)
    }

    /// Whether an idle connection may be used: it is not too old, its address
    /// is still the server's, and the server has neither closed it nor sent
    /// anything.
    fn is_usable(&self, connection: &mut PooledConnection, now: Instant) -> bool {
        let idle_timeout = self.capacity.settings.idle_timeout;
        is_within(connection.idle_since, idle_timeout, now)
            && self
                .capacity
                .allows_reuse(connection.opened, &connection.peer, now)
            && connection.is_quiet()
    }

    /// Counts one more idle connection, unless there are `max_idle`.
    fn has_room(&self) -> bool {
        let max = self.capacity.settings.max_idle;
        self.idle
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |idle| {
                (idle < max).then_some(idle + 1)
            })
            .is_ok()
    }
}

/// Takes the connection that was used last, of those that `reuse` admits.
fn last(connections: &mut IdleConnections, reuse: Reuse<'_>) -> Option<Box<PooledConnection>> {
    let Reuse::By(exchange) = reuse else {
        return connections.pop();
    };
    let client = ClientEnds::of(exchange);
    let mut found = connections.iter();
    let at = found.rposition(|connection| connection.client.as_deref() == Some(&client))?;
    Some(connections.remove(at))
}
