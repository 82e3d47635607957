//! The route table: all conditions of all routes in one immutable table, which
//! finds the route that takes a request.
//!
//! A request goes through three narrowing steps. If no route behind a candidate
//! of one step matches completely, the next candidate is tried:
//!
//! 1. `Hosts`: the exact host, wildcards from the longest, then any host;
//! 2. `paths`: exact paths, those with `parameters`, regular expressions
//!    (`regexes`), prefixes from the longest;
//! 3. `Conditions`: method, headers and query of the routes that share that
//!    host and path, best first.
//!
//! The first two steps cost the same for ten routes and for ten thousand. The
//! third costs one comparison for each route that shares host and path.
//!
//! Each route has a rank, its position in the order of precedence among routes
//! of the same host and path. Steps hand ranks to each other and not routes, so
//! that of two candidates the better one is the smaller number.
//!
//! `matchit` is not used because its precedence does not backtrack: a path that
//! begins like a more specific pattern but fails its conditions, or its later
//! segments, has to fall back to the less specific route.

#[cfg(test)]
mod oracle;
mod parameters;
mod paths;
mod regexes;
#[cfg(any(test, fuzzing))]
pub mod scan;
#[cfg(test)]
mod tests;
mod tree;

use std::{cell::OnceCell, cmp::Reverse, collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use self::{
    parameters::Names,
    paths::{Paths, Rank, Ranked},
    regexes::Sets,
    tree::Tree,
};
use crate::{
    call::query::{self, Pair},
    policy::{HostPattern, Match, PathPattern},
};

/// The routes of one snapshot, arranged to be found. Requests never change it,
/// so that all workers share one.
///
/// ```
/// use http::{HeaderMap, Method};
/// use tidegate::{
///     gateway::table::{Lookup, Table},
///     policy::{Match, PathPattern},
/// };
///
/// let orders = Match {
///     path: PathPattern::Parameters("/orders/{id}".into()),
///     ..Match::all()
/// };
/// let table = Table::build(&[Match::all(), orders]).unwrap();
/// let found = table.find(&Lookup {
///     host: "shop.example",
///     path: b"/orders/7",
///     method: &Method::GET,
///     headers: &HeaderMap::new(),
///     query: None,
/// });
/// let found = found.unwrap();
/// assert_eq!((found.index, &*found.parameters[0].1), (1, "7"));
/// ```
#[derive(Debug)]
pub struct Table {
    /// The paths of each host.
    hosts: Hosts,
    /// Indexed by [`Rank`].
    routes: Vec<Conditions>,
}

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
    pub headers: &'r HeaderMap,
    /// The query as received, without its `?`.
    pub query: Option<&'r [u8]>,
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

impl Table {
    /// Arranges `routes`, which come in file order.
    ///
    /// # Errors
    /// If a regular expression does not compile. The configuration has checked
    /// each of them alone.
    pub fn build<'a>(routes: impl IntoIterator<Item = &'a Match>) -> Result<Self, regex::Error> {
        let mut routes: Vec<(usize, &Match)> = routes.into_iter().enumerate().collect();
        routes.sort_by_key(|&(index, route)| precedence(index, route));
        let mut hosts = Hosts::default();
        let mut sets = Sets::default();
        for (host, routes) in by_host(&routes) {
            hosts.insert(host, Paths::build(&routes, &mut sets)?);
        }
        Ok(Self {
            hosts,
            routes: routes
                .into_iter()
                .map(|(index, route)| Conditions::new(index, route))
                .collect(),
        })
    }

    /// The route that takes this request, or `None`.
    #[must_use]
    pub fn find(&self, lookup: &Lookup<'_>) -> Option<Found> {
        self.find_as(lookup, lookup.path)
    }

    /// The route that takes this request if its path is spelled `path`.
    /// Parameters are those of the request's own path.
    #[must_use]
    pub(super) fn find_as(&self, lookup: &Lookup<'_>, path: &[u8]) -> Option<Found> {
        let query = Query::new(lookup.query);
        let admits = |rank: Rank| self.routes[rank].admit(lookup, &query);
        let rank = self
            .hosts
            .find(lookup.host, |paths| paths.find(path, &admits))?;
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

/// The order among routes of the same host and path: those that name methods
/// first, then those with more headers, then those with more query parameters,
/// then by the order of the file. It does not matter which methods a route
/// names, since a route that names only others does not match.
fn precedence(index: usize, route: &Match) -> impl Ord + use<> {
    (
        route.methods.is_empty(),
        Reverse(route.headers.len()),
        Reverse(route.query.len()),
        index,
    )
}

/// The routes under each of their hosts (`None` is any host), in the order of
/// their ranks.
fn by_host<'a>(
    routes: &[(usize, &'a Match)],
) -> HashMap<Option<&'a HostPattern>, Vec<Ranked<'a>>, RandomState> {
    let mut by_host: HashMap<_, Vec<Ranked<'a>>, _> = HashMap::default();
    for (rank, &(_, route)) in routes.iter().enumerate() {
        if route.hosts.is_empty() {
            let path = &route.path;
            by_host.entry(None).or_default().push(Ranked { rank, path });
        }
        for host in &route.hosts {
            let path = &route.path;
            by_host
                .entry(Some(host))
                .or_default()
                .push(Ranked { rank, path });
        }
    }
    by_host
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
    /// Sets the paths of a host, which has none yet; `None` is any host.
    fn insert(&mut self, host: Option<&HostPattern>, paths: Paths) {
        match host {
            Some(HostPattern::Exact(host)) => drop(self.exact.insert(host.as_str().into(), paths)),
            Some(HostPattern::Wildcard(suffix)) => {
                let wildcards = self.wildcards.get_or_insert_default();
                *wildcards.entry(suffix.rsplit('.')) = Some(paths);
            }
            None => self.any = Some(paths),
        }
    }

    /// The first route that `look` finds: under the exact host, then the
    /// wildcards from the longest, then any host.
    fn find(&self, host: &str, look: impl Fn(&Paths) -> Option<Rank>) -> Option<Rank> {
        if let Some(found) = self.exact.get(host).and_then(&look) {
            return Some(found);
        }
        if let Some(wildcards) = &self.wildcards
            && let Some(found) = matching(wildcards, host).find_map(&look)
        {
            return Some(found);
        }
        self.any.as_ref().and_then(look)
    }
}

/// The paths of the wildcards that match `host`, the longest first.
fn matching<'t>(
    wildcards: &'t Tree<Option<Paths>>,
    host: &str,
) -> impl Iterator<Item = &'t Paths> + use<'t> {
    let (mut node, mut rest) = (wildcards.root(), host);
    // Stops before the first label: `*.x` requires at least one more.
    while let Some((before, label)) = rest
        .rsplit_once('.')
        .filter(|(before, _)| !before.is_empty())
    {
        let Some(next) = node.step(label.as_bytes()) else {
            break;
        };
        (node, rest) = (next, before);
    }
    node.upwards().flatten()
}

/// The conditions of one route, apart from its host and path: the last step of
/// the route match.
#[derive(Debug)]
struct Conditions {
    /// The route's position in the file.
    index: usize,
    /// One of these; empty takes every method.
    methods: Box<[Method]>,
    /// Fields that must all be there, with this value in one of their lines.
    headers: Box<[(HeaderName, HeaderValue)]>,
    /// Parameters that must all be there, decoded.
    query: Box<[(String, String)]>,
    /// The names of its path's parameters; `None` if it has none.
    names: Option<Names>,
}

impl Conditions {
    /// The conditions of the route at `index` of the file.
    fn new(index: usize, route: &Match) -> Self {
        let names = match &route.path {
            PathPattern::Parameters(pattern) => Some(Names::of(pattern)),
            _ => None,
        };
        Self {
            index,
            methods: route.methods.as_slice().into(),
            headers: route.headers.as_slice().into(),
            query: route.query.as_slice().into(),
            names,
        }
    }

    /// Whether all conditions hold.
    fn admit(&self, lookup: &Lookup<'_>, query: &Query<'_>) -> bool {
        let has_header = |(name, wanted): &(HeaderName, HeaderValue)| {
            let mut values = lookup.headers.get_all(name).iter();
            values.any(|value| value == wanted)
        };
        (self.methods.is_empty() || self.methods.contains(lookup.method))
            && self.headers.iter().all(has_header)
            && self.query.iter().all(|wanted| query.holds(wanted))
    }
}

/// The query parameters of one request, decoded once a candidate route has a
/// condition on them.
#[derive(Debug)]
struct Query<'r> {
    /// As received, without its `?`.
    raw: Option<&'r [u8]>,
    /// Sorted, so that with a long query and many candidates each search is
    /// short.
    decoded: OnceCell<Vec<Pair<'r>>>,
}

impl<'r> Query<'r> {
    /// The query as received, without its `?`.
    fn new(raw: Option<&'r [u8]>) -> Self {
        let decoded = OnceCell::new();
        Self { raw, decoded }
    }

    /// Whether a parameter has this name and value, perhaps among others.
    fn holds(&self, (name, value): &(String, String)) -> bool {
        let wanted = (name.as_bytes(), value.as_bytes());
        self.decoded()
            .binary_search_by(|(name, value)| (name.as_ref(), value.as_ref()).cmp(&wanted))
            .is_ok()
    }

    /// The parameters, decoded and sorted at the first call.
    fn decoded(&self) -> &[Pair<'r>] {
        self.decoded.get_or_init(|| {
            let mut pairs: Vec<Pair<'r>> = query::pairs(self.raw.unwrap_or_default()).collect();
            pairs.sort_unstable();
            pairs
        })
    }
}
