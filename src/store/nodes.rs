//! The nodes of a cluster and the keys that each holds. Each node has a circuit
//! of its own: one that is down stops no key of the others.
//!
//! `Store::learn_nodes` replaces the whole table with each new connection, with
//! each probe, and after a failed call. Nodes are compared by name, so that a
//! node keeps its circuit and its probe while slots move. Requests read the
//! table without a lock.
//!
//! A key belongs to a slot, and a slot to a node. The table has one index of 16
//! bits for each of the 16,384 slots, 32 KiB in all, and a look-up is one
//! checksum and two array accesses.
//!
//! The table is only used to tell whose failure a failure is. The connection of
//! the `redis` crate finds the node of a key by itself, so that a table that is
//! out of date sends no call to a wrong node.

use std::{fmt::Write as _, sync::Arc};

use parking_lot::Mutex;
use redis::Value;
use tokio_util::task::AbortOnDropHandle;

use super::{circuit::Circuit, name::PREFIX};

/// Hash slots of a cluster (Redis Cluster Specification, "Key distribution
/// model").
const SLOTS: usize = 16_384;

/// Nodes that have circuits of their own: the largest cluster that Redis
/// recommends. A larger one has a single circuit.
///
/// The bound also keeps an index below `u16::MAX`, which marks a slot without a
/// node while the table is read.
const MOST_NODES: usize = 1000;

/// Names that are tried for a key on a given node; a node with a single slot is
/// found within a few times [`SLOTS`].
const MOST_PROBE_KEYS: u32 = 1 << 18;

/// A part of the store with a circuit of its own: a single server, one node of
/// a cluster, or all of a cluster.
///
/// Shared by the tables that list it one after the other. Its probe holds it
/// weakly, and ends when nothing else holds it any more.
#[derive(Debug)]
pub(super) struct StoreNode {
    /// `host:port`, for logs and metrics.
    pub(super) name: Arc<str>,
    /// Whether it is called.
    pub(super) circuit: Circuit,
    /// The task that finds out when it works again.
    pub(super) probe: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl StoreNode {
    /// A node whose circuit is closed.
    pub(super) fn new(name: impl Into<Arc<str>>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            circuit: Circuit::default(),
            probe: Mutex::default(),
        })
    }
}

/// The nodes of a cluster by the hash slots that they hold.
#[derive(Debug)]
pub(super) struct Nodes {
    /// The nodes, in the order in which the cluster lists them.
    nodes: Vec<Arc<StoreNode>>,
    /// Index into `nodes`, for each slot.
    by_slot: Box<[u16]>,
}

impl Nodes {
    /// Reads the reply to `CLUSTER SLOTS`; the circuits of nodes in `earlier`
    /// are kept. Slots that no node holds have a circuit together. `None` for
    /// a reply of another shape, and for more than [`MOST_NODES`] nodes.
    ///
    /// The caller keeps the table from before if there is none in the reply.
    /// Slots that the reply does not list belong to a node called `no node`, so
    /// that the keys on them share one circuit.
    pub(super) fn read(reply: &Value, earlier: Option<&Self>) -> Option<Self> {
        let Value::Array(ranges) = reply else {
            return None;
        };
        let mut nodes: Vec<Arc<StoreNode>> = Vec::new();
        let mut by_slot = vec![u16::MAX; SLOTS].into_boxed_slice();
        for range in ranges {
            let (first, last, name) = range_of(range)?;
            let node = index_of(&mut nodes, &name, earlier)?;
            by_slot.get_mut(first..=last)?.fill(node);
        }
        if by_slot.contains(&u16::MAX) {
            let nobody = index_of(&mut nodes, "no node", earlier)?;
            for node in &mut by_slot {
                if *node == u16::MAX {
                    *node = nobody;
                }
            }
        }
        Some(Self { nodes, by_slot })
    }

