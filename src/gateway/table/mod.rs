//! Which route takes a request: every route's conditions in one pure, immutable table.
//!
//! On the request's path this is the "route match on one snapshot". A request goes through three narrowing steps, each of
//! which hands over to the next candidate when nothing behind it matches wholly:
//!
//! 1. `hosts`: the exact host, wildcards from the longest, then any host;
//! 2. `paths`: exact (`fixed`), with parameters (`parameters`), regular expressions (`regexes`), prefixes from the longest;
//! 3. `conditions`: method, headers and query of the routes that share that host and path, best first.
//!
//! The first two cost the same among ten routes and ten thousand; the third costs as many looks as routes share both.

mod conditions;
mod fixed;
mod hosts;
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
use http::{HeaderMap, Method};

use self::{conditions::Conditions, hosts::Hosts, paths::Paths, query::Query, regexes::Sets};
use crate::policy::{HostPattern, Match, PathPattern};

/// The routes of one snapshot, arranged to be found.
#[derive(Debug)]
pub struct Table {
    hosts: Hosts,
    /// Indexed by [`Rank`], so that of two candidates for the same path the smaller rank wins.
    routes: Vec<Conditions>,
}

/// What the table looks at in a request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// Lower case, without a port.
    pub host: &'r str,
    /// In its normal form; bytes from 0x80 are allowed. Anything that does not begin with `/` (as in `OPTIONS *`) is
    /// taken by routes for every path alone.
    pub path: &'r [u8],
    /// The method.
    pub method: &'r Method,
    /// The headers.
    pub headers: &'r HeaderMap,
    /// What follows `?`, as received.
    pub query: Option<&'r [u8]>,
}

/// The route that takes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its position among the routes that the table was built from.
    pub index: usize,
    /// What the `{name}` segments of its path took, in the order of the path. Values keep their escapes; bytes that are
    /// not UTF-8 become U+FFFD.
    pub parameters: Vec<(Arc<str>, Box<str>)>,
}

impl Table {
    /// Arranges `routes`, which come in file order.
    ///
    /// # Errors
    ///
    /// When a regular expression does not compile, which the configuration has ruled out for each alone.
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
    pub fn find(&self, asked: &Asked<'_>) -> Option<Found> {
        self.find_as(asked, asked.path)
    }

    /// The route that takes this request if its path is spelled `path`; parameters are those of the path as asked.
    #[must_use]
    pub(super) fn find_as(&self, asked: &Asked<'_>, path: &[u8]) -> Option<Found> {
        let query = Query::new(asked.query);
        let admits = |rank: Rank| self.routes[rank].admit(asked, &query);
        let rank = self
            .hosts
            .find(asked.host, |paths| paths.find(path, &admits))?;
        let route = &self.routes[rank];
        Some(Found {
            index: route.index(),
            parameters: route.parameters(asked.path),
        })
    }
}

/// A route's place in the order of [`precedence`]; the smaller one wins.
type Rank = usize;

/// A route as one host's [`Paths`] see it.
type Ranked<'a> = (Rank, &'a PathPattern);

/// The order among routes of the same host and path: who names the method, then more headers, then more query
/// parameters, then the file. Whether a route names *the* method or merely some is the same thing here, since one that
/// names others only does not match.
fn precedence(index: usize, route: &Match) -> impl Ord + use<> {
    (
        route.methods.is_empty(),
        Reverse(route.headers.len()),
        Reverse(route.query.len()),
        index,
    )
}

/// The routes under each of their hosts (`None`: any), still in the order of their ranks.
fn by_host<'a>(
    routes: &[(usize, &'a Match)],
) -> HashMap<Option<&'a HostPattern>, Vec<Ranked<'a>>, RandomState> {
    let mut by_host: HashMap<_, Vec<Ranked<'a>>, _> = HashMap::default();
    for (rank, &(_, route)) in routes.iter().enumerate() {
        if route.hosts.is_empty() {
            by_host.entry(None).or_default().push((rank, &route.path));
        }
        for host in &route.hosts {
            by_host
                .entry(Some(host))
                .or_default()
                .push((rank, &route.path));
        }
    }
    by_host
}
