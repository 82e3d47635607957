//! Exact paths and prefixes of one host, found together in one walk over the
//! segments of the request's path.

use super::{
    lookup::Rank,
    trie::{Place, Trie},
};

/// The routes whose path has no parameters, by segment.
#[derive(Debug, Default)]
pub(super) struct Fixed {
    trie: Trie<Ends>,
}

/// The place that a path leads to.
#[derive(Debug)]
pub(super) struct Walk<'t> {
    last: Place<'t, Ends>,
    /// The whole path leads there, and not only its beginning.
    whole: bool,
}

/// The routes whose pattern ends at a place, in the order of their ranks.
#[derive(Debug, Default)]
struct Ends {
    exact: Vec<Rank>,
    prefix: Vec<Rank>,
}

impl Fixed {
    /// Adds a route for exactly this path.
    pub(super) fn insert_exact(&mut self, path: &str, rank: Rank) {
        self.trie.entry(path.split('/').skip(1)).exact.push(rank);
    }

    /// Adds a route for every path below a prefix; the empty prefix is the
    /// root, which also takes `*`.
    pub(super) fn insert_prefix(&mut self, prefix: &str, rank: Rank) {
        self.trie.entry(prefix.split('/').skip(1)).prefix.push(rank);
    }

    /// Walks along `path` as far as any pattern goes.
    pub(super) fn walk(&self, path: &[u8]) -> Walk<'_> {
        let mut last = self.trie.root();
        let Some(segments) = path.strip_prefix(b"/") else {
            return Walk { last, whole: false };
        };
        for segment in segments.split(|&byte| byte == b'/') {
            let Some(next) = last.step(segment) else {
                return Walk { last, whole: false };
            };
            last = next;
        }
        Walk { last, whole: true }
    }
}

impl<'t> Walk<'t> {
    /// Routes for exactly this path.
    pub(super) fn exact(&self) -> &'t [Rank] {
        if self.whole {
            &self.last.value().exact
        } else {
            &[]
        }
    }

    /// Routes for prefixes of this path, the longest prefix first.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &'t [Rank]> + use<'t> {
        self.last.upwards().map(|ends| ends.prefix.as_slice())
    }
}
