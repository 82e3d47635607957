//! A tree of byte strings, one step a key: the shape behind hosts (labels) and paths (segments) in the route match.
//!
//! Each step hashes its own key only, so that a walk is linear in what it reads, however long the request made it, and
//! it ends where the configuration ends.

use std::{collections::HashMap, iter};

use foldhash::fast::RandomState;

/// Values at the nodes of a tree.
#[derive(Debug)]
pub(super) struct Trie<V> {
    /// Never empty: the first one is the root. Children come after their parents.
    nodes: Vec<Node<V>>,
}

/// A place in a tree, from which a walk goes on.
#[derive(Debug)]
pub(super) struct Place<'t, V> {
    trie: &'t Trie<V>,
    node: usize,
}

#[derive(Debug, Default)]
struct Node<V> {
    value: V,
    parent: Option<usize>,
    /// Requests only look keys up and never add any, so that a quick hash is safe here.
    children: HashMap<Box<[u8]>, usize, RandomState>,
}

impl<V: Default> Trie<V> {
    /// The value behind these keys, made when it is new.
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
    /// Whether nothing was added yet.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// Where every walk begins.
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
    /// One key further, where there is something.
    pub(super) fn step(&self, key: &[u8]) -> Option<Self> {
        let node = *self.node().children.get(key)?;
        Some(Place {
            trie: self.trie,
            node,
        })
    }

    /// What is here.
    pub(super) fn value(&self) -> &'t V {
        &self.node().value
    }

    /// What is here, then at each place on the way back to the root.
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
