//! The table as it is built, once for each reload: routes are put in their
//! order of precedence, and then arranged by host and path.

use std::{cmp::Reverse, collections::HashMap, iter};

use foldhash::fast::RandomState;

use super::{
    EndingRoutes, Hosts, Paths, Rank, RouteTable,
    conditions::Conditions,
    parameters,
    regexes::{Regexes, Sets},
    tree::Tree,
};
use crate::policy::{HostPattern, Match, PathPattern};

impl RouteTable {
    /// Arranges `routes`, which come in file order.
    ///
    /// # Errors
    /// If a regular expression does not compile. The configuration has checked
    /// each of them alone.
    pub fn build<'a>(routes: impl IntoIterator<Item = &'a Match>) -> Result<Self, regex::Error> {
        let mut routes: Vec<(usize, &Match)> = routes.into_iter().enumerate().collect();
        routes.sort_by_key(|&(index, route)| precedence(index, route));
        let mut sets = Sets::default();
        let has_listeners = |route: &Match| !route.listeners.is_empty();
        let mut parts = Vec::new();
        if routes.iter().any(|(_, route)| has_listeners(route)) {
            parts.push(Hosts::build(&routes, has_listeners, &mut sets)?);
        }
        parts.push(Hosts::build(
            &routes,
            |route| !has_listeners(route),
            &mut sets,
        )?);
        Ok(Self {
            parts: parts.into(),
            routes: routes
                .into_iter()
                .map(|(index, route)| Conditions::new(index, route))
                .collect(),
        })
    }
}

/// The order among routes of the same host and path: those that name methods
/// first, then those with more conditions on headers and on the client, then
/// those with more query parameters, then by the order of the file. It does not matter which methods a route
/// names, since a route that names only others does not match.
fn precedence(index: usize, route: &Match) -> impl Ord + use<> {
    (
        route.methods.is_empty(),
        Reverse(route.field_conditions()),
        Reverse(route.query.len()),
        index,
    )
}

/// The routes of a part of the table under each of their hosts (`None` is any
/// host), in the order of their ranks.
fn by_host<'a>(
    routes: &[(usize, &'a Match)],
    is_part: impl Fn(&Match) -> bool,
) -> HashMap<Option<&'a HostPattern>, Vec<Ranked<'a>>, RandomState> {
    let mut by_host: HashMap<_, Vec<Ranked<'a>>, _> = HashMap::default();
    for (rank, &(_, route)) in routes.iter().enumerate() {
        if !is_part(route) {
            continue;
        }
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

impl Hosts {
    /// Arranges the routes of a part of the table. `routes` are all of them, by
    /// their ranks.
    ///
    /// # Errors
    /// If the regular expressions do not compile together.
    fn build<'a>(
        routes: &[(usize, &'a Match)],
        is_part: impl Fn(&Match) -> bool,
        sets: &mut Sets<'a>,
    ) -> Result<Self, regex::Error> {
        let mut hosts = Self::default();
        for (host, routes) in by_host(routes, is_part) {
            hosts.insert(host, Paths::build(&routes, sets)?);
        }
        Ok(hosts)
    }

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
}

/// A route with its rank.
#[derive(Debug, Clone, Copy)]
struct Ranked<'a> {
    /// Its rank in the whole table, not only within the host.
    rank: Rank,
    /// The pattern of its path.
    path: &'a PathPattern,
}

impl Paths {
    /// Arranges the routes of one host, given in the order of their ranks.
    ///
    /// `sets` are the expressions that other hosts have compiled, which are
    /// shared.
    ///
    /// # Errors
    /// If the regular expressions do not compile together.
    fn build<'a>(routes: &[Ranked<'a>], sets: &mut Sets<'a>) -> Result<Self, regex::Error> {
        let mut fixed: Tree<EndingRoutes> = Tree::default();
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
}

/// The segments of a pattern.
fn segments(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('/').skip(1)
}
