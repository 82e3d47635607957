//! The model of the table: a linear scan that restates the precedence of the
//! configuration language word by word. Property tests (`oracle`) and fuzzing
//! compare the table with it; requests never run it.
//!
//! The model is independent of the table's trees and ranks. It has no index and
//! keeps no state: for each route it computes a key from the rules that users
//! read, and the smallest key wins. It allocates freely and compiles
//! expressions again for each request, which is slow and plainly right.
//!
//! # Precedence
//!
//! Routes are compared by these, in this order, and the first difference
//! decides:
//!
//! 1. the listener: a route that names listeners before one that does not;
//! 2. the host: exact before a wildcard, a longer wildcard before a shorter
//!    one, any host last;
//! 3. the path: exact, with parameters, by an expression, by a prefix; a longer
//!    prefix before a shorter one;
//! 4. conditions: a route with methods first, then the one with more headers,
//!    where `clients` and `not_clients` count as one header each, then the one with more query parameters;
//! 5. the order in the file.

use std::{cmp::Reverse, net::IpAddr};

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;

use super::{Lookup, RouteTable};
use crate::{
    policy::{HostPattern, Match, PathPattern},
    telemetry::FixedFields,
};

/// A request as routes look at it.
#[derive(Debug, Clone)]
pub struct ScannedRequest {
    /// Lower case, without a port.
    pub host: String,
    /// In its normal form.
    pub path: String,
    /// The method.
    pub method: Method,
    /// Names in lower case and values; what can be neither is left out.
    pub headers: Vec<(String, String)>,
    /// Names and values, decoded.
    pub query: Vec<(String, String)>,
    /// The name of the listener.
    pub listener: String,
    /// The address of the client.
    pub client: IpAddr,
}

/// The winner's position, and its parameters as `name=value`.
///
/// `None` if no route takes the request. Parameters are in the order of the
/// pattern, and are empty for a path without any.
pub type Winner = Option<(usize, Vec<String>)>;

