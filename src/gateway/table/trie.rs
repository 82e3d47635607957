//! A tree of byte strings with one key for each step: hosts by label and paths
//! by segment.
//!
//! Each step hashes only its own key, so that a walk is linear in the bytes
//! that it reads, however long a request is. It ends where the patterns of the
//! configuration end.

use std::{collections::HashMap, iter};

use foldhash::fast::RandomState;

/// Values at the nodes of a tree.
#[derive(Debug)]
pub(super) struct Trie<V> {
    /// Never empty: the first one is the root. Children follow their parents.
    nodes: Vec<Node<V>>,
}

/// A node in a tree, from which a walk goes on.
#[derive(Debug)]
pub(super) struct Place<'t, V> {
    trie: &'t Trie<V>,
    node: usize,
}

#[derive(Debug, Default)]
struct Node<V> {
    value: V,
    parent: Option<usize>,
    /// Requests only look keys up and never add any, so that a fast hash
    /// without protection against collisions is safe.
    children: HashMap<Box<[u8]>, usize, RandomState>,
}

impl<V: Default> Trie<V> {
    /// The value at the end of these keys; created if it is new.
    pub(super) fn entry<'k>(&mut self, keys: impl Iterator<Item = &'k str>) -> &mut V {
        let node = keys.fold(0, |parent, key| self.child(parent, key.as_bytes()));
        &mut self.nodes[node].value
    }

    fn child(&mut self, parent: usize, key: &[u8]) -> usize {
        let fresh = self.nodes.len();
        let child = *self.nodes[parent]
            .children
            .entry(key.into())
            .or_insert(fresh);
        if child == fresh {
            self.nodes.push(Node {
                parent: Some(parent),
                ..Node::default()
            });
        }
        child
    }
}

impl<V> Trie<V> {
    /// Whether nothing was inserted yet.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// The root, where every walk begins.
    pub(super) fn root(&self) -> Place<'_, V> {
        Place {
            trie: self,
            node: 0,
        }
    }
}

impl<V: Default> Default for Trie<V> {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

impl<'t, V> Place<'t, V> {
    /// The child under `key`, if there is one.
    pub(super) fn step(&self, key: &[u8]) -> Option<Self> {
        let node = *self.node().children.get(key)?;
        Some(Place {
            trie: self.trie,
            node,
        })
    }

    /// The value of this node.
    pub(super) fn value(&self) -> &'t V {
        &self.node().value
    }

    /// The value of this node, then of each node on the way back to the root.
    pub(super) fn upwards(&self) -> impl Iterator<Item = &'t V> + use<'t, V> {
        let nodes = &self.trie.nodes;
        iter::successors(Some(self.node()), |node| {
            node.parent.map(|parent| &nodes[parent])
        })
        .map(|node| &node.value)
    }

    fn node(&self) -> &'t Node<V> {
        &self.trie.nodes[self.node]
    }
}