    /// The node that holds a key.
    ///
    /// Costs a CRC over the hash tag of the key, or over all of it.
    pub(super) fn of(&self, key: &str) -> &Arc<StoreNode> {
        self.holder(slot(key))
    }

    /// The node that holds a slot.
    fn holder(&self, slot: usize) -> &Arc<StoreNode> {
        &self.nodes[usize::from(self.by_slot[slot])]
    }

    /// All nodes.
    pub(super) fn each(&self) -> impl Iterator<Item = &Arc<StoreNode>> {
        self.nodes.iter()
    }

    /// The node with this name.
    fn named(&self, name: &str) -> Option<&Arc<StoreNode>> {
        self.nodes.iter().find(|node| *node.name == *name)
    }

    /// Whether the circuit of any node is open.
    ///
    /// Requests that need a call ask this first: as long as all nodes work,
    /// none of them computes the slots of its keys for this purpose.
    pub(super) fn is_any_open(&self) -> bool {
        self.nodes.iter().any(|node| node.circuit.is_open())
    }

    /// Whether `node` holds slots.
    ///
    /// Compares by identity and not by name: a node that left the cluster and
    /// came back is another one.
    pub(super) fn has(&self, node: &Arc<StoreNode>) -> bool {
        self.nodes.iter().any(|held| Arc::ptr_eq(held, node))
    }

    /// Whether a slot has moved to another node.
    ///
    /// The order of the nodes does not matter. Takes at most 16,384
    /// comparisons, off the path of requests.
    pub(super) fn differs(&self, earlier: &Self) -> bool {
        (0..SLOTS).any(|slot| !Arc::ptr_eq(self.holder(slot), earlier.holder(slot)))
    }

    /// A key for probes that `node` holds, found by trying names.
    ///
    /// `None` if the node holds no slot, or if none of the names falls on it.
    /// Every name is in braces, so that the slot depends on its number alone.
    /// Takes up to 2^18 checksums in the worst case, about 16 names for each
    /// slot, in a task of its own.
    pub(super) fn probe_key(&self, node: &Arc<StoreNode>) -> Option<String> {
        let mut key = String::new();
        for number in 0..MOST_PROBE_KEYS {
            key.clear();
            // Writing to a string cannot fail.
            let _ = write!(key, "{PREFIX}{{probe:{number}}}");
            if Arc::ptr_eq(self.of(&key), node) {
                return Some(key);
            }
        }
        None
    }
}

/// The index of the node with this name, which is added if it is new, with the
/// circuit that it had before. `None` if there are too many nodes.
///
/// The search is linear, and the number of nodes small.
fn index_of(nodes: &mut Vec<Arc<StoreNode>>, name: &str, earlier: Option<&Nodes>) -> Option<u16> {
    if let Some(index) = nodes.iter().position(|node| *node.name == *name) {
        return u16::try_from(index).ok();
    }
    if nodes.len() == MOST_NODES {
        return None;
    }
    let node = match earlier.and_then(|earlier| earlier.named(name)) {
        Some(node) => Arc::clone(node),
        None => StoreNode::new(name),
    };
    nodes.push(node);
    u16::try_from(nodes.len() - 1).ok()
}

/// First and last slot of a range, and `host:port` of the node that accepts
/// writes, which is the first one listed.
///
/// `None` if the reply has another shape. A node that does not know its own
/// name gives an empty host, so that its name is `:port`.
fn range_of(range: &Value) -> Option<(usize, usize, String)> {
    let Value::Array(range) = range else {
        return None;
    };
    let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = &range[..] else {
        return None;
    };
    let [host, Value::Int(port), ..] = &node[..] else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => String::from_utf8_lossy(host).into_owned(),
        Value::SimpleString(host) => host.clone(),
        // The node that answers does not know its own name.
        _ => String::new(),
    };
    Some((
        usize::try_from(*first).ok()?,
        usize::try_from(*last).ok()?,
        format!("{host}:{port}"),
    ))
}

