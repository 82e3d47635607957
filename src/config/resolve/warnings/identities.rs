//! Identities that nobody asks for, and values of an identity where there is
//! none.

use std::collections::BTreeSet;

use crate::config::{
    configuration::Config,
    field::Given,
    problem::{Code, Problems},
    wire::{File, routes},
};
use crate::policy::{HeaderText, KeyPart, Limit, Missing, Route, TextPiece};

/// Reports identities that no route names.
pub(super) fn report(file: &File, problems: &mut Problems) {
    let mut named = BTreeSet::new();
    for route in file.routes.values() {
        named.extend(route.identify.read().unwrap_or_default());
    }
    for entry in file.identities.elements() {
        let name = entry.name.as_str();
        if !named.contains(name) {
            let message = format!("no route names the identity `{name}`");
            let help = format!("add `identify = [\"{name}\"]` to a route or to `[defaults]`");
            problems.warn(Code::Unused, entry.field.at(), message, help);
        }
    }
}

/// Reports parts of keys and headers of a route that only identified clients
/// have, where the route identifies nobody.
pub(super) fn of_route(
    table: &routes::Route,
    route: &Route,
    config: &Config,
    problems: &mut Problems,
) {
    if !route.identify.by.is_empty() {
        return;
    }
    let help =
        "add `identify = [\"NAME\"]` to the route, with the name of a section of `[identities]`";
    for field in table.limits.elements() {
        let Some(name) = field.read() else { continue };
        let mut limits = config.limits.iter();
        let limit = limits.find(|limit| limit.name == name);
        if let Some(part) = limit.and_then(|limit| of_identity(limit)) {
            let message = format!(
                "`{part}` of the limit `{name}` is always missing here: the route identifies nobody"
            );
            problems.warn(Code::NeverMatches, field.at(), message, help);
        } else if limit.is_some_and(|limit| !limit.plans.is_empty()) {
            let message = format!(
                "no client of this route has one of the plans of the limit `{name}`: the route identifies nobody"
            );
            problems.warn(Code::NeverMatches, field.at(), message, help);
        }
    }
    let Some(request) = table.request.value() else {
        return;
    };
    for pair in request.set_headers.elements() {
        let (Some(name), Some(value)) = (pair.name.read(), pair.field.value()) else {
            continue;
        };
        let HeaderText::Template(pieces) = &value.value else {
            continue;
        };
        let is_of_identity =
            |piece: &TextPiece| matches!(piece, TextPiece::Value(value) if value.is_of_identity());
        if pieces.iter().any(is_of_identity) {
            let message = format!("the header `{name}` is never set: the route identifies nobody");
            problems.warn(Code::NeverMatches, pair.field.at(), message, help);
        }
    }
}

/// The first part of a limit's key that only identified clients have.
fn of_identity(limit: &Limit) -> Option<&KeyPart> {
    let stand_in = match &limit.missing {
        Missing::Use(part) => Some(part),
        Missing::Skip | Missing::Refuse => None,
    };
    let is =
        |part: &&KeyPart| matches!(part, KeyPart::Identity | KeyPart::Plan | KeyPart::Claim(_));
    limit.key.iter().chain(stand_in).find(is)
}
