//! The route table against a linear scan, and the normal form of paths.
//!
//! Input, line by line, each with words separated by spaces: a request,
//! `METHOD HOST TARGET NAME:VALUE ..` (headers), then routes,
//! `METHODS HOSTS PATH NAME:VALUE .. NAME=VALUE ..` (headers and query).
//! Methods and hosts are lists with commas, `-` for any; a path is `-`, exact,
//! with `{parameters}`, `~` and a regular expression, or `^` and a prefix.

#![no_main]

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use tidegate::{call::{Target, query}, policy::{HostPattern, Match, PathPattern}, config, gateway::{
        fuzzing::path_variants,
        table::{RouteTable, scan::ScannedRequest},
    }};

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let Some(request) = lines.next().and_then(request) else { return };
    let routes: Vec<Match> = lines.take(20).filter_map(route).collect();
    let table = RouteTable::build(&routes).expect("expressions that compile alone compile together");
    assert_eq!(request.ask(&table), request.scan(&routes), "{request:?} among {routes:#?}");
});

fn request(line: &str) -> Option<ScannedRequest> {
    let mut words = line.split(' ');
    let (method, host, target) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let target = Target::parse(Bytes::copy_from_slice(target.as_bytes())).ok()?;
    let path = normal(&target);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let query = query::pairs(target.query().unwrap_or_default()).map(|(name, value)| (text(&name), text(&value)));
    let headers = words.filter_map(|word| named(word, ':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value)).filter(|pair| field(pair).is_some());
    Some(ScannedRequest { host: host.to_ascii_lowercase(), path, method, headers: headers.collect(), query: query.collect(), listener: "web".into(), client: [10, 0, 0, 1].into() })
}

/// Returns the normal form of a target's path, after checking that it is one.
fn normal(target: &Target) -> String {
    let normal = std::str::from_utf8(target.normal_path()).expect("normal forms are ASCII").to_owned();
    if normal == "*" {
        return normal;
    }
    let again = Target::parse(Bytes::copy_from_slice(normal.as_bytes())).expect("a normal form is a target");
    assert_eq!(again.normal_path(), normal.as_bytes());
    assert!(normal.starts_with('/') && !normal.contains("//") && normal.is_ascii());
    assert!(!normal.split('/').any(|segment| matches!(segment, "." | "..")));
    for variant in path_variants(target.path()) {
        assert!(variant.starts_with(b"/"));
    }
    normal
}

fn route(line: &str) -> Option<Match> {
    let mut words = line.split(' ');
    let methods = list(words.next()?).map(|word| word.parse::<Method>().ok()).collect::<Option<_>>()?;
    let hosts = list(words.next()?).map(host).collect::<Option<_>>()?;
    let path = path(words.next()?)?;
    let (mut headers, mut query) = (Vec::new(), Vec::new());
    for word in words {
        match (named(word, ':'), named(word, '=')) {
            (Some(pair), _) => headers.push(field(&pair)?),
            (None, pair) => query.push(pair?),
        }
    }
    Some(Match { hosts, path, methods, headers, query, ..Match::all() })
}

fn list(word: &str) -> impl Iterator<Item = &str> {
    word.split(',').filter(move |_| word != "-")
}

fn named(word: &str, mark: char) -> Option<(String, String)> {
    word.split_once(mark).map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn field((name, value): &(String, String)) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
}

fn host(word: &str) -> Option<HostPattern> {
    let name = word.strip_prefix("*.").unwrap_or(word);
    let is_name = name.split('.').all(|label| !label.is_empty() && !label.contains('*'));
    let name = is_name.then(|| name.to_ascii_lowercase())?;
    Some(if word.starts_with("*.") { HostPattern::Wildcard(name) } else { HostPattern::Exact(name) })
}

/// Parses a path pattern as the configuration does.
fn path(word: &str) -> Option<PathPattern> {
    if word == "-" {
        return Some(PathPattern::Any);
    }
    if let Some(pattern) = word.strip_prefix('~') {
        // Long expressions take seconds to compile, which only tests the regex
        // library.
        return (pattern.len() < 40 && config::whole_path_regex(pattern).is_ok())
            .then(|| PathPattern::Regex(pattern.to_owned()));
    }
    if let Some(prefix) = word.strip_prefix('^') {
        let is_prefix = prefix.starts_with('/') && !prefix.ends_with('/') && !prefix.contains(['{', '}']);
        return is_prefix.then(|| PathPattern::Prefix(prefix.to_owned()));
    }
    let mut names: Vec<&str> = Vec::new();
    for segment in word.strip_prefix('/')?.split('/').filter(|segment| segment.contains(['{', '}'])) {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        names.push(Some(name).filter(|name| is_name && !names.contains(name))?);
    }
    Some(if names.is_empty() { PathPattern::Exact(word.to_owned()) } else { PathPattern::Parameters(word.to_owned()) })
}
