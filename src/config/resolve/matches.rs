//! `[routes.match]`, and routes that can never match.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue, Method};

use super::super::{
    field::{Field, Given},
    problem::{Code, Problem, Problems},
    source::Span,
    wire::{
        routes as wire,
        syntaxes::{Header, Value},
        tables::Pairs,
    },
};
use crate::policy::{HostPattern, Match, PathPattern, Route};

pub(super) fn matches(
    entry: &Option<Field<wire::Match>>,
    problems: &mut Problems,
) -> Option<Match> {
    let Some(field) = entry else {
        return Some(Match::all());
    };
    let matches = field.value()?;
    let path = pattern(matches, problems);
    unique(&matches.headers, problems);
    let is_broken = matches.hosts.is_broken()
        || matches.methods.is_broken()
        || matches.headers.is_broken()
        || matches.query.is_broken();
    if is_broken {
        return None;
    }
    Some(Match {
        hosts: matches.hosts.read().unwrap_or_default(),
        path: path?,
        methods: matches.methods.read().unwrap_or_default(),
        headers: matches.headers.read().unwrap_or_default(),
        query: matches.query.read().unwrap_or_default(),
    })
}

/// No header is given twice.
fn unique(headers: &Option<Field<Pairs<Header, Value>>>, problems: &mut Problems) {
    let mut before: Vec<(HeaderName, Span)> = Vec::new();
    for pair in headers.elements() {
        let Some(name) = pair.name.read() else {
            continue;
        };
        let at = pair.name.at();
        if let Some((_, first)) = before.iter().find(|(other, _)| *other == name) {
            let message = format!("the header {name} is given twice");
            let problem = Problem::new(Code::Duplicate, at, message).also(*first, "first here");
            problems.report(problem.help("names of headers are the same in any case"));
        }
        before.push((name, at));
    }
}

fn pattern(matches: &wire::Match, problems: &mut Problems) -> Option<PathPattern> {
    let (path, prefix, regex) = (&matches.path, &matches.path_prefix, &matches.path_regex);
    match (path, prefix, regex) {
        (None, None, None) => Some(PathPattern::Any),
        (Some(path), None, None) => path.read(),
        (None, Some(prefix), None) => prefix.read(),
        (None, None, Some(regex)) => regex.read(),
        _ => {
            let places = [
                ("path", path.as_ref().map(|field| field.at())),
                ("path_prefix", prefix.as_ref().map(|field| field.at())),
                ("path_regex", regex.as_ref().map(|field| field.at())),
            ];
            let mut given = places.into_iter().filter_map(|(key, at)| Some((key, at?)));
            let ((one, first), (two, second)) = (given.next()?, given.next()?);
            let message = format!("`{one}` and `{two}` exclude each other");
            let problem = Problem::new(Code::Conflict, second, message).also(first, "the other");
            problems.report(problem.help("keep one of path, path_prefix and path_regex"));
            None
        }
    }
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

/// Reports each route that can never match because routes before it match all
/// the same and come first in the file.
pub(super) fn hidden(
    fields: &[Field<wire::Route>],
    routes: &[Option<Route>],
    problems: &mut Problems,
) {
    let mut first: HashMap<Rank<'_>, (&str, Span)> = HashMap::new();
    for (field, route) in fields.iter().zip(routes) {
        let (Some(wire), Some(route)) = (field.value(), route) else {
            continue;
        };
        let at = wire.name.at();
        let ranks = ranks(&route.matches);
        let covered = ranks.iter().all(|rank| first.contains_key(rank));
        let before = ranks.first().and_then(|rank| first.get(rank)).copied();
        // A route that stands there twice has one name too, which is told
        // already.
        if let (true, Some((name, other))) =
            (covered, before.filter(|(name, _)| **name != *route.name))
        {
            let message = format!(
                "the route `{}` is hidden by `{name}`, which matches the same requests",
                route.name
            );
            let problem = Problem::new(Code::HiddenRoute, at, message);
            let help = "give one of them another match, or remove one";
            problems.report(
                problem
                    .label("never reached")
                    .also(other, "takes its requests")
                    .help(help),
            );
        }
        for rank in ranks {
            first.entry(rank).or_insert((&route.name, at));
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

/// The pattern as text; parameters without their names, which make no
/// difference to what matches.
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
