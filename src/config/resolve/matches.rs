//! `[routes.match]`, and routes that can never match.
//!
//! The order of routes in a file does not matter, as the most specific one
//! wins, except between two that are equally specific: there the first wins.
//! The second is useless if the first takes all of its requests, which is an
//! error. To find such a pair without comparing each route with each other one,
//! a route is written as a set of [`MatchKey`]s. Two routes with one of them in
//! common match the same requests for that host and method.
//!
//! # Cost
//!
//! A route has as many keys as its listeners times its hosts times its methods. Keys are looked up
//! in a hash table, so that a file with many thousand routes is checked in
//! a time that grows with the number of keys.
//!
//! # Limits of the check
//!
//! Only routes that match the same requests are found. Whether a pattern of one
//! kind contains one of another kind is not asked: the more specific route
//! wins, and such pairs are usually meant.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;

use super::checks::{GivenKey, Unique, distinct, exclude};
use crate::config::{
    field::{Field, Given, Nested},
    problem::{Code, Problem, Problems},
    wire::{
        routes as wire,
        scalar::Scalar,
        syntaxes::{Header, Name, Value},
        tables::Pairs,
    },
};
use crate::policy::{HostPattern, Match, PathPattern, Route};

/// The requests of a route; a route without `match` takes all.
///
/// An absent list is empty, and an empty list is no condition, except that a
/// route has to name TRACE to get it.
pub(super) fn matches(entry: &Nested<wire::Match>, problems: &mut Problems) -> Option<Match> {
    let Some(field) = entry else {
        return Some(Match::all());
    };
    let matches = field.value()?;
    let path = pattern(matches, problems);
    unique(&matches.headers, problems);
    distinct("hosts", &matches.hosts, problems);
    Some(Match {
        listeners: matches.listeners.optional()?.unwrap_or_default(),
        hosts: matches.hosts.optional()?.unwrap_or_default(),
        path: path?,
        methods: matches.methods.optional()?.unwrap_or_default(),
        headers: matches.headers.optional()?.unwrap_or_default(),
        query: matches.query.optional()?.unwrap_or_default(),
        clients: sorted(matches.clients.optional()?),
        not_clients: sorted(matches.not_clients.optional()?),
    })
}

/// Networks in an order that does not depend on that of the file.
fn sorted(networks: Option<Vec<IpNet>>) -> Vec<IpNet> {
    let mut networks = networks.unwrap_or_default();
    networks.sort_unstable();
    networks
}

/// No header is given twice.
///
/// Names of headers have no case once they are read, so that `X-A` and `x-a`
/// are the same one.
fn unique(headers: &Option<Field<Pairs<Header, Value>>>, problems: &mut Problems) {
    let mut names = Unique::new();
    for pair in headers.elements() {
        if let Some(name) = pair.name.read() {
            let message = format!("the header {name} is given twice");
            let help = "names of headers are the same in any case";
            names.check(name, pair.name.at(), message, help, problems);
        }
    }
}

/// The pattern for the path; any path where none of the three keys is given.
///
/// `None` if two of the keys are given, or if the given one is wrong.
fn pattern(matches: &wire::Match, problems: &mut Problems) -> Option<PathPattern> {
    let (path, prefix, regex) = (&matches.path, &matches.path_prefix, &matches.path_regex);
    let keys = [
        GivenKey::given("path", path),
        GivenKey::given("path_prefix", prefix),
        GivenKey::given("path_regex", regex),
    ];
    let help = "keep one of path, path_prefix and path_regex";
    if exclude(&keys, "", help, problems) {
        return None;
    }
    let given = path.optional()?.or(prefix.optional()?);
    Some(given.or(regex.optional()?).unwrap_or(PathPattern::Any))
}

/// Everything that ranks one route before another, for one listener, host and
/// method; `None` is any.
#[derive(PartialEq, Eq, Hash)]
struct MatchKey<'a> {
    /// One listener of the route.
    listener: Option<&'a Arc<str>>,
    /// One host of the route.
    host: Option<&'a HostPattern>,
    /// One method of the route.
    method: Option<&'a Method>,
    /// The condition on the path, in the form of `canonical`.
    path: String,
    /// All conditions on headers, sorted by their names as the file has them.
    headers: &'a [(HeaderName, HeaderValue)],
    /// All conditions on the query, sorted by name.
    query: &'a [(String, String)],
    /// All networks of clients, sorted.
    clients: [&'a [IpNet]; 2],
}

/// Reports each route all of whose keys earlier routes have. Routes with a
/// mistake, which are `None`, are left out.
///
/// `fields` and `routes` belong together by their index. The label is at the
/// name of the later route, and the name of the earlier one is a second place.
pub(super) fn hidden(
    fields: &[Field<wire::Route>],
    routes: &[Option<Route>],
    problems: &mut Problems,
) {
    // The name of the first route with each key.
    let mut first: HashMap<MatchKey<'_>, &Field<Scalar<Name>>> = HashMap::new();
    for (field, route) in fields.iter().zip(routes) {
        let (Some(wire), Some(route)) = (field.value(), route) else {
            continue;
        };
        let name = &route.name;
        let keys = keys(&route.matches);
        let is_covered = keys.iter().all(|key| first.contains_key(key));
        let before = keys.first().and_then(|key| first.get(key));
        if let Some(before) = before.filter(|_| is_covered)
            && let Some(other) = before.read()
            // Two routes with one name were reported already.
            && other != *name
        {
            let by = format!("is hidden by `{other}`, which matches the same requests");
            let message = format!("the route `{name}` {by}");
            let problem = Problem::new(Code::HiddenRoute, wire.name.at(), message)
                .label("never reached")
                .also(before.at(), "takes its requests")
                .help("give one of them another match, or remove one");
            problems.report(problem);
        }
        for key in keys {
            first.entry(key).or_insert(&wire.name);
        }
    }
}

/// One key for each listener, host and method of a route.
///
/// Never empty: a route without any of them has one key, with none.
fn keys(matches: &Match) -> Vec<MatchKey<'_>> {
    let mut keys = Vec::new();
    for listener in each_or_any(&matches.listeners) {
        for host in each_or_any(&matches.hosts) {
            for method in each_or_any(&matches.methods) {
                keys.push(MatchKey {
                    listener,
                    host,
                    method,
                    path: canonical(&matches.path),
                    headers: &matches.headers,
                    query: &matches.query,
                    clients: [&matches.clients, &matches.not_clients],
                });
            }
        }
    }
    keys
}

/// Each of the values, or `None` for any where there are none.
fn each_or_any<T>(values: &[T]) -> Vec<Option<&T>> {
    match values {
        [] => vec![None],
        values => values.iter().map(Some).collect(),
    }
}

/// The pattern as text. Parameters have no names in it, which make no
/// difference to the paths that match.
///
/// The kinds cannot be confused: a prefix and an expression begin with a word,
/// and paths with a slash. The one text without either is that of any path.
fn canonical(path: &PathPattern) -> String {
    match path {
        PathPattern::Parameters(path) => {
            let mut segments: Vec<_> = path.split('/').collect();
            for parameter in segments
                .iter_mut()
                .filter(|segment| segment.starts_with('{'))
            {
                *parameter = "{}";
            }
            segments.join("/")
        }
        PathPattern::Any => String::new(),
        PathPattern::Prefix(path) => format!("prefix {path}"),
        PathPattern::Exact(path) => path.clone(),
        PathPattern::Regex(path) => format!("regex {path}"),
    }
}
