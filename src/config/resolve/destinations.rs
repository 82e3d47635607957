//! Where a route's requests go: an upstream, a split over several, and copies
//! to another one.

use std::num::NonZeroU32;

use super::{
    super::{
        field::{Field, Given},
        problem::{Code, Problem, Problems},
        source::Span,
        wire::{lists::Tables, routes as wire, syntaxes::Name, tables::Either, text::Text},
    },
    references::Names,
};
use crate::policy::{Action, Mirror, PathPattern, Share};

/// `upstream`, which is given.
pub(super) fn upstream(
    field: &Field<Either<Text<Name>, Tables<wire::Share>>>,
    path: Option<&PathPattern>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Action> {
    let at = field.at();
    match field.value()? {
        Either::Short(name) => {
            names.check_upstream(&name.value, at, path, problems);
            Some(Action::Forward(name.value.clone()))
        }
        Either::Long(shares) => split(shares, at, path, names, problems),
    }
}

fn split(
    tables: &Tables<wire::Share>,
    at: Span,
    path: Option<&PathPattern>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Action> {
    let mut before: Vec<(&str, Span)> = Vec::new();
    let mut shares = Vec::new();
    let mut is_whole = true;
    for table in &tables.0 {
        let name = table.value().and_then(|share| share.name.value());
        let (Some(share), Some(name)) = (table.value(), name) else {
            is_whole = false;
            continue;
        };
        let at = share.name.at();
        names.check_upstream(&name.value, at, path, problems);
        if let Some((name, first)) = before.iter().find(|(other, _)| **other == *name.value) {
            let message = format!("`{name}` is in the split twice");
            let problem = Problem::new(Code::Duplicate, at, message).also(*first, "first here");
            problems.report(problem.help("add the two weights up"));
        }
        before.push((&name.value, at));
        is_whole &= share.weight.value.is_some();
        if let Some(weight) = share.weight.read().and_then(NonZeroU32::new) {
            shares.push(Share {
                name: name.value.clone(),
                weight,
            });
        }
    }
    if !is_whole {
        return None;
    }
    match shares.len() {
        0 => {
            let message = "a split in which nobody has a share";
            problems.error(
                Code::Conflict,
                at,
                message,
                "give at least one upstream a `weight` above 0",
            );
            None
        }
        1 => shares.pop().map(|share| Action::Forward(share.name)),
        _ => Some(Action::Split(shares)),
    }
}

/// `Some(None)` is a route without a mirror.
pub(super) fn mirror(
    route: &wire::Route,
    path: Option<&PathPattern>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Option<Mirror>> {
    let Some(field) = &route.mirror else {
        return Some(None);
    };
    let at = field.at();
    if !route.upstream.is_present() {
        let answers = route.respond.is_present() || route.redirect.is_present();
        if answers && field.is_own() {
            problems.report(no_original(at));
        }
        return Some(None);
    }
    let mirror = field.value()?;
    if !mirror.upstream.is_present() && !problems.incomplete {
        let message = "`mirror` without an `upstream` has nowhere to send copies";
        problems.error(Code::MissingKey, at, message, "add `upstream = \"NAME\"`");
    }
    let upstream = mirror.upstream.read()?;
    names.check_upstream(&upstream, mirror.upstream.place(at), path, problems);
    Some(Some(Mirror {
        upstream,
        percent: mirror.percent.read()?,
    }))
}

/// A route that answers by itself: it inherits no mirror, and should have none.
fn no_original(at: Span) -> Problem {
    let message = "there is nothing to copy on a route that answers by itself";
    Problem::new(Code::Conflict, at, message)
        .help("leave `mirror` out, or send the requests to an `upstream`")
}
