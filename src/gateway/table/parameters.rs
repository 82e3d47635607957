//! Paths with `{name}` segments: those of one host in the route match, and the
//! values of the winner's parameters.

use std::sync::Arc;

use super::{
    lookup::Rank,
    trie::{Place, Trie},
};

/// Routes whose path has parameters, by segment.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    trie: Trie<Vec<Rank>>,
}

/// The names in one pattern, each with its segment's position, from left to
/// right.
#[derive(Debug)]
pub(super) struct Names(Box<[(usize, Arc<str>)]>);

/// A place, and the rest of the path behind it: `None` at the end, while
/// `Some("")` is an empty last segment.
type Step<'t, 'p> = (Place<'t, Vec<Rank>>, Option<&'p [u8]>);

/// Visits every pattern that matches a path, in no particular order.
#[derive(Debug)]
pub(super) struct Walk<'t, 'p> {
    next: Option<Step<'t, 'p>>,
    /// Branches still to be visited, where a segment fits both a fixed one and
    /// a parameter. Each place of the tree is visited at most once, and without
    /// such a fork nothing is allocated.
    forks: Vec<Step<'t, 'p>>,
}

impl Parameters {
    /// Adds a route for paths of this pattern.
    pub(super) fn insert(&mut self, pattern: &str, rank: Rank) {
        let keys = segments(pattern).map(|segment| {
            if name(segment).is_some() {
                PARAMETER
            } else {
                segment
            }
        });
        self.trie.entry(keys).push(rank);
    }

    /// The routes of each pattern that matches `path`.
    pub(super) fn walk<'t, 'p>(&'t self, path: &'p [u8]) -> Walk<'t, 'p> {
        let next = path
            .strip_prefix(b"/")
            .map(|rest| (self.trie.root(), Some(rest)));
        Walk {
            next,
            forks: Vec::new(),
        }
    }
}

impl<'t> Iterator for Walk<'t, '_> {
    type Item = &'t [Rank];

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((place, rest)) = self.next.take().or_else(|| self.forks.pop()) {
            let Some(rest) = rest else {
                return Some(place.value());
            };
            let (segment, rest) = first_segment(rest);
            let fixed = place.step(segment);
            let free = if segment.is_empty() {
                None
            } else {
                place.step(PARAMETER.as_bytes())
            };
            match (fixed, free) {
                (Some(fixed), Some(free)) => {
                    self.forks.push((free, rest));
                    self.next = Some((fixed, rest));
                }
                (fixed, free) => self.next = fixed.or(free).map(|place| (place, rest)),
            }
        }
        None
    }
}

impl Names {
    /// The names in a pattern.
    pub(super) fn of(pattern: &str) -> Self {
        let named = segments(pattern)
            .enumerate()
            .filter_map(|(at, segment)| Some((at, name(segment)?.into())));
        Self(named.collect())
    }

    /// No names, for the other kinds of path.
    pub(super) fn none() -> Self {
        Self(Box::default())
    }

    /// Each name with its segment of `path`.
    pub(super) fn values(&self, path: &[u8]) -> Vec<(Arc<str>, Box<str>)> {
        let mut segments = path.split(|&byte| byte == b'/').skip(1).enumerate();
        let value = |(at, name): &(usize, Arc<str>)| {
            let (_, segment) = segments.find(|(position, _)| position == at)?;
            Some((Arc::clone(name), String::from_utf8_lossy(segment).into()))
        };
        self.0.iter().filter_map(value).collect()
    }
}

fn segments(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('/').skip(1)
}

fn name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn first_segment(rest: &[u8]) -> (&[u8], Option<&[u8]>) {
    match rest.iter().position(|&byte| byte == b'/') {
        Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
        None => (rest, None),
    }
}

/// The key of a `{name}` segment in the tree: no segment of a request holds a
/// slash.
const PARAMETER: &str = "/";
