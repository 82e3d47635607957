//! Where a route's requests go: to an upstream, to one of a split over several,
//! and copies of them to another one.
//!
//! Weights of a split are shares of their sum. An upstream with the weight 0
//! stays in the file, where it can be raised again, and gets nothing.
//!
//! Names are checked here as soon as they are read, each with the parameters
//! that its upstream needs from the path of the route: a share of a split and
//! the target of a mirror are held to the same rules as a single upstream.

use std::{num::NonZeroU32, sync::Arc};

use super::{checks::Unique, references::RouteContext};
use crate::config::{
    field::{Field, Given},
    problem::Code,
    source::Span,
    wire::{lists::Tables, routes as wire, scalar::Scalar, syntaxes::Name, tables::Either},
};
use crate::policy::{Action, Mirror, Share};

/// The action of a route with the key `upstream`: the name of an upstream, or a
/// list of tables with a name and a weight.
///
/// A name that is unknown is reported and still forwarded to: the configuration
/// is refused in any case.
pub(super) fn upstream(
    field: &Field<Either<Scalar<Name>, Tables<wire::Share>>>,
    context: &mut RouteContext<'_>,
) -> Option<Action> {
    let at = field.at();
    match field.value()? {
        Either::Short(name) => {
            context.check_upstream(&name.value, at);
            Some(Action::Forward(name.value.clone()))
        }
        Either::Long(shares) => split(shares, at, context),
    }
}

/// A split over the upstreams with a share. A single one that has all of it is
/// forwarded to like one that is named alone, which costs no draw for each
/// request.
///
/// `at` is the place of the list. All shares are read before the first mistake
/// ends the function. Their order is kept, and weights are not reduced to a
/// common measure.
fn split(
    tables: &[Field<wire::Share>],
    at: Span,
    context: &mut RouteContext<'_>,
) -> Option<Action> {
    let mut names = Unique::new();
    let mut all = Vec::new();
    for table in tables {
        all.push(share(table, &mut names, context));
    }
    let all: Option<Vec<_>> = all.into_iter().collect();
    let mut shares: Vec<Share> = all?.into_iter().flatten().collect();
    if shares.is_empty() {
        let message = "a split in which nobody has a share";
        let help = "give at least one upstream a `weight` above 0";
        context.problems.error(Code::Conflict, at, message, help);
    }
    match shares.len() {
        0 | 1 => shares.pop().map(|share| Action::Forward(share.name)),
        _ => Some(Action::Split(shares)),
    }
}

/// One upstream of a split; `Some(None)` if it has no share.
///
/// A share of 0 still needs a name that exists and that no other share has.
fn share(
    table: &Field<wire::Share>,
    names: &mut Unique<Arc<str>>,
    context: &mut RouteContext<'_>,
) -> Option<Option<Share>> {
    let share = table.value()?;
    let (name, at) = (share.name.read()?, share.name.at());
    context.check_upstream(&name, at);
    let message = format!("`{name}` is in the split twice");
    let help = "add the two weights up";
    names.check(name.clone(), at, message, help, context.problems);
    let weight = NonZeroU32::new(share.weight.read()?);
    Some(weight.map(|weight| Share { name, weight }))
}

/// Copies of the requests of a route; `Some(None)` is a route without.
///
/// A route that makes its responses itself has nothing to copy. It may inherit
/// a mirror from `[defaults]`, which is for the other routes then, and has none
/// of its own.
///
/// A copy has to have an upstream by itself; `percent` may be 0, which copies
/// nothing and keeps the section in the file.
pub(super) fn mirror(
    route: &wire::Route,
    context: &mut RouteContext<'_>,
) -> Option<Option<Mirror>> {
    let Some(field) = &route.mirror else {
        return Some(None);
    };
    let at = field.at();
    if !route.upstream.is_present() {
        let is_report = route.quota.value == Some(true);
        let has_none = route.respond.is_present() || route.redirect.is_present() || is_report;
        if has_none && field.is_own() {
            let message = "there is nothing to copy on a route that answers by itself";
            let help = "leave `mirror` out, or send the requests to an `upstream`";
            context.problems.error(Code::Conflict, at, message, help);
        }
        return Some(None);
    }
    let mirror = field.value()?;
    if !mirror.upstream.is_present() && !context.problems.incomplete {
        let message = "`mirror` without an `upstream` has nowhere to send copies";
        let help = "add `upstream = \"NAME\"`";
        context.problems.error(Code::MissingKey, at, message, help);
    }
    let upstream = mirror.upstream.read()?;
    context.check_upstream(&upstream, mirror.upstream.at());
    Some(Some(Mirror {
        upstream,
        percent: mirror.percent.read()?,
    }))
}