/// The hash slot of a key: CRC-16/XMODEM of its first part in braces, or of all
/// of it (Redis Cluster Specification, "Hash tags").
fn slot(key: &str) -> usize {
    let mut crc: u16 = 0;
    for byte in hash_tag(key).unwrap_or(key).bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            let is_high = crc & 0x8000 != 0;
            crc <<= 1;
            if is_high {
                crc ^= 0x1021;
            }
        }
    }
    usize::from(crc) % SLOTS
}

/// The text between the first `{` of a key and the next `}`; `None` if there is
/// none.
fn hash_tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    let (tag, _) = rest.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use redis::cluster_routing::Slot;

    use super::*;

    fn range(first: i64, last: i64, port: i64) -> Value {
        let node = |port| {
            Value::Array(vec![
                Value::BulkString(b"10.0.0.1".to_vec()),
                Value::Int(port),
            ])
        };
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            node(port),
            node(port + 1000),
        ])
    }

    fn read(ranges: &[(i64, i64, i64)], earlier: Option<&Nodes>) -> Option<Nodes> {
        let ranges = ranges
            .iter()
            .map(|(first, last, port)| range(*first, *last, *port))
            .collect();
        Nodes::read(&Value::Array(ranges), earlier)
    }

    #[test]
    fn a_key_has_the_slot_that_redis_gives_it() {
        for key in [
            "",
            "a",
            "tidegate:2:{l:6944}",
            "{}a",
            "{",
            "a{b",
            "a}b{c}d",
            "{a}{b}",
            "{{a}}",
            "é{ü}",
        ] {
            let number = u16::try_from(slot(key)).unwrap();
            assert_eq!(Slot::new(number), Some(Slot::for_key(key)), "{key}");
        }
    }

    #[test]
    fn a_node_keeps_its_circuit_while_its_slots_change() {
        let before = read(&[(0, 8191, 1), (8192, 16383, 2)], None).unwrap();
        before.each().for_each(|node| {
            assert!(before.of(&before.probe_key(node).unwrap()).name == node.name)
        });
        before.nodes[0].circuit.open();
        let after = read(
            &[(0, 99, 1), (100, 8191, 3), (8192, 16383, 2)],
            Some(&before),
        )
        .unwrap();
        let open: Vec<_> = after
            .each()
            .map(|node| (&*node.name, node.circuit.is_open()))
            .collect();
        assert_eq!(
            open,
            [
                ("10.0.0.1:1", true),
                ("10.0.0.1:3", false),
                ("10.0.0.1:2", false)
            ]
        );
        assert!(
            after.differs(&before) && after.has(&before.nodes[0]) && !before.has(&after.nodes[1])
        );
        let same = read(&[(8192, 16383, 2), (0, 8191, 1)], Some(&before)).unwrap();
        assert!(!same.differs(&before), "in another order");
    }

    #[test]
    fn slots_without_a_node_have_a_circuit_of_their_own() {
        let nodes = read(&[(5, 16383, 1)], None).unwrap();
        assert_eq!(
            nodes.each().map(|node| &*node.name).collect::<Vec<_>>(),
            ["10.0.0.1:1", "no node"]
        );
        let none = nodes.each().last().unwrap();
        assert!(slot(&nodes.probe_key(none).unwrap()) < 5);
    }

    #[test]
    fn a_reply_of_another_shape_gives_no_nodes() {
        assert!(Nodes::read(&Value::Nil, None).is_none());
        assert!(Nodes::read(&Value::Array(vec![Value::Int(1)]), None).is_none());
        for wrong in [(0, 16384, 1), (-1, 5, 1), (9, 3, 1)] {
            assert!(read(&[wrong], None).is_none(), "{wrong:?}");
        }
        let many: Vec<_> = (0..1001).map(|number| (number, number, number)).collect();
        assert!(read(&many, None).is_none() && read(&many[..999], None).is_some());
    }
}
