//! The HTTP/2 connections to one server, and how a request gets a stream on one
//! of them.
//!
//! Each worker has connections of its own, driven on its own event loop. A
//! request takes a stream of the first of them with room. If there is none, one
//! request makes a connection while the others wait for it: most servers allow
//! a hundred streams, so that a connection for each request would be a waste.
//! Only when the server's `max_connections` are open does a request take a
//! stream of another worker's connection, or wait in the queue of [`Capacity`].
//!
//! # Races
//!
//! [`MakingTurn`] is held by the request that makes a connection. If that
//! request is cancelled, dropping the turn wakes those that wait for it, and
//! the first of them to look takes the next turn.
//!
//! A server may end a connection with GOAWAY after a stream was permitted but
//! before it is opened. The exchange then fails as `Unprocessed`, which may be
//! retried whatever its method.
//!
//! # Bounds
//!
//! Connections of all workers together are bounded by `max_connections`, since
//! each holds a permit of `Capacity`, and the streams of each by the server's
//! SETTINGS. Connections that are too old or idle are retired: they leave the
//! pool at once, and end with the last of their streams.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tokio_util::task::TaskTracker;

use super::connection::{Http2Connection, StreamPermit};
use crate::{
    error::ConnectFailure,
    runtime::{PerWorker, timer::timeout},
    upstream::{
        capacity::{Capacity, ConnectionPermit},
        stream::Stream,
    },
};

/// The HTTP/2 connections to one server.
#[derive(Debug)]
pub(in crate::upstream) struct Http2Pool {
    capacity: Arc<Capacity>,
    workers: PerWorker<Mutex<WorkerConnections>>,
    /// The tasks that drive the connections.
    drivers: TaskTracker,
}

/// The connections of one worker.
#[derive(Debug, Default)]
struct WorkerConnections {
    connections: Vec<Arc<Http2Connection>>,
    /// Set while a connection is being made.
    making: Option<Arc<Making>>,
}

/// A connection that one request makes while others wait for it.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Making {
    /// Wakes the requests that wait.
    ended: Notify,
    outcome: Mutex<ConnectOutcome>,
}

/// How the making of a connection ended.
///
/// The requests that wait read it when they are woken.
#[derive(Debug, Clone, Copy, Default)]
enum ConnectOutcome {
    #[default]
    Pending,
    /// There is a connection, or the request that made it was cancelled: look
    /// again.
    Ended,
    Failed(ConnectFailure),
}

impl Making {
    /// Waits for the end. Returns the reason if the connection could not be
    /// made; otherwise look for a stream again.
    pub(in crate::upstream) async fn wait(&self) -> Option<ConnectFailure> {
        loop {
            // Registered before the outcome is read, so that no wake-up is
            // missed in between.
            let ended = self.ended.notified();
            match *self.outcome.lock() {
                ConnectOutcome::Pending => {}
                ConnectOutcome::Ended => return None,
                ConnectOutcome::Failed(cause) => return Some(cause),
            }
            ended.await;
        }
    }

    /// Ends it with `outcome`, unless it has ended before.
    fn end(&self, outcome: ConnectOutcome) {
        let mut current = self.outcome.lock();
        if matches!(*current, ConnectOutcome::Pending) {
            *current = outcome;
        }
        drop(current);
        self.ended.notify_waiters();
    }
}

/// The result of a search for a stream.
///
/// Dropping `Make` gives the permit back and passes the turn on.
pub(in crate::upstream) enum StreamSearch {
    /// A stream was found.
    Stream(StreamPermit),
    /// Another request makes a connection.
    BeingMade(Arc<Making>),
    /// It is this request's turn to make a connection, which it has permission
    /// to.
    Make(MakingTurn, ConnectionPermit),
    /// All connections that may be open are in use to their last stream.
    Exhausted,
}

/// The turn to make a connection for a worker. Dropped, it passes to the next
/// request.
pub(in crate::upstream) struct MakingTurn {
    pool: Arc<Http2Pool>,
    worker: usize,
    making: Arc<Making>,
}

impl MakingTurn {
    /// Has the requests that wait fail with `cause` as well.
    pub(in crate::upstream) fn fail(self, cause: ConnectFailure) {
        self.making.end(ConnectOutcome::Failed(cause));
    }

