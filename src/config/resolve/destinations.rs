//! Where a route's requests go: an upstream, a split over several, and copies to another one.

use std::{num::NonZeroU32, sync::Arc};

use super::{
    super::{
        problem::{Code, Problem, Problems},
        schema::routes::SHARE,
        source::Span,
        syntax,
        tree::{Node, Value},
    },
    reader::Reader,
    references::Names,
};
use crate::policy::{Action, Mirror, PathPattern, Share};

/// `upstream`, which is given.
pub(super) fn upstream(
    route: Reader<'_>,
    path: Option<&PathPattern>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Action> {
    let node = route.given("upstream")?;
    let Value::List(items) = &node.value else {
        names.check_upstream(node, path, problems);
        return route.parsed("upstream", syntax::name).map(Action::Forward);
    };
    let mut shares: Vec<(Arc<str>, Option<NonZeroU32>, Span)> = Vec::new();
    let mut is_whole = true;
    for item in items {
        match share(item, path, names, problems) {
            Some(share) => shares.push(share),
            None => is_whole = false,
        }
    }
    unique(&shares, problems);
    let mut shares: Vec<_> = shares
        .into_iter()
        .filter_map(|(name, weight, _)| {
            Some(Share {
                name,
                weight: weight?,
            })
        })
        .collect();
    if shares.is_empty() && is_whole {
        let problem = Problem::new(
            Code::Conflict,
            node.span,
            "a split in which nobody has a share",
        );
        problems.report(problem.help("give at least one upstream a `weight` above 0"));
    }
    match shares.len() {
        _ if !is_whole => None,
        0 => None,
        1 => shares.pop().map(|share| Action::Forward(share.name)),
        _ => Some(Action::Split(shares)),
    }
}

/// Name, weight (none for 0) and the name's place.
fn share(
    item: &Node,
    path: Option<&PathPattern>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<(Arc<str>, Option<NonZeroU32>, Span)> {
    let share = Reader::new(&SHARE, item.table()?, item.span);
    names.check_upstream(share.given("name")?, path, problems);
    let weight = u32::try_from(share.whole("weight")?).ok()?;
    Some((
        share.parsed("name", syntax::name)?,
        NonZeroU32::new(weight),
        share.place("name"),
    ))
}

fn unique(shares: &[(Arc<str>, Option<NonZeroU32>, Span)], problems: &mut Problems) {
    for (at, (name, _, place)) in shares.iter().enumerate() {
        if let Some((_, _, first)) = shares.iter().take(at).find(|(other, ..)| other == name) {
            let problem = Problem::new(
                Code::Duplicate,
                *place,
                format!("`{name}` is in the split twice"),
            );
            problems.report(
                problem
                    .also(*first, "first here")
                    .help("add the two weights up"),
            );
        }
    }
}

/// `Some(None)` is a route without a mirror.
pub(super) fn mirror(
    route: Reader<'_>,
    path: Option<&PathPattern>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Option<Mirror>> {
    if route.entry("mirror").is_none() {
        return Some(None);
    }
    let mirror = route.table("mirror");
    if route.entry("upstream").is_none() {
        return no_original(route, problems);
    }
    if mirror.entry("upstream").is_none() && !mirror.is_broken("upstream") && !problems.incomplete {
        let problem = Problem::new(
            Code::MissingKey,
            mirror.at,
            "`mirror` without an `upstream` has nowhere to send copies",
        );
        problems.report(problem.help("add `upstream = \"NAME\"`"));
    }
    names.check_upstream(mirror.given("upstream")?, path, problems);
    let percent = u8::try_from(mirror.whole("percent")?).ok()?;
    Some(Some(Mirror {
        upstream: mirror.parsed("upstream", syntax::name)?,
        percent,
    }))
}

/// A route that answers by itself: it inherits no mirror, and should have none.
fn no_original(route: Reader<'_>, problems: &mut Problems) -> Option<Option<Mirror>> {
    if route.own("mirror").is_some()
        && (route.entry("respond").is_some() || route.entry("redirect").is_some())
    {
        let message = "there is nothing to copy on a route that answers by itself";
        let problem = Problem::new(Code::Conflict, route.place("mirror"), message);
        problems.report(problem.help("leave `mirror` out, or send the requests to an `upstream`"));
    }
    Some(None)
}
