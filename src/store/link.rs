//! The connection of a worker: made when it is needed, off the path of
//! requests, and made again after it was lost.
//!
//! Requests wait for a connection that is being made, within their deadline. A
//! connection that cannot be made opens the circuit at once, and one task
//! probes the store until it works again. All tasks hold weak references, so
//! that they end with the store.
//!
//! # States
//!
//! * `Down` becomes `Making` when a request wants a connection.
//! * `Making` becomes `Up`, or `Down` if the connection cannot be made.
//! * `Up` becomes `Down` when a call finds the connection broken, and `Making`
//!   when a request finds that its generation is over. A cluster's old
//!   connection then serves until the new one is made.
//!
//! The state is in a watch channel of the worker's client: requests that wait
//! are woken by its change, and only the one that changed the state to `Making`
//! starts a task.
//!
//! # Generations
//!
//! A connection carries the generation of the circuit in which it was made.
//! Each opening of the circuit begins a new one, so that the connections of all
//! workers are stale at once, without a message to any worker. The first
//! request of a worker after the closing makes a new connection. The worker
//! that has opened the circuit of the whole runs the probe, and keeps the
//! probe's connection.
//!
//! # Probes
//!
//! An open circuit has one probe, which is held by its node and aborted with
//! it. It waits half to all of 100 ms, then twice as long each time, up to two
//! seconds: the store sees a handful of connections from each gateway, and a
//! recovered store is used again within two seconds and the time of one probe.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use redis::{RedisError, RedisResult, Value};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Store,
    client::{Link, StoreClient},
    connection::StoreConnection,
    name::PREFIX,
    nodes::StoreNode,
    script::Script,
};
use crate::{policy, runtime::worker};

/// First wait before a probe of a store that failed. It doubles with each
/// probe, up to [`LONGEST_PROBE`].
const FIRST_PROBE: Duration = Duration::from_millis(100);
/// Upper bound of the probe backoff, and so of the delay until a recovered
/// store is noticed.
const LONGEST_PROBE: Duration = Duration::from_secs(2);
/// Longest wait until a cluster lists its nodes, as the node that is asked may
/// hang. No request waits for it.
const LIST_NODES: Duration = Duration::from_millis(500);

impl Store {
    /// The connection of this worker. Waits for one that is being made; `None`
    /// if it cannot be made. Cancel safe.
    pub(super) async fn connection(
        self: &Arc<Self>,
        client: &StoreClient,
    ) -> Option<StoreConnection> {
        let mut link = client.link.subscribe();
        if let Some(connection) = self.usable(&link.borrow_and_update()) {
            return Some(connection);
        }
        self.make_link(client);
        while matches!(*link.borrow_and_update(), Link::Making(None)) {
            link.changed().await.ok()?;
        }
        self.usable(&link.borrow())
    }

    /// The connection of this state, unless the circuit has opened since it was
    /// made.
    fn usable(&self, link: &Link) -> Option<StoreConnection> {
        match link {
            Link::Up(connection, generation) if *generation == self.whole.circuit.generation() => {
                Some(connection.clone())
            }
            Link::Making(Some(connection)) => Some(connection.clone()),
            _ => None,
        }
    }

    /// Starts to make a connection, unless that is under way. In a cluster the
    /// old one serves meanwhile.
    fn make_link(self: &Arc<Self>, client: &StoreClient) {
        let is_cluster = self.settings.is_cluster;
        if client.link.send_if_modified(|link| link.begin(is_cluster)) {
            let task = tokio::spawn(make(
                Arc::downgrade(self),
                self.settings.clone(),
                worker::current(),
            ));
            *client.task.lock() = Some(AbortOnDropHandle::new(task));
        }
    }

    /// Makes the connection of this worker before the first request needs it. A
    /// failure is not reported here.
    pub async fn warm_up(self: Arc<Self>) {
        let _ = self.connection(self.client()).await;
    }

    /// Drops the connection of this worker, which is broken.
    pub(super) fn lost(&self, client: &StoreClient) {
        client.link.send_if_modified(Link::end);
    }

    /// Counts a failed call. After some in a row the circuit of its node opens,
    /// and `why` is logged as the cause.
    pub(super) fn failed(self: &Arc<Self>, node: &Arc<StoreNode>, why: impl fmt::Display) {
        if node.circuit.failed() {
            self.opened(node, &why.to_string());
        }
    }

