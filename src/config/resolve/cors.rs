//! `[routes.cors]`: which pages of other origins may call a route from a
//! browser.
//!
//! The Fetch standard has combinations that every browser refuses: `*` beside
//! credentials. A file that has one would look right and never work, so that it
//! is a mistake here.

use http::HeaderName;

use super::checks::distinct;
use crate::config::{
    field::{Field, Given, Nested},
    problem::{Code, Problem, Problems},
    source::Span,
    wire::{
        cors as wire,
        lists::Items,
        routes::Route,
        scalar::{Scalar, Syntax},
        transform,
    },
};
use crate::policy::{Cors, LimitHeaders};

/// The prefix of the names of all response fields of the protocol.
const FIELDS: &str = "access-control-";

/// The fields that tell older clients of a limit.
const X_RATELIMIT: [&str; 3] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// The origins that may call a route, `Some(None)` where it has no such
/// section. `limit_headers` are the fields about limits that it sends.
pub(super) fn cors(
    route: &Route,
    limit_headers: LimitHeaders,
    problems: &mut Problems,
) -> Option<Option<Cors>> {
    let Some(field) = &route.cors else {
        return Some(None);
    };
    let cors = field.value()?;
    if !cors.origins.is_present() && !problems.incomplete {
        let message = "`cors` without `origins` permits nothing";
        let help = "add `origins = [\"https://app.example.com\"]`, or `[\"*\"]` for all";
        problems.error(Code::MissingKey, field.at(), message, help);
    }
    alone("origins", &cors.origins, problems);
    alone("methods", &cors.methods, problems);
    if cors.credentials.value == Some(true) {
        credentials(cors, problems);
    }
    distinct("headers", &cors.headers, problems);
    distinct("expose", &cors.expose, problems);
    set_twice(&route.response, field.at(), problems);
    let mut expose = cors.expose.read()?;
    if !cors.expose.is_present() && limit_headers.has_x_ratelimit() {
        expose.extend(X_RATELIMIT.map(HeaderName::from_static));
    }
    Some(Some(Cors {
        origins: cors.origins.read()?,
        methods: cors.methods.read()?,
        headers: cors.headers.read()?,
        expose,
        credentials: cors.credentials.value?,
        max_age: cors.max_age.read()?,
    }))
}

/// Fields of the protocol among those that the route sets itself, which it did
/// before it had the section. The section decides about all of them.
fn set_twice(entry: &Nested<transform::Response>, cors: Span, problems: &mut Problems) {
    let Some(response) = entry.value() else {
        return;
    };
    let (set, added) = (&response.set_headers, &response.add_headers);
    let set = set.elements().iter().map(|pair| ("set_headers", pair));
    let added = added.elements().iter().map(|pair| ("add_headers", pair));
    for (key, pair) in set.chain(added) {
        let Some(name) = pair.name.own() else {
            continue;
        };
        if name.value.as_str().starts_with(FIELDS) {
            let message = format!("`cors` decides about {}, too", name.value);
            let help = format!("take it out of `{key}`; `[routes.cors]` has a key for it");
            let problem = Problem::new(Code::Conflict, pair.name.at(), message);
            problems.report(problem.also(cors, "the other").help(help));
        }
    }
}

/// Where `*` stands in a list, and how many items the list has.
fn star<S: Syntax, const RULES: usize>(
    list: &impl Given<Items<Scalar<S>, RULES>>,
) -> Option<(&Field<Scalar<S>>, usize)> {
    let is_star = |field: &&Field<Scalar<S>>| field.value().is_some_and(|one| one.text == "*");
    let items = list.elements();
    Some((items.iter().find(is_star)?, items.len()))
}

/// `*` is everything, so that other items of its list would do nothing.
fn alone<S: Syntax, const RULES: usize>(
    name: &str,
    list: &impl Given<Items<Scalar<S>, RULES>>,
    problems: &mut Problems,
) {
    if let Some((star, 2..)) = star(list) {
        let message = format!("`*` is every one of `{name}`, and stands beside others");
        let help = format!("write `{name} = [\"*\"]`, or list them without `*`");
        problems.error(Code::Conflict, star.at(), message, help);
    }
}

/// No list has a `*`, which browsers take for a name where credentials are sent
/// (Fetch, "CORS protocol and credentials"), and `null` is not among the
/// origins, as any page can have it: in a sandboxed frame.
fn credentials(cors: &wire::Cors, problems: &mut Problems) {
    let stars = [
        ("origins", star(&cors.origins).map(|(star, _)| star.at())),
        ("methods", star(&cors.methods).map(|(star, _)| star.at())),
        ("headers", star(&cors.headers).map(|(star, _)| star.at())),
        ("expose", star(&cors.expose).map(|(star, _)| star.at())),
    ];
    let with_credentials = cors.credentials.at();
    for (name, at) in stars {
        let Some(at) = at else { continue };
        let message = format!("browsers refuse `*` in `{name}` beside `credentials = true`");
        let help = format!("list each of `{name}`, or leave `credentials` out");
        let problem = Problem::new(Code::Conflict, at, message);
        problems.report(problem.also(with_credentials, "the other").help(help));
    }
    let origins = cors.origins.elements();
    let is_null = |field: &&Field<Scalar<_>>| field.value().is_some_and(|one| one.text == "null");
    if let Some(null) = origins.iter().find(is_null) {
        let message = "every site can have the origin `null`, in a sandboxed frame: with `credentials = true` all could act for your users";
        let help = "take `null` out, or leave `credentials` out";
        problems.error(Code::Conflict, null.at(), message, help);
    }
}
