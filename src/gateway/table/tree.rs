//! A tree of byte strings with one key for each step: paths by segment, and
//! hosts by label.
//!
//! Each step hashes only its own key, so that a walk is linear in the bytes
//! that it reads, however long a request is.
//!
//! Nodes are in one vector and refer to each other by index, so that a tree
//! needs no reference counts. A tree is built by a reload and never changed
//! afterwards; workers share it without locks.

use std::{collections::HashMap, iter};

use foldhash::fast::RandomState;

/// Values at the nodes of a tree.
#[derive(Debug)]
pub(super) struct Tree<V> {
    /// Never empty: the first one is the root. Children follow their parents.
    nodes: Vec<TreeNode<V>>,
}

/// A value, and the way on from it.
#[derive(Debug, Default)]
struct TreeNode<V> {
    /// The default value for a node that is only passed.
    value: V,
    /// The node that it is a child of; `None` for the root.
    parent: Option<usize>,
    /// Requests only look keys up and never add any, so that a fast hash
    /// without protection against collisions is safe.
    children: HashMap<Box<[u8]>, usize, RandomState>,
}

/// A node in a tree, from which a walk goes on.
#[derive(Debug)]
pub(super) struct TreePosition<'t, V> {
    /// The tree that the walk is in.
    tree: &'t Tree<V>,
    /// The index of the node in `tree`, always a valid one.
    node: usize,
}

impl<V: Default> Tree<V> {
    /// The value at the end of these keys; created if it is new.
    ///
    /// An empty sequence of keys leads to the root. Each node on the way is
    /// created with a default value.
    pub(super) fn entry<'k>(&mut self, keys: impl Iterator<Item = &'k str>) -> &mut V {
        let mut node = 0;
        for key in keys {
            node = self.child(node, key.as_bytes());
        }
        &mut self.nodes[node].value
    }

    /// The child of a node under this key; created if it is new.
    fn child(&mut self, parent: usize, key: &[u8]) -> usize {
        let fresh = self.nodes.len();
        let child = *self.nodes[parent]
            .children
            .entry(key.into())
            .or_insert(fresh);
        if child == fresh {
            self.nodes.push(TreeNode {
                parent: Some(parent),
                ..TreeNode::default()
            });
        }
        child
    }
}

impl<V> Tree<V> {
    /// The root, where every walk begins.
    pub(super) fn root(&self) -> TreePosition<'_, V> {
        let tree = self;
        TreePosition { tree, node: 0 }
    }
}

impl<V: Default> Default for Tree<V> {
    fn default() -> Self {
        Self {
            nodes: vec![TreeNode::default()],
        }
    }
}

impl<'t, V> TreePosition<'t, V> {
    /// The child under `key`, if there is one.
    ///
    /// It takes one hash of `key` and does not move this position, so that a
    /// caller can try several keys.
    pub(super) fn step(&self, key: &[u8]) -> Option<Self> {
        let node = *self.node().children.get(key)?;
        let tree = self.tree;
        Some(TreePosition { tree, node })
    }

    /// The value of this node.
    pub(super) fn value(&self) -> &'t V {
        &self.node().value
    }

    /// The value of this node, then of each node on the way back to the root.
    pub(super) fn upwards(&self) -> impl Iterator<Item = &'t V> + use<'t, V> {
        let nodes = &self.tree.nodes;
        iter::successors(Some(self.node()), |node| Some(&nodes[node.parent?])).map(|n| &n.value)
    }

    /// The node itself.
    fn node(&self) -> &'t TreeNode<V> {
        &self.tree.nodes[self.node]
    }
}
