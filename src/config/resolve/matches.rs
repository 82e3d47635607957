//! `[routes.match]`, and routes that can never match.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue, Method};

use super::{
    super::{
        problem::{Code, Problem, Problems, Wrong},
        syntax::{header, host, path},
    },
    reader::Reader,
};
use crate::policy::{HostPattern, Match, PathPattern, Route};

const PATH_KEYS: [&str; 3] = ["path", "path_prefix", "path_regex"];

pub(super) fn matches(reader: Reader<'_>, problems: &mut Problems) -> Option<Match> {
    let broken = ["hosts", "methods", "headers", "query"]
        .iter()
        .any(|key| reader.is_broken(key));
    let path = pattern(reader, problems);
    let headers = reader.pairs("headers", header::name, header::value);
    for (at, (name, _, place)) in headers.iter().enumerate() {
        if let Some((_, _, first)) = headers.iter().take(at).find(|(other, _, _)| other == name) {
            let problem = Problem::new(
                Code::Duplicate,
                *place,
                format!("the header {name} is given twice"),
            );
            problems.report(
                problem
                    .also(*first, "first here")
                    .help("names of headers are the same in any case"),
            );
        }
    }
    let path = path?;
    if broken {
        return None;
    }
    Some(Match {
        hosts: reader.list("hosts", host::pattern),
        path,
        methods: reader.list("methods", header::method),
        headers: headers
            .into_iter()
            .map(|(name, value, _)| (name, value))
            .collect(),
        query: reader
            .pairs("query", owned, owned)
            .into_iter()
            .map(|(name, value, _)| (name, value))
            .collect(),
    })
}

fn pattern(reader: Reader<'_>, problems: &mut Problems) -> Option<PathPattern> {
    let given: Vec<_> = PATH_KEYS
        .iter()
        .filter(|key| reader.entry(key).is_some())
        .collect();
    if let [one, two, ..] = given.as_slice() {
        let message = format!("`{one}` and `{two}` exclude each other");
        let problem = Problem::new(Code::Conflict, reader.place(two), message)
            .also(reader.place(one), "the other");
        problems.report(problem.help("keep one of path, path_prefix and path_regex"));
        return None;
    }
    match given.first().copied().copied() {
        None if reader.is_broken("path") => None,
        None => Some(PathPattern::Any),
        Some("path") => reader.parsed("path", path::whole),
        Some("path_prefix") => reader.parsed("path_prefix", path::prefix),
        Some(other) => reader.parsed(other, path::regex),
    }
}

fn owned(text: &str) -> Result<String, Wrong> {
    Ok(text.to_owned())
}

/// Everything that ranks one route before another, for one host and one method.
#[derive(PartialEq, Eq, Hash)]
struct Rank<'a> {
    host: Option<&'a HostPattern>,
    method: Option<&'a Method>,
    path: String,
    headers: Vec<(&'a HeaderName, &'a HeaderValue)>,
    query: &'a [(String, String)],
}

/// Reports each route that can never match because routes before it match all the same and come first in the file.
pub(super) fn hidden(readers: &[Reader<'_>], routes: &[Option<Route>], problems: &mut Problems) {
    let mut first: HashMap<Rank<'_>, (&str, Reader<'_>)> = HashMap::new();
    for (reader, route) in readers.iter().zip(routes) {
        let Some(route) = route else { continue };
        let ranks = ranks(&route.matches);
        let covered = ranks.iter().all(|rank| first.contains_key(rank));
        let before = ranks.first().and_then(|rank| first.get(rank)).copied();
        // A route that stands there twice has one name too, which is told already.
        if let (true, Some((name, other))) =
            (covered, before.filter(|(name, _)| **name != *route.name))
        {
            let message = format!(
                "the route `{}` is hidden by `{name}`, which matches the same requests",
                route.name
            );
            let problem = Problem::new(Code::HiddenRoute, reader.place("name"), message);
            let help = "give one of them another match, or remove one";
            problems.report(
                problem
                    .label("never reached")
                    .also(other.place("name"), "takes its requests")
                    .help(help),
            );
        }
        for rank in ranks {
            first.entry(rank).or_insert((&route.name, *reader));
        }
    }
}

fn ranks(matches: &Match) -> Vec<Rank<'_>> {
    let hosts: Vec<_> = if matches.hosts.is_empty() {
        vec![None]
    } else {
        matches.hosts.iter().map(Some).collect()
    };
    let methods: Vec<_> = if matches.methods.is_empty() {
        vec![None]
    } else {
        matches.methods.iter().map(Some).collect()
    };
    let path = canonical(&matches.path);
    let headers: Vec<_> = matches
        .headers
        .iter()
        .map(|(name, value)| (name, value))
        .collect();
    let rank = |host, method| Rank {
        host,
        method,
        path: path.clone(),
        headers: headers.clone(),
        query: &matches.query,
    };
    hosts
        .iter()
        .flat_map(|host| methods.iter().map(|method| rank(*host, *method)))
        .collect()
}

/// The pattern as text; parameters without their names, which make no difference to what matches.
fn canonical(path: &PathPattern) -> String {
    match path {
        PathPattern::Parameters(path) => {
            let segment = |segment: &str| {
                if segment.starts_with('{') {
                    "{}".to_owned()
                } else {
                    segment.to_owned()
                }
            };
            path.split('/').map(segment).collect::<Vec<_>>().join("/")
        }
        PathPattern::Any => String::new(),
        PathPattern::Prefix(path) => format!("prefix {path}"),
        PathPattern::Exact(path) => path.clone(),
        PathPattern::Regex(path) => format!("regex {path}"),
    }
}
