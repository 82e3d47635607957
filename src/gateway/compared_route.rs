//! The policies of a route, compared with those of another: whether one gives a
//! request more than the other would.
//!
//! The comparison errs on the side of "more": two policies of which neither is
//! stricter count as more in both directions, so that a request which could be
//! meant for either route is refused. Compared routes are made by a reload;
//! requests only compare them, and only if their path is ambiguous.
//!
//! # Servers
//!
//! Two routes meet where their upstreams have a server in common, by host name
//! and port, or by path, as configured. Two names of one machine are two servers here: the
//! gateway cannot know that they lead to the same service.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::policy::{
    Action, PathPattern, RequestChanges, Rewrite, Route, ServerAddress, Timeouts, Upstream,
};

/// An upstream, as far as it decides what a request gets.
struct Destination {
    /// Its servers, shared by all routes to it alone. Two upstreams with one in
    /// common lead to the same service.
    servers: Arc<[ServerAddress]>,
    /// Whether it has a concurrency limit.
    is_capped: bool,
}

impl Destination {
    fn of(upstream: &Upstream) -> Self {
        let servers = upstream.servers.iter();
        Self {
            servers: servers.map(|server| server.address.clone()).collect(),
            is_capped: upstream.concurrency.is_some(),
        }
    }
}

/// One route, as far as it decides what a request gets.
#[derive(Debug)]
pub(super) struct ComparedRoute {
    /// The route as the configuration has it.
    route: Arc<Route>,
    /// Its changes to requests, but for those that are compared apart.
    changes: RequestChanges,
    /// The servers that its requests go to; none if it responds by itself.
    servers: Arc<[ServerAddress]>,
    /// Its upstreams with a concurrency limit.
    capped: Box<[Arc<str>]>,
    /// The path that a redirect leads to, where that is the same for all.
    leads_to: Option<Box<str>>,
}

impl ComparedRoute {
    /// All routes, in their order.
    ///
    /// An upstream that a route names and `upstreams` lacks counts as none. The
    /// cost is linear in the number of routes and servers.
    pub(super) fn all(routes: &[Arc<Route>], upstreams: &[Arc<Upstream>]) -> Vec<Self> {
        let mut known = HashMap::with_capacity(upstreams.len());
        for upstream in upstreams {
            known.insert(&*upstream.name, Destination::of(upstream));
        }
        routes.iter().map(|route| Self::of(route, &known)).collect()
    }

    /// One route; `upstreams` are all upstreams by name.
    fn of(route: &Arc<Route>, upstreams: &HashMap<&str, Destination>) -> Self {
        let mut servers = Vec::new();
        let mut capped = Vec::new();
        for name in route.upstreams() {
            let Some(upstream) = upstreams.get(&**name) else {
                continue;
            };
            servers.push(&upstream.servers);
            if upstream.is_capped {
                capped.push(Arc::clone(name));
            }
        }
        Self {
            route: Arc::clone(route),
            changes: RequestChanges {
                rewrite: Rewrite::None,
                max_body: None,
                max_call_body: None,
                ..route.request.clone()
            },
            servers: match &servers[..] {
                [servers] => Arc::clone(servers),
                several => several
                    .iter()
                    .flat_map(|servers| servers.iter().cloned())
                    .collect(),
            },
            capped: capped.into(),
            leads_to: match &route.action {
                Action::Redirect { to, .. } => literal_path(&to.to_string()).map(Box::from),
                _ => None,
            },
        }
    }

    /// Whether it gives a request something that the other would not: its
    /// policies are not as strict, or not the same where neither is the
    /// stricter one. A route that responds by itself gives nothing of any
    /// service.
    ///
    /// It is not an order: of two routes, each may give more than the other.
    /// Then neither may stand in for the other, and the request is refused.
    pub(super) fn gives_more_than(&self, other: &Self) -> bool {
        if self.servers.is_empty() {
            return false;
        }
        let (own, others) = (&*self.route, &*other.route);
        other.servers.is_empty()
            || others.limits.iter().any(|limit| !own.limits.contains(limit))
            // A concurrency limit of its own: a request by another route takes
            // none of its permits.
            || others.concurrency.is_some()
            || other.capped.iter().any(|name| !self.capped.contains(name))
            || (own.priority as u8) < (others.priority as u8)
            || is_longer(&own.timeouts, &others.timeouts)
            || is_larger(own.request.max_body, others.request.max_body)
            || is_larger(own.request.max_call_body, others.request.max_call_body)
            || (own.grpc && !others.grpc)
            || own.mirror != others.mirror
            || self.changes != other.changes
            || own.response.headers != others.response.headers
            || own.response.locations != others.response.locations
            || own.cors != others.cors
    }

    /// Whether either of the two gives more than the other.
    pub(super) fn differs_from(&self, other: &Self) -> bool {
        self.gives_more_than(other) || other.gives_more_than(self)
    }