    /// Begins to speak HTTP/2 on a connection, adds it to the worker's, and
    /// takes its first stream.
    ///
    /// # Errors
    /// The server ended the connection at once, or sent no SETTINGS within
    /// `connect_timeout`. The requests that wait fail with the same reason.
    pub(in crate::upstream) async fn complete(
        self,
        io: Stream,
        permit: ConnectionPermit,
    ) -> Result<StreamPermit, ConnectFailure> {
        let capacity = &self.pool.capacity;
        let begun = Http2Connection::begin(io, permit, capacity, &self.pool.drivers);
        let connection = match timeout(capacity.settings.connect_timeout, begun).await {
            Ok(connection) => connection.ok_or(ConnectFailure::NoHttp2),
            Err(_) => Err(ConnectFailure::Timeout),
        };
        let stream = connection.and_then(|connection| {
            let stream = StreamPermit::of(&connection).ok_or(ConnectFailure::Refused)?;
            let worker = self.pool.workers.of(self.worker);
            worker.lock().connections.push(connection);
            capacity.wake_front();
            Ok(stream)
        });
        if let Err(cause) = &stream {
            self.making.end(ConnectOutcome::Failed(*cause));
        }
        stream
    }
}

impl Drop for MakingTurn {
    fn drop(&mut self) {
        self.pool.workers.of(self.worker).lock().making = None;
        self.making.end(ConnectOutcome::Ended);
    }
}

impl Http2Pool {
    /// An empty pool for this number of workers.
    pub(in crate::upstream) fn new(capacity: Arc<Capacity>, workers: usize) -> Self {
        Self {
            capacity,
            workers: PerWorker::workers_only(workers, |_| Mutex::default()),
            drivers: TaskTracker::new(),
        }
    }

    /// A stream of this worker's connections, which is how most requests get
    /// theirs.
    pub(in crate::upstream) fn stream_of(
        &self,
        worker: usize,
        now: Instant,
    ) -> Option<StreamPermit> {
        self.workers.of(worker).lock().stream(now)
    }

    /// A stream of any worker's connections.
    ///
    /// Locks the workers one after the other, each for a look at its
    /// connections.
    pub(in crate::upstream) fn stream_of_any(&self, now: Instant) -> Option<StreamPermit> {
        self.workers
            .iter()
            .find_map(|worker| worker.lock().stream(now))
    }

    /// A stream, or the way to one.
    ///
    /// Never waits. The turn to make a connection is taken under the lock of
    /// the worker, so that two requests of one worker never make one each.
    pub(in crate::upstream) fn find(self: &Arc<Self>, worker: usize) -> StreamSearch {
        let now = Instant::now();
        let mut own = self.workers.of(worker).lock();
        if let Some(stream) = own.stream(now) {
            return StreamSearch::Stream(stream);
        }
        if let Some(making) = &own.making {
            return StreamSearch::BeingMade(Arc::clone(making));
        }
        if let Some(permit) = self.capacity.permit() {
            let making = Arc::new(Making::default());
            own.making = Some(Arc::clone(&making));
            let turn = MakingTurn {
                pool: Arc::clone(self),
                worker,
                making,
            };
            return StreamSearch::Make(turn, permit);
        }
        drop(own);
        self.stream_of_any(now)
            .map_or(StreamSearch::Exhausted, StreamSearch::Stream)
    }

    /// Connections without an open stream.
    pub(in crate::upstream) fn idle(&self) -> usize {
        let idle = |worker: &Mutex<WorkerConnections>| {
            let worker = worker.lock();
            let connections = worker.connections.iter();
            connections
                .filter(|connection| connection.streams() == 0)
                .count()
        };
        self.workers.iter().map(idle).sum()
    }

    /// Retires connections that are too old, idle for too long, or at their
    /// end.
    pub(in crate::upstream) fn sweep(&self) {
        let now = Instant::now();
        for worker in self.workers.iter() {
            worker.lock().retire(now);
        }
    }
}

impl WorkerConnections {
    /// A stream of the first connection with room. Retires connections that are
    /// found unusable.
    fn stream(&mut self, now: Instant) -> Option<StreamPermit> {
        if !self
            .connections
            .iter()
            .all(|connection| connection.is_usable(now))
        {
            self.retire(now);
        }
        self.connections.iter().find_map(StreamPermit::of)
    }

    /// Lets go of connections that must not be used any more. Those with open
    /// streams end with the last of them.
    fn retire(&mut self, now: Instant) {
        self.connections
            .retain(|connection| connection.is_usable(now));
    }
}
