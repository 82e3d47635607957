//! HTTP/2 to servers: few connections, each shared by as many requests as its server allows.
//!
//! Each worker has a lane of connections of its own, driven on its own runtime. A request takes a stream of the first
//! connection with room; when there is none, one request makes a connection and the others wait for that. Only when a
//! server's `max_connections` is reached does a worker take a stream of another's connection.

mod answer;
mod connection;
mod exchange;
mod head;
mod heard;
mod resets;
mod upload;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tokio_util::task::TaskTracker;

use self::connection::Connection;
pub(super) use self::{connection::Borrowed, exchange::Exchange};
use super::{
    pool::{OpenSlot, Pool},
    stream::Stream,
};
use crate::{
    error::ConnectFailure,
    policy,
    runtime::{PerWorker, timer::timeout},
};

/// The HTTP/2 connections to one server.
#[derive(Debug)]
pub(super) struct Shared {
    lanes: PerWorker<Mutex<Lane>>,
    /// What drives them.
    drivers: TaskTracker,
}

#[derive(Debug, Default)]
struct Lane {
    connections: Vec<Arc<Connection>>,
    /// Set while a connection is made.
    making: Option<Arc<Making>>,
}

/// A connection that is made by one request while others wait for it.
#[derive(Debug, Default)]
pub(super) struct Making {
    over: Notify,
    /// `None` while it is made; then why it was not, if it was not.
    outcome: Mutex<Option<Option<ConnectFailure>>>,
}

impl Making {
    /// Waits until there is a connection, or none.
    pub(super) async fn wait(&self) -> Option<ConnectFailure> {
        loop {
            let over = self.over.notified();
            if let Some(outcome) = *self.outcome.lock() {
                return outcome;
            }
            over.await;
        }
    }

    fn end(&self, outcome: Option<ConnectFailure>) {
        self.outcome.lock().get_or_insert(outcome);
        self.over.notify_waiters();
    }
}

/// What a request that wants a stream finds.
pub(super) enum Found {
    /// A stream.
    Stream(Borrowed),
    /// Somebody else makes a connection.
    Wait(Arc<Making>),
    /// It is its turn to make one, and there is a place for it.
    Make(Turn, OpenSlot),
    /// All connections that there may be are in use to their last stream.
    Full,
}

/// The turn to make a connection; the next one's when dropped.
pub(super) struct Turn {
    shared: Arc<Shared>,
    worker: usize,
    making: Arc<Making>,
}

impl Turn {
    /// Tells those that wait why there is none.
    pub(super) fn failed(self, cause: ConnectFailure) {
        self.making.end(Some(cause));
    }

    /// Puts a connection into the lane, and takes a stream of it.
    ///
    /// # Errors
    /// When the server ended it at once, or said nothing within `connect_timeout`.
    pub(super) async fn made(
        self,
        io: Stream,
        slot: OpenSlot,
        pool: &Arc<Pool>,
    ) -> Result<Borrowed, ConnectFailure> {
        let begun = Connection::begin(io, slot, pool, &self.shared.drivers);
        let connection = match timeout(pool.settings.connect_timeout, begun).await {
            Ok(connection) => connection.ok_or(ConnectFailure::NoHttp2),
            Err(_) => Err(ConnectFailure::Timeout),
        };
        let borrowed = connection.and_then(|connection| {
            let borrowed = Borrowed::of(&connection).ok_or(ConnectFailure::Refused)?;
            self.shared
                .lanes
                .of(self.worker)
                .lock()
                .connections
                .push(connection);
            pool.tell_first();
            Ok(borrowed)
        });
        if let Err(cause) = &borrowed {
            self.making.end(Some(*cause));
        }
        borrowed
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.lanes.of(self.worker).lock().making = None;
        self.making.end(None);
    }
}

impl Shared {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            lanes: PerWorker::workers_only(workers, |_| Mutex::default()),
            drivers: TaskTracker::new(),
        }
    }

    /// A stream of this worker's connections: the way of most requests.
    pub(super) fn kept(
        &self,
        worker: usize,
        settings: &policy::Pool,
        now: Instant,
    ) -> Option<Borrowed> {
        self.lanes.of(worker).lock().borrow(settings, now)
    }

    /// A stream, or how to come to one.
    pub(super) fn find(self: &Arc<Self>, worker: usize, pool: &Pool) -> Found {
        let now = Instant::now();
        let mut lane = self.lanes.of(worker).lock();
        if let Some(borrowed) = lane.borrow(&pool.settings, now) {
            return Found::Stream(borrowed);
        }
        if let Some(making) = &lane.making {
            return Found::Wait(Arc::clone(making));
        }
        if let Some(slot) = pool.slot() {
            let making = Arc::new(Making::default());
            lane.making = Some(Arc::clone(&making));
            return Found::Make(
                Turn {
                    shared: Arc::clone(self),
                    worker,
                    making,
                },
                slot,
            );
        }
        drop(lane);
        self.steal(&pool.settings, now)
            .map_or(Found::Full, Found::Stream)
    }

    /// A stream of any worker's connections.
    pub(super) fn steal(&self, settings: &policy::Pool, now: Instant) -> Option<Borrowed> {
        self.lanes
            .iter()
            .find_map(|lane| lane.lock().borrow(settings, now))
    }

    /// Connections without a stream.
    pub(super) fn idle(&self) -> usize {
        let idle = |lane: &Mutex<Lane>| {
            lane.lock()
                .connections
                .iter()
                .filter(|connection| connection.streams() == 0)
                .count()
        };
        self.lanes.iter().map(idle).sum()
    }

    /// Lets go of connections that are too old, unused for too long, or at their end.
    pub(super) fn sweep(&self, settings: &policy::Pool) {
        let now = Instant::now();
        for lane in self.lanes.iter() {
            lane.lock().retire(settings, now);
        }
    }
}

impl Lane {
    fn borrow(&mut self, settings: &policy::Pool, now: Instant) -> Option<Borrowed> {
        if !self
            .connections
            .iter()
            .all(|connection| connection.is_fresh(settings, now))
        {
            self.retire(settings, now);
        }
        self.connections.iter().find_map(Borrowed::of)
    }

    /// Those that have streams end with the last of them.
    fn retire(&mut self, settings: &policy::Pool, now: Instant) {
        self.connections
            .retain(|connection| connection.is_fresh(settings, now));
    }
}

/// How long the answer to a PING is waited for.
const PONG: Duration = Duration::from_secs(5);
/// Least time between two PINGs: servers of gRPC take more without answers in between as an attack.
const PING_AGAIN: Duration = Duration::from_secs(30);
/// Longest silence of streams that are open after which the connection is tried: what servers of gRPC allow.
const PING_EVERY: Duration = Duration::from_secs(300);