    /// Whether a path leads to the same place by both: a server in common,
    /// under the same name there.
    pub(super) fn leads_as(&self, other: &Self) -> bool {
        self.shares_server(other) && self.route.request.rewrite == other.route.request.rewrite
    }

    /// Whether requests of the other can meet what this route sends to a
    /// server.
    ///
    /// A route that responds by itself meets every other one: a request that
    /// was meant for it must not reach any service.
    pub(super) fn shares_server(&self, other: &Self) -> bool {
        other.servers.is_empty()
            || self
                .servers
                .iter()
                .any(|server| other.servers.contains(server))
    }

    /// Whether requests go to a service.
    pub(super) fn forwards(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Whether it redirects exactly to this path, so that it must not take it.
    ///
    /// Such a route would send a client from a path to the same path, in a
    /// circle.
    pub(super) fn redirects_to(&self, path: &[u8]) -> bool {
        self.leads_to.as_deref().map(str::as_bytes) == Some(path)
    }

    /// Whether the path changes on its way.
    pub(super) fn rewrites(&self) -> bool {
        *self.rewrite() != Rewrite::None
    }

    /// How the path changes on its way.
    pub(super) fn rewrite(&self) -> &Rewrite {
        &self.route.request.rewrite
    }

    /// The place that its pattern opens: the fixed segments before everything
    /// that requests choose.
    ///
    /// It is a whole prefix, and an exact path without its last segment. It is
    /// empty for expressions, for routes for every path, and where a parameter
    /// comes first.
    pub(super) fn place(&self) -> &str {
        let (pattern, free) = match &self.route.matches.path {
            PathPattern::Any | PathPattern::Regex(_) => return "",
            PathPattern::Prefix(prefix) => (prefix, prefix.len()),
            PathPattern::Exact(path) => (path, path.rfind('/').unwrap_or_default()),
            PathPattern::Parameters(pattern) => (pattern, pattern.find("/{").unwrap_or_default()),
        };
        let fixed = &pattern[..free];
        match fixed.find(['%', ';']) {
            // A segment that can be read in two ways fixes nothing.
            Some(odd) => &fixed[..fixed[..odd].rfind('/').unwrap_or_default()],
            None => fixed,
        }
    }

    /// Whether its pattern spells a path out no less than the other's does, so
    /// that the difference between the two in letter case or a trailing slash
    /// was meant.
    pub(super) fn is_as_explicit_as(&self, other: &Self) -> bool {
        match (&self.route.matches.path, &other.route.matches.path) {
            (PathPattern::Exact(_), _) | (_, PathPattern::Any) => true,
            (PathPattern::Prefix(own), PathPattern::Prefix(others)) => own.len() >= others.len(),
            (PathPattern::Parameters(own), PathPattern::Parameters(others)) => {
                fixed_segments(own) >= fixed_segments(others)
            }
            _ => false,
        }
    }
}

/// The number of segments of a pattern that are no parameters.
fn fixed_segments(pattern: &str) -> usize {
    pattern
        .split('/')
        .filter(|segment| !segment.starts_with('{'))
        .count()
}

/// Whether a bound in bytes allows more than another one; `None` is no bound.
fn is_larger(own: Option<u64>, other: Option<u64>) -> bool {
    own.unwrap_or(u64::MAX) > other.unwrap_or(u64::MAX)
}

/// Whether any timeout is longer than the other route's.
fn is_longer(own: &Timeouts, other: &Timeouts) -> bool {
    own.total > other.total
        || own.attempt > other.attempt
        || own.idle > other.idle
        || own.tunnel > other.tunnel
        || own.body.unwrap_or(Duration::MAX) > other.body.unwrap_or(Duration::MAX)
}

/// The path of a redirect's target, where nothing in it depends on the request.
///
/// `to` is an absolute URL or a path. `{host}` may stand in front of the path,
/// as it does not change it. `None` if the path has a parameter.
fn literal_path(to: &str) -> Option<&str> {
    let after_host = match to.split_once("://") {
        Some((_, rest)) => match rest.find(['/', '{']) {
            Some(at) => &rest[at..],
            None => "/",
        },
        None => to,
    };
    let path_and_query = match after_host.strip_prefix("{host}") {
        Some("") => "/",
        Some(rest) => rest,
        None => after_host,
    };
    let path = match path_and_query.find(['?', '#']) {
        Some(end) => &path_and_query[..end],
        None => path_and_query,
    };
    (!path.contains('{')).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_redirect_is_known_where_it_is_literal() {
        for (to, path) in [
            ("/docs/", Some("/docs/")),
            ("https://{host}/docs/?from=x#y", Some("/docs/")),
            ("https://a", Some("/")),
            ("https://{host}", Some("/")),
            ("https://{host}{path}", None),
            ("/users/{id}", None),
        ] {
            assert_eq!(literal_path(to), path, "{to}");
        }
    }
}
