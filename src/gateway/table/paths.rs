//! The second step of the route match: from the request's path to the routes of
//! one host, in the order of path classes.
//!
//! Exact paths and prefixes lie in one [`Tree`] with a key for each segment and
//! are found together, in one walk along the path. The walk ends where the
//! patterns of the configuration end, however long a request is.
//!
//! # Classes
//!
//! A host's routes are tried class by class, and a better class wins over a
//! better rank: exact paths, paths with parameters, expressions, and prefixes
//! from the longest. A class whose routes all fail their other conditions is
//! passed over.

use std::iter;

use super::{
    parameters,
    regexes::{Regexes, Sets},
    tree::{At, Tree},
};
use crate::policy::PathPattern;

/// The position of a route in the order of precedence. Of several routes that
/// match, the one with the smallest rank wins.
pub(super) type Rank = usize;

/// A route with its rank, as the paths of one host see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranked<'a> {
    /// Its rank in the whole table, not only within the host.
    pub(super) rank: Rank,
    /// The pattern of its path.
    pub(super) path: &'a PathPattern,
}

/// The routes of one host by path.
#[derive(Debug)]
pub(super) struct Paths {
    /// Routes whose path has no parameters.
    fixed: Tree<Ends>,
    /// Routes with `{name}` segments; `None` if no route of the host has any.
    parameters: Option<Tree<Vec<Rank>>>,
    /// Routes whose path is a regular expression; `None` if there are none.
    regexes: Option<Regexes>,
}

/// The routes whose pattern ends at a node, in the order of their ranks.
#[derive(Debug, Default)]
struct Ends {
    /// Routes for exactly this path.
    exact: Vec<Rank>,
    /// Routes for every path that begins with these segments.
    prefix: Vec<Rank>,
}

impl Paths {
    /// Arranges the routes of one host, given in the order of their ranks.
    ///
    /// # Errors
    /// If the regular expressions do not compile together.
    ///
    /// `sets` are the expressions that other hosts have compiled, which are
    /// shared.
    pub(super) fn build<'a>(
        routes: &[Ranked<'a>],
        sets: &mut Sets<'a>,
    ) -> Result<Self, regex::Error> {
        let mut fixed: Tree<Ends> = Tree::default();
        let mut parameters: Option<Tree<Vec<Rank>>> = None;
        let mut patterns = Vec::new();
        for &Ranked { rank, path } in routes {
            match path {
                // The empty prefix is the root, which also takes `*`.
                PathPattern::Any => fixed.entry(iter::empty()).prefix.push(rank),
                PathPattern::Prefix(prefix) => fixed.entry(segments(prefix)).prefix.push(rank),
                PathPattern::Exact(path) => fixed.entry(segments(path)).exact.push(rank),
                PathPattern::Parameters(pattern) => {
                    let tree = parameters.get_or_insert_default();
                    tree.entry(parameters::keys(pattern)).push(rank);
                }
                PathPattern::Regex(pattern) => patterns.push((rank, pattern.as_str())),
            }
        }
        let regexes = if patterns.is_empty() {
            None
        } else {
            Some(Regexes::build(&patterns, sets)?)
        };
        Ok(Self {
            fixed,
            parameters,
            regexes,
        })
    }

    /// The best route for `path` that `admits` the rest of the request.
    ///
    /// `admits` says whether the method, headers and query of the route with a
    /// rank hold. `None` if no route of the host takes the request.
    pub(super) fn find(&self, path: &[u8], admits: &impl Fn(Rank) -> bool) -> Option<Rank> {
        let first = |ranks: &[Rank]| ranks.iter().copied().find(|&rank| admits(rank));
        let Walk { last, is_whole } = walk(&self.fixed, path);
        if is_whole && let Some(exact) = first(&last.value().exact) {
            return Some(exact);
        }
        if let Some(parameters) = &self.parameters
            // Of several patterns that match the path, none is more specific:
            // the ranks decide.
            && let Some(best) = parameters::matching(parameters, path)
                .filter_map(|ranks| first(ranks))
                .min()
        {
            return Some(best);
        }
        if let Some(regexes) = &self.regexes
            && let Some(best) = regexes.find(path, admits)
        {
            return Some(best);
        }
        last.upwards().find_map(|ends| first(&ends.prefix))
    }
}

/// The segments of a pattern.
fn segments(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('/').skip(1)
}

/// The node that a walk along a path leads to.
struct Walk<'t> {
    /// The node behind the last segment that a pattern has.
    last: At<'t, Ends>,
    /// The whole path leads there, and not only its beginning.
    is_whole: bool,
}

/// Walks along `path` as far as any pattern goes. A path that does not begin
/// with `/` leads nowhere.
///
/// The cost is one look-up for each segment of the path that a pattern has, and
/// one more. An empty segment is a segment like others: `/a/` leads to another
/// node than `/a`.
fn walk<'t>(tree: &'t Tree<Ends>, path: &[u8]) -> Walk<'t> {
    let mut last = tree.root();
    let Some(segments) = path.strip_prefix(b"/") else {
        return Walk {
            last,
            is_whole: false,
        };
    };
    for segment in segments.split(|&byte| byte == b'/') {
        match last.step(segment) {
            Some(next) => last = next,
            None => {
                return Walk {
                    last,
                    is_whole: false,
                };
            }
        }
    }
    Walk {
        last,
        is_whole: true,
    }
}
