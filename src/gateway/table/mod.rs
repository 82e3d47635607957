//! The route table: all conditions of all routes in one immutable table, which
//! finds the route that takes a request.
//!
//! Routes that name listeners come before all others, whatever else they ask
//! for: they lie in a part of their own, which is asked first.
//!
//! In each part, a request goes through three narrowing steps. If no route
//! behind a candidate
//! of one step matches completely, the next candidate is tried:
//!
//! 1. `Hosts`: the exact host, wildcards from the longest, then any host;
//! 2. `Paths`: exact paths, those with `parameters`, regular expressions
//!    (`regexes`), prefixes from the longest. A better class wins over a better
//!    rank, and one whose routes all fail their conditions is passed over;
//! 3. `Conditions`: method, headers, query, listener and client of the routes
//!    that share that host and path, best first.
//!
//! The first two steps cost the same for ten routes and for ten thousand. The
//! third costs one comparison for each route that shares host and path.
//!
//! Each route has a rank, its position in the order of precedence among routes
//! of the same host and path. Steps hand ranks to each other and not routes, so
//! that of two candidates the better one is the smaller number. `build` puts
//! the routes in this order, and arranges them.
//!
//! `matchit` is not used because its precedence does not backtrack: a path that
//! begins like a more specific pattern but fails its conditions, or its later
//! segments, has to fall back to the less specific route.

mod build;
mod conditions;
#[cfg(test)]
mod oracle;
mod parameters;
mod regexes;
#[cfg(any(test, fuzzing))]
pub mod scan;
#[cfg(test)]
mod tests;
mod tree;

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use foldhash::fast::RandomState;
use http::Method;

use self::{
    conditions::{Conditions, Query},
    regexes::Regexes,
    tree::{Tree, TreePosition},
};
use crate::{message::Headers, telemetry::FixedFields};

/// The routes of one snapshot, arranged to be found. Requests never change it,
/// so that all workers share one.
///
/// ```
/// use http::Method;
/// use tidegate::{
///     gateway::table::{Lookup, RouteTable},
///     message::Headers,
///     policy::{Match, PathPattern},
///     telemetry::FixedFields,
/// };
///
/// let orders = Match {
///     path: PathPattern::Parameters("/orders/{id}".into()),
///     ..Match::all()
/// };
/// let table = RouteTable::build(&[Match::all(), orders]).unwrap();
/// let found = table.find(&Lookup {
///     host: "shop.example",
///     path: b"/orders/7",
///     method: &Method::GET,
///     headers: &Headers::default(),
///     query: None,
///     listener: &FixedFields::listener("web".into()),
///     client: [192, 0, 2, 7].into(),
/// });
/// let found = found.unwrap();
/// assert_eq!((found.index, &*found.parameters[0].1), (1, "7"));
/// ```
#[derive(Debug)]
pub struct RouteTable {
    /// The paths of each host, in the parts of the table and in the order in
    /// which they are asked: of routes that name listeners, if there are any,
    /// and of all others.
    parts: Box<[Hosts]>,
    /// Indexed by [`Rank`].
    routes: Vec<Conditions>,
}

/// The position of a route in the order of precedence. Of several routes that
/// match, the one with the smallest rank wins.
type Rank = usize;

/// The parts of a request by which its route is found.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'r> {
    /// The host in lower case, without a port.
    pub host: &'r str,
    /// The path in its normal form; bytes from 0x80 are allowed. Only routes
    /// for every path take one that does not begin with `/` (as in
    /// `OPTIONS *`).
    pub path: &'r [u8],
    /// The method.
    pub method: &'r Method,
    /// The headers.
    pub headers: &'r Headers,
    /// The query as received, without its `?`.
    pub query: Option<&'r [u8]>,
    /// The listener that it came by.
    pub listener: &'r FixedFields,
    /// The address of the client.
    pub client: IpAddr,
}

/// The route that takes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its position among the routes that the table was built from.
    pub index: usize,
    /// The values of the `{name}` segments of its path, in the order of the
    /// path. They keep their escapes; bytes that are not UTF-8 become U+FFFD.
    pub parameters: Vec<(Arc<str>, Box<str>)>,
}

impl RouteTable {
    /// The route that takes this request, or `None`.
    #[must_use]
    pub fn find(&self, lookup: &Lookup<'_>) -> Option<Found> {
        self.find_as(lookup, lookup.path)
    }

    /// The route that takes this request if its path is spelled `path`.
    /// Parameters are those of the request's own path.
    #[must_use]
    pub(super) fn find_as(&self, lookup: &Lookup<'_>, path: &[u8]) -> Option<Found> {
        let candidates = Candidates {
            routes: &self.routes,
            lookup,
            query: Query::new(lookup.query),
        };
        let mut parts = self.parts.iter();
        let rank = parts.find_map(|hosts| hosts.find(lookup.host, path, &candidates))?;
        let Conditions { index, names, .. } = &self.routes[rank];
        Some(Found {
            index: *index,
            parameters: match names {
                Some(names) => names.values(lookup.path),
                None => Vec::new(),
            },
        })
    }
}

