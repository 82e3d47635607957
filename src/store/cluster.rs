//! The nodes of a cluster as the store knows them: listed with each connection,
//! and again when a node fails.
//!
//! The client of the `redis` crate follows redirections by itself. This list
//! only tells which circuit a key belongs to, so that one dead node stops no
//! key of the others.
//!
//! The lock `look` orders the takers of a list and the writers of the metrics.
//! Requests take it only after a failed call; they read the list and the
//! circuits through atomics.

use std::{sync::Arc, time::Duration};

use redis::Value;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{
    SharedAsk, Store,
    connection::StoreConnection,
    link::fetch_nodes,
    nodes::{Nodes, StoreNode},
};

/// Shortest time between two listings because calls fail: a cluster in trouble
/// is not asked more often.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

impl Store {
    /// The node that holds a key, or the whole store if there is no list of
    /// nodes.
    ///
    /// The result is a handle, which stays valid while another list takes over.
    pub(super) fn node_of(&self, key: &str) -> Arc<StoreNode> {
        let nodes = self.nodes.load();
        Arc::clone(nodes.as_ref().map_or(&self.whole, |nodes| nodes.of(key)))
    }

    /// Whether the circuit of the store is open, or that of the node that holds
    /// the bucket of `ask`.
    ///
    /// Calls beside requests ask this first: those that return tokens, and
    /// those of the admin listener.
    pub(super) fn is_left_alone(&self, ask: &SharedAsk) -> bool {
        self.is_key_left_alone(&ask.store_key())
    }

    /// The same for a key.
    pub(super) fn is_key_left_alone(&self, key: &str) -> bool {
        let is_open = self.whole.circuit.is_open();
        is_open || self.settings.is_cluster && self.node_of(key).circuit.is_open()
    }

    /// Whether this stands for the whole store and not for a node.
    pub(super) fn is_whole(&self, node: &Arc<StoreNode>) -> bool {
        Arc::ptr_eq(node, &self.whole)
    }

    /// A key with which to probe `node`; `None` for the whole store, and for a
    /// node that holds no keys any more.
    pub(super) fn probe_key(&self, node: &Arc<StoreNode>) -> Option<String> {
        let nodes = self.nodes.load();
        let nodes = nodes.as_ref()?;
        if !nodes.has(node) {
            return None;
        }
        nodes.probe_key(node)
    }

    /// Takes over the reply to `CLUSTER SLOTS`. If slots have moved,
    /// connections that may not know it are made anew.
    ///
    /// A reply that cannot be read changes nothing. The circuit of the whole
    /// gets a new generation if slots have moved, upon which every worker makes
    /// its connection anew, and uses the old one meanwhile.
    pub(super) fn learn_nodes(&self, reply: &Value) {
        let one_at_a_time = self.look.lock();
        let earlier = self.nodes.load_full();
        let Some(nodes) = Nodes::read(reply, earlier.as_deref()) else {
            return;
        };
        if let Some(earlier) = &earlier
            && nodes.differs(earlier)
        {
            self.whole.circuit.renew();
            for node in earlier.each() {
                if node.circuit.is_open() && !nodes.has(node) {
                    tracing::info!(
                        store = &*node.name,
                        "the node of the store holds no keys any more"
                    );
                }
            }
        }
        self.nodes.store(Some(Arc::new(nodes)));
        drop(one_at_a_time);
        self.note_circuits();
    }

    /// Lists the nodes again, off the path of requests, because a call has
    /// failed. Does nothing if that was done within the last second.
    ///
    /// The task ends with the store, or when a later look takes its place.
    pub(super) fn look_at_nodes(self: &Arc<Self>, mut connection: StoreConnection) {
        let mut look = self.look.lock();
        if let Some((begun, _)) = &*look
            && begun.elapsed() < BETWEEN_LOOKS
        {
            return;
        }
        let store = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            if let (Ok(reply), Some(store)) = (fetch_nodes(&mut connection).await, store.upgrade())
            {
                store.learn_nodes(&reply);
            }
        });
        *look = Some((Instant::now(), AbortOnDropHandle::new(task)));
    }

    /// Updates the metrics of open circuits.
    ///
    /// The gauge of the whole store is 1 as well while the circuit of any node
    /// is open.
    pub(super) fn note_circuits(&self) {
        let _one_at_a_time = self.look.lock();
        let mut is_any_open = self.whole.circuit.is_open();
        let mut by_node = Vec::new();
        if let Some(nodes) = &*self.nodes.load() {
            for node in nodes.each() {
                let is_open = node.circuit.is_open();
                is_any_open |= is_open;
                by_node.push((Arc::clone(&node.name), is_open));
            }
        }
        self.metrics.set_open(is_any_open, by_node);
    }
}
