//! A worker's connection: made when it is needed, off the path of requests, and made again after it was lost.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use redis::{RedisError, RedisResult};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Store,
    connection::Connection,
    lane::{Lane, Link},
};
use crate::telemetry::worker;

/// First wait before a store that failed is looked at again; it doubles, up to the longest.
const FIRST_PROBE: Duration = Duration::from_millis(100);
/// Longest wait before the next look: so much later than the store itself is noticed that it is back.
const LONGEST_PROBE: Duration = Duration::from_secs(2);

impl Store {
    /// This worker's connection; waits for one that is being made. `None` when it cannot be made.
    pub(super) async fn connection(self: &Arc<Self>, lane: &Lane) -> Option<Connection> {
        let mut link = lane.link.subscribe();
        if let Some(connection) = self.usable(&link.borrow_and_update()) {
            return Some(connection);
        }
        self.make_link(lane);
        while matches!(*link.borrow_and_update(), Link::Making) {
            link.changed().await.ok()?;
        }
        self.usable(&link.borrow())
    }

    fn usable(&self, link: &Link) -> Option<Connection> {
        match link {
            Link::Up(connection, generation) if *generation == self.circuit.generation() => Some(connection.clone()),
            _ => None,
        }
    }

    /// Has a connection made, unless someone does already.
    fn make_link(self: &Arc<Self>, lane: &Lane) {
        let begin = |link: &mut Link| {
            let begins = !matches!(link, Link::Making);
            *link = Link::Making;
            begins
        };
        if lane.link.send_if_modified(begin) {
            let task = tokio::spawn(make(Arc::downgrade(self), self.settings.clone(), worker::current()));
            *lane.task.lock() = Some(AbortOnDropHandle::new(task));
        }
    }

    /// Makes this worker's connection before the first request needs it, and says nothing if it cannot.
    pub async fn warm_up(self: Arc<Self>) {
        let _ = self.connection(self.lane()).await;
    }

    /// This worker's connection is of no use any more.
    pub(super) fn lost(&self, lane: &Lane) {
        let end = |link: &mut Link| {
            let was_up = matches!(link, Link::Up(..));
            if was_up {
                *link = Link::Down;
            }
            was_up
        };
        lane.link.send_if_modified(end);
    }

    /// One call failed; after some in a row the store is left alone.
    pub(super) fn failed(self: &Arc<Self>, why: impl FnOnce() -> String) {
        if self.circuit.failed() {
            self.opened(&why());
        }
    }

    /// No connection can be made: there is no point in trying with the next request.
    fn unreachable(self: &Arc<Self>, why: &RedisError) {
        if self.circuit.open() {
            self.opened(&why.to_string());
        }
    }

    /// Says so, once, and looks for the store's return.
    fn opened(self: &Arc<Self>, cause: &str) {
        self.metrics.set_open(true);
        let (store, on_error) = (self.settings.shown(), self.settings.on_error.name());
        tracing::warn!(store, cause, on_error, "the store does not answer; shared limits go by on_error");
        let task = tokio::spawn(probe(Arc::downgrade(self), self.settings.clone()));
        *self.probe.lock() = Some(AbortOnDropHandle::new(task));
    }

    fn closed(&self, connection: Connection) {
        self.lane().link.send_replace(Link::Up(connection, self.circuit.generation()));
        self.circuit.close();
        self.metrics.set_open(false);
        tracing::info!(store = self.settings.shown(), "the store answers again");
    }
}

async fn make(store: Weak<Store>, settings: super::Settings, worker: usize) {
    let made = Connection::open(&settings).await;
    let Some(store) = store.upgrade() else { return };
    let lane = &store.lanes[worker.min(store.lanes.len() - 1)];
    match made {
        Ok(connection) => drop(lane.link.send_replace(Link::Up(connection, store.circuit.generation()))),
        Err(error) => {
            store.unreachable(&error);
            lane.link.send_replace(Link::Down);
        }
    }
}

/// Looks for the store at growing distances until it does its work again.
async fn probe(store: Weak<Store>, settings: super::Settings) {
    let mut wait = FIRST_PROBE;
    loop {
        // Not all gateways at once.
        sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
        wait = (wait * 2).min(LONGEST_PROBE);
        if store.strong_count() == 0 {
            return;
        }
        if let Ok(connection) = try_out(&settings).await
            && let Some(store) = store.upgrade()
        {
            store.closed(connection);
            return;
        }
    }
}

async fn try_out(settings: &super::Settings) -> RedisResult<Connection> {
    let mut connection = Connection::open(settings).await?;
    let timed_out = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    tokio::time::timeout(settings.timeout, connection.probe(&super::Script::new())).await.map_err(timed_out)??;
    Ok(connection)
}