impl ScannedRequest {
    /// The route that `table` finds.
    ///
    /// Headers that `http` does not accept are left out, and the query is
    /// escaped, as the table reads both in the form that they have in a
    /// request. A query without pairs is absent.
    pub fn ask(&self, table: &RouteTable) -> Winner {
        let sound = self.headers.iter().filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name.to_string(), HeaderValue::from_str(value).ok()?))
        });
        let headers = sound.collect();
        let mut pairs = Vec::new();
        for (name, value) in &self.query {
            pairs.push(format!("{}={}", escaped(name), escaped(value)));
        }
        let query = pairs.join("&");
        let found = table.find(&Lookup {
            host: &self.host,
            path: self.path.as_bytes(),
            method: &self.method,
            headers: &headers,
            query: (!query.is_empty()).then_some(query.as_bytes()),
            listener: &FixedFields::listener(self.listener.as_str().into()),
            client: self.client,
        })?;
        let mut parameters = Vec::new();
        for (name, value) in &found.parameters {
            parameters.push(format!("{name}={value}"));
        }
        Some((found.index, parameters))
    }

    /// The route that it should find, by trying every route in turn.
    ///
    /// The index in the key makes all keys different, so that the minimum is
    /// one route.
    pub fn scan(&self, routes: &[Match]) -> Winner {
        let mut candidates = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            if let Some(host) = self.host_class(route)
                && let Some(path) = self.path_class(route)
                && self.conditions_hold(route)
            {
                let of_client = [&route.clients, &route.not_clients];
                let of_client = of_client.iter().filter(|networks| !networks.is_empty());
                let conditions = (
                    route.methods.is_empty(),
                    Reverse(route.headers.len() + of_client.count()),
                    Reverse(route.query.len()),
                );
                let listener = route.listeners.is_empty();
                candidates.push((listener, host, path, conditions, index));
            }
        }
        let (.., winner) = candidates.into_iter().min()?;
        Some((winner, self.parameters(&routes[winner].path)))
    }

    /// 0 exact, 1 wildcard (the longest first), 2 any.
    ///
    /// `None` if the route does not take the host. Of several hosts of a route
    /// that match, the best one counts. A wildcard stands for one label or
    /// more, never for none.
    fn host_class(&self, route: &Match) -> Option<(u8, Reverse<usize>)> {
        if route.hosts.is_empty() {
            return Some((2, Reverse(0)));
        }
        let mut classes = Vec::new();
        for pattern in &route.hosts {
            match pattern {
                HostPattern::Exact(host) if *host == self.host => classes.push((0, Reverse(0))),
                HostPattern::Wildcard(suffix) => {
                    match self.host.strip_suffix(&format!(".{suffix}")) {
                        None | Some("") => {}
                        Some(_) => classes.push((1, Reverse(suffix.len()))),
                    }
                }
                HostPattern::Exact(_) => {}
            }
        }
        classes.into_iter().min()
    }

    /// 0 exact, 1 with parameters, 2 expression, 3 prefix (the longest first).
    ///
    /// `None` if the route does not take the path. A prefix matches whole
    /// segments only. Parameters and expressions have no length: among them,
    /// conditions and the order decide.
    fn path_class(&self, route: &Match) -> Option<(u8, Reverse<usize>)> {
        let path = self.path.as_str();
        match &route.path {
            PathPattern::Any => Some((3, Reverse(0))),
            PathPattern::Exact(exact) if path == exact => Some((0, Reverse(0))),
            PathPattern::Parameters(pattern) if fits(pattern, path) => Some((1, Reverse(0))),
            PathPattern::Regex(pattern)
                if path.starts_with('/') && matches_whole(pattern, path) =>
            {
                Some((2, Reverse(0)))
            }
            PathPattern::Prefix(prefix)
                if path == prefix || path.starts_with(&format!("{prefix}/")) =>
            {
                Some((3, Reverse(prefix.len())))
            }
            _ => None,
        }
    }

    /// Whether the method, each header and each query parameter of the route
    /// are those of the request. A name that occurs several times needs one
    /// occurrence with the right value.
    fn conditions_hold(&self, route: &Match) -> bool {
        (route.methods.is_empty() || route.methods.contains(&self.method))
            && route
                .headers
                .iter()
                .all(|(name, value)| has_pair(&self.headers, name.as_str(), value.as_bytes()))
            && route
                .query
                .iter()
                .all(|(name, value)| has_pair(&self.query, name, value.as_bytes()))
            && self.comes_from(route)
    }

    /// Whether the listener and the client are those that the route takes.
    fn comes_from(&self, route: &Match) -> bool {
        let is_within = |network: &IpNet| network.contains(&self.client);
        let listeners = &route.listeners;
        (listeners.is_empty() || listeners.iter().any(|name| **name == *self.listener))
            && (route.clients.is_empty() || route.clients.iter().any(is_within))
            && !route.not_clients.iter().any(is_within)
    }

    /// The values of the parameters in `path`, as `name=value`; empty for any
    /// other kind of pattern. The path must fit the pattern.
    fn parameters(&self, path: &PathPattern) -> Vec<String> {
        let PathPattern::Parameters(pattern) = path else {
            return Vec::new();
        };
        let mut values = Vec::new();
        for (name, value) in pattern.split('/').zip(self.path.split('/')) {
            if name.starts_with('{') {
                values.push(format!("{}={value}", name.trim_matches(['{', '}'])));
            }
        }
        values
    }
}

/// Whether one of the pairs has this name and value.
fn has_pair(pairs: &[(String, String)], name: &str, value: &[u8]) -> bool {
    pairs
        .iter()
        .any(|pair| pair.0 == name && pair.1.as_bytes() == value)
}

/// Whether a path has the segments of a pattern. A parameter stands for exactly
/// one segment, which is not empty.
fn fits(pattern: &str, path: &str) -> bool {
    if pattern.split('/').count() != path.split('/').count() {
        return false;
    }
    for (wanted, segment) in pattern.split('/').zip(path.split('/')) {
        let is_taken = if wanted.starts_with('{') {
            !segment.is_empty()
        } else {
            wanted == segment
        };
        if !is_taken {
            return false;
        }
    }
    true
}

/// Whether an expression matches all of a path. The group keeps alternatives
/// within the anchors; `\A` and `\z` ignore the flag `(?m)`. An expression that
/// does not compile matches nothing.
fn matches_whole(pattern: &str, path: &str) -> bool {
    regex::Regex::new(&format!(r"\A(?:{pattern})\z")).is_ok_and(|whole| whole.is_match(path))
}

/// Every byte but letters and digits as an escape, spaces as `+`.
fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for byte in value.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            byte if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
