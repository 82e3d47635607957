//! Names: each route has its own, and those it mentions exist.

use std::collections::{BTreeSet, HashMap};

use super::{
    super::{
        problem::{Code, Problem, Problems},
        redact,
        source::Span,
        suggest,
        syntax::{address, key, path},
        tree::Node,
        units,
    },
    reader::Reader,
};
use crate::policy::{KeyPart, Missing, PathPattern};

/// What routes may name. `None`: not known, because part of the configuration could not be read.
#[derive(Debug)]
pub(super) struct Names<'a> {
    upstreams: Option<BTreeSet<&'a str>>,
    limits: Option<BTreeSet<&'a str>>,
    asked: HashMap<&'a str, Asked>,
    /// Parameters of a route's path by which an upstream chooses a server.
    hashed: HashMap<&'a str, Vec<Box<str>>>,
}

/// What a limit asks of a route.
#[derive(Debug)]
struct Asked {
    /// Parameters of its path.
    parameters: Vec<Box<str>>,
    /// How many decide: the limit and its tiers.
    deciding: usize,
}

/// Limits and tiers of one route: what a request notes of them has a bit for each.
const MOST_DECIDING: usize = 64;

impl<'a> Names<'a> {
    /// All names that are given; a broken upstream exists, too.
    pub(super) fn of(root: &Reader<'a>, problems: &Problems) -> Self {
        let names = |key| {
            let known = !problems.incomplete && !root.is_broken(key);
            known.then(|| root.named(key).into_iter().map(|(name, _)| name).collect())
        };
        let asked = root
            .named("limits")
            .into_iter()
            .map(|(name, limit)| (name, Asked::by(limit)))
            .collect();
        let hashed =
            |upstream: Reader<'a>| parameters(upstream.list("hash_key", key::part)).collect();
        let hashed = root
            .named("upstreams")
            .into_iter()
            .map(|(name, upstream)| (name, hashed(upstream)))
            .collect();
        Self {
            upstreams: names("upstreams"),
            limits: names("limits"),
            asked,
            hashed,
        }
    }

    /// The upstream that a route names exists, and the route's path has the parameters that it is hashed by.
    pub(super) fn check_upstream(
        &self,
        node: &Node,
        path: Option<&PathPattern>,
        problems: &mut Problems,
    ) {
        check(self.upstreams.as_ref(), "upstream", node, problems);
        let Some((name, asked)) = node.text().and_then(|name| self.hashed.get_key_value(name))
        else {
            return;
        };
        check_parameters(
            &format!("the `hash_key` of upstream `{name}`"),
            asked,
            (node, path),
            problems,
        );
    }

    /// The limits that a route names exist, and its path has the parameters that they are keyed by.
    pub(super) fn check_limits(
        &self,
        route: Reader<'_>,
        path: Option<&PathPattern>,
        problems: &mut Problems,
    ) {
        let mut deciding = 0;
        for node in route.items("limits") {
            check(self.limits.as_ref(), "limit", node, problems);
            let Some((name, asked)) = node.text().and_then(|name| self.asked.get_key_value(name))
            else {
                continue;
            };
            deciding += asked.deciding;
            check_parameters(
                &format!("the key of limit `{name}`"),
                &asked.parameters,
                (node, path),
                problems,
            );
        }
        if deciding > MOST_DECIDING {
            let message = format!(
                "a route has at most {MOST_DECIDING} limits, tiers included; these are {deciding}"
            );
            problems.report(
                Problem::new(Code::Conflict, route.place("limits"), message).help("name fewer"),
            );
        }
    }
}

impl Asked {
    fn by(limit: Reader<'_>) -> Self {
        let missing = limit
            .parsed("missing", key::missing)
            .into_iter()
            .filter_map(|missing| match missing {
                Missing::Use(part) => Some(part),
                Missing::Skip | Missing::Refuse => None,
            });
        let parts = limit.list("key", key::part).into_iter().chain(missing);
        Self {
            parameters: parameters(parts).collect(),
            deciding: 1 + limit.tables("tiers").len(),
        }
    }
}

/// The parameters of a path that are parts of a key.
fn parameters(parts: impl IntoIterator<Item = KeyPart>) -> impl Iterator<Item = Box<str>> {
    parts.into_iter().filter_map(|part| {
        if let KeyPart::Param(name) = part {
            Some(name)
        } else {
            None
        }
    })
}

/// The route's path has the parameters that are asked of it by what stands at `node`.
fn check_parameters(
    by: &str,
    asked: &[Box<str>],
    (node, path): (&Node, Option<&PathPattern>),
    problems: &mut Problems,
) {
    let Some(path) = path else { return };
    let known = match path {
        PathPattern::Parameters(pattern) => path::parameters(pattern).unwrap_or_default(),
        _ => Vec::new(),
    };
    for parameter in asked
        .iter()
        .filter(|parameter| !known.contains(&&***parameter))
    {
        let message =
            format!("{by} has `param:{parameter}`, and this route's path has no `{{{parameter}}}`");
        let help = format!("write a path such as \"/orders/{{{parameter}}}\", or another key");
        problems.report(Problem::new(Code::UnknownName, node.span, message).help(help));
    }
}

fn check(known: Option<&BTreeSet<&str>>, what: &str, node: &Node, problems: &mut Problems) {
    let (Some(known), Some(name)) = (known, node.text()) else {
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
        Problem::new(Code::UnknownName, node.span, message)
            .label(format!("no such {what}"))
            .help(help),
    );
}

/// How to define what has no definition. A server or a rate in the place of a name belongs into it.
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
pub(super) fn unique_names(routes: &[Reader<'_>], problems: &mut Problems) {
    let mut first: HashMap<&str, Span> = HashMap::new();
    for route in routes {
        let Some(name) = route.text("name") else {
            continue;
        };
        match first.get(name) {
            None => drop(first.insert(name, route.place("name"))),
            Some(first) => {
                let problem = Problem::new(
                    Code::Duplicate,
                    route.place("name"),
                    format!("two routes are named `{name}`"),
                );
                let help = "a name is a route's identity in logs, metrics and over reloads; give each its own";
                problems.report(problem.also(*first, "first here").help(help));
            }
        }
    }
}
