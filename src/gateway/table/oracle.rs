//! The table against a linear scan (`scan`), for random routes and requests.
//!
//! Hosts, paths, names and values come from tiny alphabets, so that routes
//! overlap often and most requests match several of them: only then does
//! precedence decide anything. Each of the 512 cases builds one table of at
//! most 11 routes and asks it up to 11 requests. A case that fails is shrunk,
//! and its seed is kept in `proptest-regressions`.

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
};

use super::{RouteTable, scan::ScannedRequest};
use crate::policy::{HostPattern, Match, PathPattern};

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_table_finds_what_a_linear_scan_finds(routes in vec(route(), 0..12), requests in vec(request(), 1..12)) {
        let table = RouteTable::build(&routes).expect("expressions compile");
        for request in &requests {
            prop_assert_eq!(request.ask(&table), request.scan(&routes), "{:?} among {:#?}", request, routes);
        }
    }
}

/// A route with any mix of conditions. Each list may be empty, which takes
/// every request.
fn route() -> impl Strategy<Value = Match> {
    let hosts = vec(host_pattern(), 0..3);
    let methods = subsequence(METHODS.to_vec(), 0..=METHODS.len());
    let named = || prop_oneof![3 => Just(Vec::new()), 2 => vec((select(&NAMES[..]), select(&VALUES[..])), 1..3)];
    (
        hosts,
        path_pattern(),
        prop_oneof![Just(Vec::new()), methods],
        named(),
        named(),
        (some_of(&LISTENERS), networks(), networks()),
    )
        .prop_map(|(hosts, path, methods, headers, query, origin)| Match {
            listeners: origin.0.iter().map(|&name| name.into()).collect(),
            clients: origin.1,
            not_clients: origin.2,
            hosts,
            path,
            methods,
            headers: headers
                .iter()
                .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
                .collect(),
            query: query
                .iter()
                .map(|&(name, value)| (name.into(), value.into()))
                .collect(),
        })
}

/// None of these, or some.
fn some_of(of: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![2 => Just(Vec::new()), 1 => subsequence(of, 1..=of.len())]
}

/// No network, or some, which overlap.
fn networks() -> impl Strategy<Value = Vec<IpNet>> {
    some_of(&NETWORKS).prop_map(|networks| {
        let parsed = networks.iter().map(|text| text.parse());
        parsed.collect::<Result<_, _>>().expect("networks")
    })
}

/// One to three labels, exact or behind a wildcard.
fn host_pattern() -> impl Strategy<Value = HostPattern> {
    prop_oneof![
        "[ab](\\.[ab]){0,2}".prop_map(HostPattern::Exact),
        "[ab](\\.[ab]){0,2}".prop_map(HostPattern::Wildcard),
    ]
}

/// A pattern of every kind. Exact paths may end with a slash, prefixes do not.
fn path_pattern() -> impl Strategy<Value = PathPattern> {
    prop_oneof![
        Just(PathPattern::Any),
        "(/[ab]){1,3}".prop_map(PathPattern::Prefix),
        "(/[ab]){1,3}/?|/".prop_map(PathPattern::Exact),
        parameter_pattern(),
        select(&EXPRESSIONS[..]).prop_map(|pattern| PathPattern::Regex(pattern.into())),
    ]
}

/// One to three segments with at least one parameter; the names are
/// distinguished by their position.
fn parameter_pattern() -> impl Strategy<Value = PathPattern> {
    (vec(select(vec!["a", "b", "{}"]), 0..3), 0..3_usize).prop_map(|(mut segments, at)| {
        segments.insert(at.min(segments.len()), "{}");
        let named = |(at, segment): (usize, &&str)| {
            format!("/{}", segment.replace("{}", &format!("{{p{at}}}")))
        };
        PathPattern::Parameters(segments.iter().enumerate().map(named).collect())
    })
}

/// A request, of whose paths one in ten has an unusual form: the target `*`, an
/// escape, a segment that only begins like one of a pattern, or a letter beyond
/// ASCII. Hosts have up to four labels, one more than patterns, so that
/// wildcards stand for several.
fn request() -> impl Strategy<Value = ScannedRequest> {
    let path = prop_oneof![9 => "(/[abc]){1,4}/?|/", 1 => "\\*|/%2F|/aa|/\u{e9}"];
    let named = || vec((select(&NAMES[..]), select(&VALUES[..])), 0..4);
    let owned = |pairs: Vec<(&str, &str)>| {
        pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    };
    (
        "[ab](\\.[ab]){0,3}",
        path,
        select(METHODS.to_vec()),
        named(),
        named(),
        (select(&LISTENERS[..]), select(&CLIENTS[..])),
    )
        .prop_map(
            move |(host, path, method, headers, query, origin)| ScannedRequest {
                listener: origin.0.to_owned(),
                client: origin.1.parse().expect("an address"),
                host,
                path,
                method,
                headers: owned(headers),
                query: owned(query),
            },
        )
}

/// Methods of routes and requests. A route may name none of them, or all.
const METHODS: [Method; 3] = [Method::GET, Method::PUT, Method::OPTIONS];
/// Names of listeners.
const LISTENERS: [&str; 2] = ["web", "internal"];
/// Networks of clients. The second lies in the first, and two meet.
const NETWORKS: [&str; 5] = [
    "10.0.0.0/8",
    "10.9.0.0/16",
    "10.9.0.1/32",
    "11.0.0.0/8",
    "fd00::/8",
];
/// Clients, within and outside of these.
const CLIENTS: [&str; 5] = [
    "10.0.0.1",
    "10.9.0.1",
    "10.255.255.255",
    "12.0.0.0",
    "fd00::1",
];
/// Names of headers and of query parameters.
const NAMES: [&str; 2] = ["x", "y"];
/// Values of both. The last one needs escapes in a query.
const VALUES: [&str; 3] = ["1", "2", "a b&c=%"];
/// Expressions that test the anchoring: alternatives, anchors of their own,
/// line breaks, and one that matches everything.
const EXPRESSIONS: [&str; 8] = [
    ".*", "/[ab]", "/a|/b/a", "^/a/.*$", "/b(/.*)?", "(?m)^/a$", "a", "/(a/)*b",
];
