//! The route table: all conditions of all routes in one immutable table, which
//! finds the route that takes a request.
//!
//! A request goes through three narrowing steps. If no route behind a candidate
//! of one step matches completely, the next candidate is tried:
//!
//! 1. `hosts`: the exact host, wildcards from the longest, then any host;
//! 2. `paths`: exact (`fixed`), with parameters (`parameters`), regular
//!    expressions (`regexes`), prefixes from the longest;
//! 3. `conditions`: method, headers and query of the routes that share that
//!    host and path, best first.
//!
//! The first two steps cost the same for ten routes and for ten thousand. The
//! third costs one comparison for each route that shares host and path.
//!
//! `matchit` is not used because its precedence does not backtrack: a path that
//! begins like a more specific pattern but fails its conditions, or its later
//! segments, has to fall back to the less specific route.

mod conditions;
mod fixed;
mod hosts;
mod lookup;
#[cfg(test)]
mod oracle;
mod parameters;
mod paths;
mod query;
mod regexes;
#[cfg(any(test, fuzzing))]
pub mod scan;
#[cfg(test)]
mod tests;
mod trie;

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

pub use self::lookup::Lookup;
use self::{
    conditions::Conditions,
    hosts::Hosts,
    lookup::{Rank, Ranked},
    paths::Paths,
    query::Query,
    regexes::Sets,
};
use crate::policy::{HostPattern, Match};

/// The routes of one snapshot, arranged to be found.
#[derive(Debug)]
pub struct Table {
    hosts: Hosts,
    /// Indexed by [`Rank`], so that of two candidates for the same path the
    /// smaller rank wins.
    routes: Vec<Conditions>,
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
        let route = &self.routes[rank];
        Some(Found {
            index: route.index(),
            parameters: route.parameters(lookup.path),
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
