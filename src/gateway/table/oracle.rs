//! The table against a linear scan that restates the precedence of the configuration language word by word.

use std::cmp::Reverse;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
};

use super::{Asked, Table};
use crate::config::model::{HostPattern, Match, PathPattern};

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_table_finds_what_a_linear_scan_finds(routes in vec(route(), 0..12), requests in vec(request(), 1..12)) {
        let table = Table::build(&routes).expect("expressions compile");
        for request in &requests {
            prop_assert_eq!(request.ask(&table), request.scan(&routes), "{:?} among {:#?}", request, routes);
        }
    }
}

#[derive(Debug, Clone)]
struct Request {
    host: String,
    path: String,
    method: Method,
    headers: Vec<(&'static str, &'static str)>,
    query: Vec<(&'static str, &'static str)>,
}

impl Request {
    /// What the table says: the winner and its parameters.
    fn ask(&self, table: &Table) -> Option<(usize, Vec<String>)> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let query = query.join("&");
        let found = table.find(&Asked {
            host: &self.host,
            path: self.path.as_bytes(),
            method: &self.method,
            headers: &headers,
            query: (!query.is_empty()).then_some(query.as_bytes()),
        })?;
        Some((found.index, found.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect()))
    }

    /// What it should say, by trying every route in turn.
    fn scan(&self, routes: &[Match]) -> Option<(usize, Vec<String>)> {
        let candidates = routes.iter().enumerate().filter_map(|(index, route)| {
            let host = self.host_class(route)?;
            let path = self.path_class(route)?;
            self.conditions_hold(route).then(|| {
                let conditions = (route.methods.is_empty(), Reverse(route.headers.len()), Reverse(route.query.len()));
                (host, path, conditions, index)
            })
        });
        let (.., winner) = candidates.min()?;
        Some((winner, self.parameters(&routes[winner].path)))
    }

    /// 0 exact, 1 wildcard (the longest first), 2 any.
    fn host_class(&self, route: &Match) -> Option<(u8, Reverse<usize>)> {
        if route.hosts.is_empty() {
            return Some((2, Reverse(0)));
        }
        let class = |pattern: &HostPattern| match pattern {
            HostPattern::Exact(host) => (*host == self.host).then_some((0, Reverse(0))),
            HostPattern::Wildcard(suffix) => {
                let labels = self.host.strip_suffix(&format!(".{suffix}"))?;
                (!labels.is_empty()).then_some((1, Reverse(suffix.len())))
            }
        };
        route.hosts.iter().filter_map(class).min()
    }

    /// 0 exact, 1 with parameters, 2 expression, 3 prefix (the longest first).
    fn path_class(&self, route: &Match) -> Option<(u8, Reverse<usize>)> {
        let (path, is_path) = (self.path.as_str(), self.path.starts_with('/'));
        let class = match &route.path {
            PathPattern::Any => return Some((3, Reverse(0))),
            PathPattern::Exact(exact) => (path == exact, (0, Reverse(0))),
            PathPattern::Parameters(pattern) => (fits(pattern, path), (1, Reverse(0))),
            PathPattern::Regex(pattern) => (is_path && matches_whole(pattern, path), (2, Reverse(0))),
            PathPattern::Prefix(prefix) => {
                let below = path == prefix || path.starts_with(&format!("{prefix}/"));
                (below, (3, Reverse(prefix.len())))
            }
        };
        class.0.then_some(class.1)
    }

    fn conditions_hold(&self, route: &Match) -> bool {
        (route.methods.is_empty() || route.methods.contains(&self.method))
            && route.headers.iter().all(|(name, value)| self.headers.iter().any(|(n, v)| name == n && value == v))
            && route.query.iter().all(|(name, value)| self.query.iter().any(|(n, v)| name == n && value == v))
    }

    fn parameters(&self, path: &PathPattern) -> Vec<String> {
        let PathPattern::Parameters(pattern) = path else { return Vec::new() };
        let pairs = pattern.split('/').zip(self.path.split('/'));
        let named = pairs.filter(|(name, _)| name.starts_with('{'));
        named.map(|(name, value)| format!("{}={value}", name.trim_matches(['{', '}']))).collect()
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    let takes =
        |(wanted, segment): (&str, &str)| if wanted.starts_with('{') { !segment.is_empty() } else { wanted == segment };
    pattern.split('/').count() == path.split('/').count() && pattern.split('/').zip(path.split('/')).all(takes)
}

fn matches_whole(pattern: &str, path: &str) -> bool {
    regex::Regex::new(&format!(r"\A(?:{pattern})\z")).expect("it compiles").is_match(path)
}

/// Every byte but letters and digits as an escape, spaces as `+`.
fn escaped(value: &str) -> String {
    let escape = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    value.bytes().map(escape).collect()
}

fn route() -> impl Strategy<Value = Match> {
    let hosts = vec(host_pattern(), 0..3);
    let methods = subsequence(METHODS.to_vec(), 0..=METHODS.len());
    let named = || prop_oneof![3 => Just(Vec::new()), 2 => vec((select(&NAMES[..]), select(&VALUES[..])), 1..3)];
    (hosts, path_pattern(), prop_oneof![Just(Vec::new()), methods], named(), named()).prop_map(
        |(hosts, path, methods, headers, query)| Match {
            hosts,
            path,
            methods,
            headers: headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect(),
            query: query.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
        },
    )
}

fn host_pattern() -> impl Strategy<Value = HostPattern> {
    prop_oneof!["[ab](\\.[ab]){0,2}".prop_map(HostPattern::Exact), "[ab](\\.[ab]){0,2}".prop_map(HostPattern::Wildcard),]
}

fn path_pattern() -> impl Strategy<Value = PathPattern> {
    prop_oneof![
        Just(PathPattern::Any),
        "(/[ab]){1,3}".prop_map(PathPattern::Prefix),
        "(/[ab]){1,3}/?|/".prop_map(PathPattern::Exact),
        parameter_pattern(),
        select(&EXPRESSIONS[..]).prop_map(|pattern| PathPattern::Regex(pattern.into())),
    ]
}

/// One to three segments with at least one parameter, names told apart by position.
fn parameter_pattern() -> impl Strategy<Value = PathPattern> {
    (vec(select(vec!["a", "b", "{}"]), 0..3), 0..3_usize).prop_map(|(mut segments, at)| {
        segments.insert(at.min(segments.len()), "{}");
        let named = |(at, segment): (usize, &&str)| format!("/{}", segment.replace("{}", &format!("{{p{at}}}")));
        PathPattern::Parameters(segments.iter().enumerate().map(named).collect())
    })
}

fn request() -> impl Strategy<Value = Request> {
    let path = prop_oneof![9 => "(/[abc]){1,4}/?|/", 1 => "\\*|/%2F|/aa|/\u{e9}"];
    let named = || vec((select(&NAMES[..]), select(&VALUES[..])), 0..4);
    ("[ab](\\.[ab]){0,3}", path, select(METHODS.to_vec()), named(), named())
        .prop_map(|(host, path, method, headers, query)| Request { host, path, method, headers, query })
}

const METHODS: [Method; 3] = [Method::GET, Method::PUT, Method::OPTIONS];
const NAMES: [&str; 2] = ["x", "y"];
const VALUES: [&str; 3] = ["1", "2", "a b&c=%"];
/// With traps for the anchors: alternatives, anchors of their own, lines, and what takes everything.
const EXPRESSIONS: [&str; 8] = [".*", "/[ab]", "/a|/b/a", "^/a/.*$", "/b(/.*)?", "(?m)^/a$", "a", "/(a/)*b"];
