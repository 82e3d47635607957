//! Identities that nobody asks for or that know nobody, and values of an
//! identity where there is none.

use std::{collections::BTreeSet, time::Duration};

use crate::config::{
    configuration::Config,
    field::Given,
    problem::{Code, Problems},
    wire::{
        File, identities::Identity as WrittenIdentity, routes, tables::NamedEntry,
        transform::FilledHeader,
    },
};
use crate::policy::{
    Authentication, ForwardAuth, Identity, KeyPart, Limit, Missing, RequestValue, Route,
};

/// Longest time for which a client may be remembered that its service would
/// refuse by now: sessions of a day are usual.
const LONG_CACHE: Duration = Duration::from_secs(24 * 60 * 60);

/// Reports identities that no route names, and those whose keys are surely
/// wrong.
pub(super) fn report(file: &File, config: &Config, problems: &mut Problems) {
    let mut named = BTreeSet::new();
    for route in file.routes.values() {
        named.extend(route.identify.read().unwrap_or_default());
    }
    for (entry, identity) in file.identities.elements().iter().zip(&config.identities) {
        let name = entry.name.as_str();
        if !named.contains(name) {
            let message = format!("no route names the identity `{name}`");
            let help = format!("add `identify = [\"{name}\"]` to a route or to `[defaults]`");
            problems.warn(Code::Unused, entry.field.at(), message, help);
        }
        method(entry, identity, problems);
    }
}

/// Reports keys of an identity that say how credentials are verified.
fn method(entry: &NamedEntry<WrittenIdentity>, identity: &Identity, problems: &mut Problems) {
    let Some(table) = entry.field.value() else {
        return;
    };
    match &identity.method {
        Authentication::ApiKeys(keys) if keys.is_empty() => {
            let message = "the file has no keys: everybody who sends one is refused";
            let help = "`tidegate key new --file FILE --name NAME` makes one and adds it";
            problems.warn(Code::NeverMatches, table.api_keys.at(), message, help);
        }
        Authentication::Forward(forward) if forward.cache > LONG_CACHE => {
            if let Some(table) = table.forward.value() {
                let message =
                    "a client that the service refuses from now on is served for as long as this";
                let help = "write a time in which that can be borne, such as `cache = \"1m\"`";
                problems.warn(Code::Misleading, table.cache.at(), message, help);
            }
        }
        Authentication::ApiKeys(_) | Authentication::Forward(_) | Authentication::Jwt(_) => {}
    }
}

/// Reports what is never used of a route's identities, or never there.
pub(super) fn of_route(
    table: &routes::Route,
    route: &Route,
    config: &Config,
    problems: &mut Problems,
) {
    if route.identify.by.is_empty() {
        return absent(table, config, &NOBODY, problems);
    }
    let services: Vec<_> = route
        .identify
        .by
        .iter()
        .map(|name| service(name, config))
        .collect();
    let first = services.iter().position(Option::is_some);
    for field in table
        .identify
        .elements()
        .iter()
        .skip(first.map_or(usize::MAX, |at| at + 1))
    {
        if let Some(name) = field.read() {
            let message = format!(
                "`{name}` is never asked: the service before it decides about each request"
            );
            let help = "name an identity with `forward` last";
            problems.warn(Code::NeverMatches, field.at(), message, help);
        }
    }
    if services
        .iter()
        .all(|service| service.is_some_and(|service| service.id.is_none()))
    {
        absent(table, config, &NAMELESS, problems);
    }
}

/// The service that the identity of this name asks; `None` if it asks none.
fn service<'c>(name: &str, config: &'c Config) -> Option<&'c ForwardAuth> {
    let identity = config.identities.iter().find(|one| *one.name == *name)?;
    match &identity.method {
        Authentication::Forward(forward) => Some(forward),
        Authentication::ApiKeys(_) | Authentication::Jwt(_) => None,
    }
}

/// Values of an identity that no client of a route has.
struct AbsentValues {
    /// The parts of keys.
    is_part: fn(&KeyPart) -> bool,
    /// The values of headers.
    is_value: fn(&RequestValue) -> bool,
    /// Whether no client has a plan.
    plans: bool,
    why: &'static str,
    help: &'static str,
}

/// Where the route identifies nobody.
const NOBODY: AbsentValues = AbsentValues {
    is_part: |part| matches!(part, KeyPart::Identity | KeyPart::Plan | KeyPart::Claim(_)),
    is_value: RequestValue::is_of_identity,
    plans: true,
    why: "the route identifies nobody",
    help: "add `identify = [\"NAME\"]` to the route, with the name of a section of `[identities]`",
};

/// Where services identify clients and do not name them.
const NAMELESS: AbsentValues = AbsentValues {
    is_part: |part| matches!(part, KeyPart::Identity),
    is_value: |value| matches!(value, RequestValue::Identity),
    plans: false,
    why: "the service of its identity names no client",
    help: "add `id = \"header:x-auth-user\"` to `forward` of the identity, with the field that has the id",
};

/// Reports parts of keys and headers of a route that no client of it has.
fn absent(table: &routes::Route, config: &Config, values: &AbsentValues, problems: &mut Problems) {
    let AbsentValues { why, help, .. } = *values;
    for field in table.limits.elements() {
        let Some(name) = field.read() else { continue };
        let mut limits = config.limits.iter();
        let limit = limits.find(|limit| limit.name == name);
        if let Some(part) = limit.and_then(|limit| part_of(limit, values.is_part)) {
            let message = format!("`{part}` of the limit `{name}` is always missing here: {why}");
            problems.warn(Code::NeverMatches, field.at(), message, help);
        } else if values.plans && limit.is_some_and(|limit| !limit.plans.is_empty()) {
            let message = format!(
                "no client of this route has one of the plans of the limit `{name}`: {why}"
            );
            problems.warn(Code::NeverMatches, field.at(), message, help);
        }
    }
    for pair in filled_headers(table) {
        let (Some(name), Some(value)) = (pair.name.read(), pair.field.value()) else {
            continue;
        };
        if value.value.values().any(values.is_value) {
            let message = format!("the header `{name}` is never sent: {why}");
            problems.warn(Code::NeverMatches, pair.field.at(), message, help);
        }
    }
}

/// The fields that a route sets and adds, in requests and in responses.
pub(super) fn filled_headers(table: &routes::Route) -> impl Iterator<Item = &FilledHeader> {
    let (request, response) = (table.request.value(), table.response.value());
    let of_request = request.map(|one| [&one.set_headers, &one.add_headers]);
    let of_response = response.map(|one| [&one.set_headers, &one.add_headers]);
    let tables = of_request.into_iter().chain(of_response).flatten();
    tables.flat_map(Given::elements)
}

/// The first such part of a limit's key, or of what stands in for one.
fn part_of(limit: &Limit, is_absent: fn(&KeyPart) -> bool) -> Option<&KeyPart> {
    let stand_in = match &limit.missing {
        Missing::Use(part) => Some(part),
        Missing::Skip | Missing::Refuse => None,
    };
    limit
        .key
        .iter()
        .chain(stand_in)
        .find(|part| is_absent(part))
}