/// The routes of a table, asked whether their conditions take one request.
struct Candidates<'r> {
    /// Indexed by [`Rank`].
    routes: &'r [Conditions],
    /// The request.
    lookup: &'r Lookup<'r>,
    /// The parameters of the request's query.
    query: Query<'r>,
}

impl Candidates<'_> {
    /// Whether the method, fields, query and origin of the request are those
    /// that the route of this rank asks for.
    fn admits(&self, rank: Rank) -> bool {
        self.routes[rank].admit(self.lookup, &self.query)
    }

    /// The first of `ranks` that takes the request.
    fn first(&self, ranks: &[Rank]) -> Option<Rank> {
        ranks.iter().copied().find(|&rank| self.admits(rank))
    }
}

/// The first step of the route match: from the request's host to the routes for
/// it, most specific first.
#[derive(Debug, Default)]
struct Hosts {
    /// By host, in lower case and without a port.
    exact: HashMap<Box<str>, Paths, RandomState>,
    /// Suffixes by label from the right. A tree, because with a map of suffixes
    /// a host of thousands of labels would need thousands of suffixes to be
    /// hashed as a whole. `None` if there are no wildcards, as usual, so that
    /// the host need not be split.
    wildcards: Option<Tree<Option<Paths>>>,
    /// The routes without a host of their own.
    any: Option<Paths>,
}

impl Hosts {
    /// The first of the candidates: under the exact host, then under the
    /// wildcards from the longest, then under any host.
    fn find(&self, host: &str, path: &[u8], candidates: &Candidates<'_>) -> Option<Rank> {
        if let Some(paths) = self.exact.get(host)
            && let Some(found) = paths.find(path, candidates)
        {
            return Some(found);
        }
        if let Some(wildcards) = &self.wildcards {
            for paths in matching(wildcards, host) {
                if let Some(found) = paths.find(path, candidates) {
                    return Some(found);
                }
            }
        }
        self.any.as_ref()?.find(path, candidates)
    }
}

/// The paths of the wildcards that match `host`, the longest first.
fn matching<'t>(
    wildcards: &'t Tree<Option<Paths>>,
    host: &str,
) -> impl Iterator<Item = &'t Paths> + use<'t> {
    let mut node = wildcards.root();
    let mut rest = host;
    // Stops before the first label: `*.x` requires at least one more.
    while let Some((before, label)) = rest.rsplit_once('.')
        && !before.is_empty()
        && let Some(next) = node.step(label.as_bytes())
    {
        node = next;
        rest = before;
    }
    node.upwards().flatten()
}

/// The second step of the route match: from the request's path to the routes of
/// one host.
///
/// Exact paths and prefixes lie in one [`Tree`] with a key for each segment and
/// are found together, in one walk along the path. The walk ends where the
/// patterns of the configuration end, however long a request is.
#[derive(Debug)]
struct Paths {
    /// Routes whose path has no parameters.
    fixed: Tree<EndingRoutes>,
    /// Routes with `{name}` segments; `None` if no route of the host has any.
    parameters: Option<Tree<Vec<Rank>>>,
    /// Routes whose path is a regular expression; `None` if there are none.
    regexes: Option<Regexes>,
}

/// The routes whose pattern ends at a node, in the order of their ranks.
#[derive(Debug, Default)]
struct EndingRoutes {
    /// Routes for exactly this path.
    exact: Vec<Rank>,
    /// Routes for every path that begins with these segments.
    prefix: Vec<Rank>,
}

impl Paths {
    /// The best route for `path` among the candidates.
    ///
    /// `None` if no route of the host takes the request.
    fn find(&self, path: &[u8], candidates: &Candidates<'_>) -> Option<Rank> {
        let Walk { last, is_whole } = walk(&self.fixed, path);
        if is_whole && let Some(exact) = candidates.first(&last.value().exact) {
            return Some(exact);
        }
        if let Some(parameters) = &self.parameters
            // Of several patterns that match the path, none is more specific:
            // the ranks decide.
            && let Some(best) = parameters::matching(parameters, path)
                .filter_map(|ranks| candidates.first(ranks))
                .min()
        {
            return Some(best);
        }
        if let Some(regexes) = &self.regexes
            && let Some(best) = regexes.find(path, |rank| candidates.admits(rank))
        {
            return Some(best);
        }
        for ends in last.upwards() {
            if let Some(prefix) = candidates.first(&ends.prefix) {
                return Some(prefix);
            }
        }
        None
    }
}

/// The node that a walk along a path leads to.
struct Walk<'t> {
    /// The node behind the last segment that a pattern has.
    last: TreePosition<'t, EndingRoutes>,
    /// The whole path leads there, and not only its beginning.
    is_whole: bool,
}

/// Walks along `path` as far as any pattern goes. A path that does not begin
/// with `/` leads nowhere.
///
/// The cost is one look-up for each segment of the path that a pattern has, and
/// one more. An empty segment is a segment like others: `/a/` leads to another
/// node than `/a`.
fn walk<'t>(tree: &'t Tree<EndingRoutes>, path: &[u8]) -> Walk<'t> {
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
