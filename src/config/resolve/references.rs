//! Names: each route has its own, and those it mentions exist.

use std::collections::{BTreeSet, HashMap};

use super::super::{
    field::{Field, Given},
    problem::{Code, Problem, Problems},
    redact,
    source::Span,
    suggest,
    syntax::{address, path},
    units,
    wire::{
        File,
        limits::Limit,
        routes::Route,
        tables::{Either, NamedEntry},
    },
};
use crate::policy::{KeyPart, Missing, PathPattern};

/// The names that routes may use. `None` stands for names that are unknown
/// because a part of the file could not be read.
#[derive(Debug)]
pub(super) struct Names<'a> {
    upstreams: Option<BTreeSet<&'a str>>,
    limits: Option<BTreeSet<&'a str>>,
    required: HashMap<&'a str, Requirements>,
    /// Parameters of a route's path by which an upstream chooses a server.
    hashed: HashMap<&'a str, Vec<Box<str>>>,
}

/// The requirements of a limit on the routes that name it.
#[derive(Debug)]
struct Requirements {
    /// Parameters of its path.
    parameters: Vec<Box<str>>,
    /// How many decide: the limit and its tiers.
    deciding: usize,
}

/// Limits and tiers of one route: what a request notes of them has a bit for
/// each.
const MOST_DECIDING: usize = 64;

impl<'a> Names<'a> {
    /// All names that are given; a broken upstream exists, too.
    pub(super) fn of(file: &'a File, problems: &Problems) -> Self {
        let is_known = !problems.incomplete;
        let upstreams = file.upstreams.elements();
        let limits = file.limits.elements();
        let hashed = upstreams.iter().filter_map(|entry| {
            let key = entry.section.value()?.hash_key.read();
            Some((
                entry.name.as_str(),
                parameters(key.unwrap_or_default()).collect(),
            ))
        });
        let required = limits.iter().filter_map(|entry| {
            let requirements = Requirements::of(entry.section.value()?);
            Some((entry.name.as_str(), requirements))
        });
        Self {
            upstreams: (is_known && !file.upstreams.is_broken()).then(|| names(upstreams)),
            limits: (is_known && !file.limits.is_broken()).then(|| names(limits)),
            required: required.collect(),
            hashed: hashed.collect(),
        }
    }

    /// The upstream that a route names exists, and the route's path has the
    /// parameters that it is hashed by.
    pub(super) fn check_upstream(
        &self,
        name: &str,
        at: Span,
        path: Option<&PathPattern>,
        problems: &mut Problems,
    ) {
        check(self.upstreams.as_ref(), "upstream", name, at, problems);
        if let Some(parameters) = self.hashed.get(name) {
            let by = format!("the `hash_key` of upstream `{name}`");
            check_parameters(&by, parameters, at, path, problems);
        }
    }

    /// The limits that a route names exist, and its path has the parameters
    /// that they are keyed by.
    pub(super) fn check_limits(
        &self,
        route: &Route,
        path: Option<&PathPattern>,
        problems: &mut Problems,
    ) {
        let mut deciding = 0;
        for field in route.limits.elements() {
            let Some(name) = field.value().map(|name| &*name.value) else {
                continue;
            };
            let at = field.at();
            check(self.limits.as_ref(), "limit", name, at, problems);
            if let Some(required) = self.required.get(name) {
                deciding += required.deciding;
                let by = format!("the key of limit `{name}`");
                check_parameters(&by, &required.parameters, at, path, problems);
            }
        }
        if deciding > MOST_DECIDING {
            let message = format!(
                "a route has at most {MOST_DECIDING} limits, tiers included; these are {deciding}"
            );
            let at = route.limits.at();
            problems.error(Code::Conflict, at, message, "name fewer");
        }
    }
}

fn names<T>(entries: &[NamedEntry<T>]) -> BTreeSet<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

impl Requirements {
    fn of(limit: &Limit) -> Self {
        let missing = match limit.missing.value() {
            Some(Either::Short(missing)) => match &missing.value {
                Missing::Use(part) => Some(part.clone()),
                Missing::Skip | Missing::Refuse => None,
            },
            _ => None,
        };
        let key = limit.key.read().unwrap_or_default();
        Self {
            parameters: parameters(key.into_iter().chain(missing)).collect(),
            deciding: 1 + limit.tiers.elements().len(),
        }
    }
}

/// The parameters of a path that are parts of a key.
fn parameters(parts: impl IntoIterator<Item = KeyPart>) -> impl Iterator<Item = Box<str>> {
    parts.into_iter().filter_map(|part| match part {
        KeyPart::Param(name) => Some(name),
        _ => None,
    })
}

/// The route's path has the parameters that what is named at this place asks
/// for.
fn check_parameters(
    by: &str,
    parameters: &[Box<str>],
    at: Span,
    path: Option<&PathPattern>,
    problems: &mut Problems,
) {
    let Some(path) = path else { return };
    let known = match path {
        PathPattern::Parameters(pattern) => path::parameters(pattern).unwrap_or_default(),
        _ => Vec::new(),
    };
    for parameter in parameters
        .iter()
        .filter(|parameter| !known.contains(&&***parameter))
    {
        let message =
            format!("{by} has `param:{parameter}`, and this route's path has no `{{{parameter}}}`");
        let help = format!("write a path such as \"/orders/{{{parameter}}}\", or another key");
        problems.error(Code::UnknownName, at, message, help);
    }
}

fn check(
    known: Option<&BTreeSet<&str>>,
    what: &str,
    name: &str,
    at: Span,
    problems: &mut Problems,
) {
    let Some(known) = known else {
        return;
    };
    if known.contains(name) {
        return;
    }
    let help = match suggest::nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?{}", suggest::and_stranger(name)),
        None => definition(what, name),
    };
    let message = format!("there is no {what} `{name}`");
    problems.report(
        Problem::new(Code::UnknownName, at, message)
            .label(format!("no such {what}"))
            .help(help),
    );
}

/// How to define what has no definition. A server or a rate in the place of a
/// name belongs into it.
fn definition(what: &str, name: &str) -> String {
    let quoted = redact::logins(name);
    if what == "upstream"
        && address::server_url(name)
            .or_else(|_| address::server_url(&format!("http://{name}")))
            .is_ok()
        && name.contains(':')
    {
        let url = if name.contains("://") {
            quoted.into_owned()
        } else {
            format!("http://{quoted}")
        };
        return format!(
            "write `upstream = \"app\"` here, and define it: `[upstreams.app]` with `servers = [\"{url}\"]`"
        );
    }
    if what == "limit" && units::rate(name).is_ok() {
        return format!(
            "write `limits = [\"per-client\"]` here, and define it: `[limits.per-client]` with `rate = \"{name}\"`"
        );
    }
    let is_bare = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_bare {
        format!("define it: `[{what}s.{name}]`")
    } else {
        format!("define it: `[{what}s.\"{quoted}\"]`")
    }
}

/// No two routes have one name.
pub(super) fn unique_names(routes: &[Field<Route>], problems: &mut Problems) {
    let mut first: HashMap<&str, Span> = HashMap::new();
    for route in routes.iter().filter_map(Given::value) {
        let Some(name) = route.name.value() else {
            continue;
        };
        let (name, at) = (&*name.value, route.name.at());
        match first.get(name) {
            None => drop(first.insert(name, at)),
            Some(first) => {
                let message = format!("two routes are named `{name}`");
                let problem = Problem::new(Code::Duplicate, at, message);
                let help = "a name is a route's identity in logs, metrics and over reloads; give each its own";
                problems.report(problem.also(*first, "first here").help(help));
            }
        }
    }
}
