//! Paths with `{name}` segments: those of one host in the route match, and the
//! values of the winner's parameters.
//!
//! A parameter stands for one whole segment that is not empty. Matching and
//! values are apart: a request is matched against one tree without names, and
//! only the winner's names are looked up, so that the values of routes that
//! lose are never made.

use std::sync::Arc;

use super::tree::{Tree, TreePosition};

/// The names in one pattern, each with its segment's position, from left to
/// right.
///
/// The first segment has position 0.
#[derive(Debug)]
pub(super) struct ParameterNames(Box<[(usize, Arc<str>)]>);

/// The key of a `{name}` segment in a tree: no segment of a request holds a
/// slash.
const PARAMETER: &str = "/";

/// The keys of a pattern in a tree.
///
/// All parameters have one key, whatever their names, so that patterns which
/// differ only in names share a node.
pub(super) fn keys(pattern: &str) -> impl Iterator<Item = &str> {
    segments(pattern).map(|segment| match name(segment) {
        Some(_) => PARAMETER,
        None => segment,
    })
}

/// The values of each pattern that matches `path`, in no particular order.
///
/// A path that does not begin with `/` matches none. The search is lazy: a
/// caller that stops early pays for no further node.
pub(super) fn matching<'t, 'p, V>(tree: &'t Tree<V>, path: &'p [u8]) -> Matching<'t, 'p, V> {
    let rest = path.strip_prefix(b"/");
    Matching {
        next: rest.map(|rest| (tree.root(), Some(rest))),
        forks: Vec::new(),
    }
}

/// A node, and the rest of the path behind it: `None` at the end, while
/// `Some("")` is an empty last segment.
type Step<'t, 'p, V> = (TreePosition<'t, V>, Option<&'p [u8]>);

/// Visits every pattern that matches a path.
#[derive(Debug)]
pub(super) struct Matching<'t, 'p, V> {
    /// The step that is taken next; `None` goes back to the last fork.
    next: Option<Step<'t, 'p, V>>,
    /// Branches still to be visited, where a segment fits both a fixed one and
    /// a parameter. Each node of the tree is visited at most once, and without
    /// such a fork nothing is allocated.
    forks: Vec<Step<'t, 'p, V>>,
}

impl<'t, V> Iterator for Matching<'t, '_, V> {
    type Item = &'t V;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((node, rest)) = self.next.take().or_else(|| self.forks.pop()) {
            let Some(rest) = rest else {
                return Some(node.value());
            };
            let (segment, rest) = first_segment(rest);
            let fixed = node.step(segment);
            let free = if segment.is_empty() {
                None
            } else {
                node.step(PARAMETER.as_bytes())
            };
            match (fixed, free) {
                (Some(fixed), Some(free)) => {
                    self.forks.push((free, rest));
                    self.next = Some((fixed, rest));
                }
                (fixed, free) => self.next = fixed.or(free).map(|node| (node, rest)),
            }
        }
        None
    }
}

impl ParameterNames {
    /// The names in a pattern.
    pub(super) fn of(pattern: &str) -> Self {
        let mut names = Vec::new();
        for (at, segment) in segments(pattern).enumerate() {
            if let Some(name) = name(segment) {
                names.push((at, name.into()));
            }
        }
        Self(names.into())
    }

    /// Each name with its segment of `path`.
    ///
    /// `path` has matched the pattern. Values keep their escapes, and bytes
    /// that are not UTF-8 become U+FFFD. The cost is one pass over the path.
    pub(super) fn values(&self, path: &[u8]) -> Vec<(Arc<str>, Box<str>)> {
        let mut values = Vec::with_capacity(self.0.len());
        let mut segments = path.split(|&byte| byte == b'/').skip(1).enumerate();
        for (at, name) in &self.0 {
            if let Some((_, segment)) = segments.find(|(position, _)| position == at) {
                values.push((Arc::clone(name), String::from_utf8_lossy(segment).into()));
            }
        }
        values
    }
}

/// The segments of a pattern, which begins with a slash.
fn segments(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('/').skip(1)
}

/// The name in a `{name}` segment; `None` for a fixed one.
fn name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The first segment of a path without its leading slash, and the rest behind
/// the slash that ends it; `None` if it is the last one.
fn first_segment(rest: &[u8]) -> (&[u8], Option<&[u8]>) {
    match rest.iter().position(|&byte| byte == b'/') {
        Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
        None => (rest, None),
    }
}