    /// Opens the circuit at once, because no connection can be made.
    fn unreachable(self: &Arc<Self>, why: &RedisError) {
        if self.whole.circuit.open() {
            self.opened(&self.whole, &why.to_string());
        }
    }

    /// Logs that a circuit has opened, and starts to probe `node`.
    fn opened(self: &Arc<Self>, node: &Arc<StoreNode>, cause: &str) {
        self.note_circuits();
        let (store, on_error) = (&*node.name, self.settings.on_error.word());
        if self.is_whole(node) {
            tracing::warn!(
                store,
                cause,
                on_error,
                "the store does not answer; shared limits go by on_error"
            );
        } else {
            let what = "a node of the store does not answer; shared limits whose keys it holds go by on_error";
            tracing::warn!(store, cause, on_error, "{what}");
        }
        let task = tokio::spawn(probe(
            Arc::downgrade(self),
            Arc::downgrade(node),
            self.settings.clone(),
        ));
        *node.probe.lock() = Some(AbortOnDropHandle::new(task));
    }

    /// Closes the circuit of a node that has passed a probe, and keeps the
    /// connection that the probe has made.
    fn closed(&self, node: &Arc<StoreNode>, connection: StoreConnection) {
        if self.is_whole(node) {
            self.client()
                .link
                .send_replace(Link::Up(connection, self.whole.circuit.generation()));
        }
        node.circuit.close();
        self.note_circuits();
        let store = &*node.name;
        if self.is_whole(node) {
            tracing::info!(store, "the store answers again");
        } else {
            tracing::info!(store, "the node of the store answers again");
        }
    }
}

/// Makes the connection of a worker, and tells its requests.
async fn make(store: Weak<Store>, settings: policy::Store, worker: usize) {
    let mut made = StoreConnection::open(&settings).await;
    let nodes = match &mut made {
        Ok(connection) if settings.is_cluster => fetch_nodes(connection).await.ok(),
        _ => None,
    };
    let Some(store) = store.upgrade() else { return };
    let client = store.clients.of(worker);
    match made {
        Ok(connection) => {
            if let Some(nodes) = nodes {
                store.learn_nodes(&nodes);
            }
            client
                .link
                .send_replace(Link::Up(connection, store.whole.circuit.generation()));
        }
        Err(error) => {
            store.unreachable(&error);
            client.link.send_replace(Link::Down);
        }
    }
}

/// Probes a node, or the whole store, at growing intervals until it works again
/// or holds no keys any more. Ends with the store.
async fn probe(store: Weak<Store>, node: Weak<StoreNode>, settings: policy::Store) {
    let mut wait = FIRST_PROBE;
    loop {
        // The jitter keeps gateways from probing all at once.
        sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
        wait = (wait * 2).min(LONGEST_PROBE);
        if store.strong_count() == 0 || node.strong_count() == 0 {
            return;
        }
        let tried = try_out(&store, &node, &settings).await;
        let (Some(store), Some(node)) = (store.upgrade(), node.upgrade()) else {
            return;
        };
        if let Ok(connection) = tried {
            store.closed(&node, connection);
            return;
        }
    }
}

/// Makes a new connection and has the node take a token over it. A cluster as a
/// whole works if it lists its nodes.
///
/// # Errors
/// It does not work yet.
async fn try_out(
    store: &Weak<Store>,
    node: &Weak<StoreNode>,
    settings: &policy::Store,
) -> RedisResult<StoreConnection> {
    let mut connection = StoreConnection::open(settings).await?;
    let mut key = Some(format!("{PREFIX}{{probe}}"));
    if settings.is_cluster {
        let nodes = fetch_nodes(&mut connection).await?;
        if let (Some(store), Some(node)) = (store.upgrade(), node.upgrade()) {
            store.learn_nodes(&nodes);
            key = store.probe_key(&node);
        }
    }
    if let Some(key) = key {
        let script = Script::new();
        tokio::time::timeout(settings.timeout, connection.probe(&script, key))
            .await
            .map_err(timed_out)??;
    }
    Ok(connection)
}

/// Asks a cluster for its nodes, for at most half a second.
pub(super) async fn fetch_nodes(connection: &mut StoreConnection) -> RedisResult<Value> {
    tokio::time::timeout(LIST_NODES, connection.slots())
        .await
        .map_err(timed_out)?
}

/// A timeout as an error of the `redis` crate's kind.
fn timed_out(_: tokio::time::error::Elapsed) -> std::io::Error {
    std::io::ErrorKind::TimedOut.into()
}
