//! Names that are defined and used by nobody.

use std::collections::BTreeSet;

use super::super::{
    super::{
        problem::{Code, Problem, Problems},
        tree::{Node, Value},
    },
    reader::Reader,
};

pub(super) fn report(root: &Reader<'_>, problems: &mut Problems) {
    let routes = root.tables("routes");
    let limits: BTreeSet<&str> = routes
        .iter()
        .flat_map(|route| route.items("limits"))
        .filter_map(Node::text)
        .collect();
    for (name, reader) in root
        .named("limits")
        .into_iter()
        .filter(|(name, _)| !limits.contains(name))
    {
        let message = format!("no route names the limit `{name}`: it limits nobody");
        let help = format!("add `limits = [\"{name}\"]` to a route or to `[defaults]`");
        problems.report(Problem::warning(Code::Unused, reader.at, message).help(help));
    }
    let upstreams: BTreeSet<&str> = routes.iter().flat_map(|route| upstreams(*route)).collect();
    for (name, reader) in root
        .named("upstreams")
        .into_iter()
        .filter(|(name, _)| !upstreams.contains(name))
    {
        let message = format!("no route leads to the upstream `{name}`");
        let help = format!("add `upstream = \"{name}\"` to a route, or take it out");
        problems.report(Problem::warning(Code::Unused, reader.at, message).help(help));
    }
    let is_shared = |(_, limit): &(&str, Reader<'_>)| limit.text("scope") == Some("shared");
    if root.entry("store").is_some() && !root.named("limits").iter().any(is_shared) {
        let message = "no limit is counted in the store";
        let help = "add `scope = \"shared\"` to the limits that all gateways count together, or take `[store]` out";
        problems.report(Problem::warning(Code::Unused, root.place("store"), message).help(help));
    }
}

/// The upstreams that a route names: its own, those of a split, that of its mirror.
fn upstreams<'a>(route: Reader<'a>) -> impl Iterator<Item = &'a str> {
    let name = |item: &'a Node| match &item.value {
        Value::Table(share) => share.get("name").and_then(|entry| entry.node.text()),
        _ => item.text(),
    };
    let mirror = route.table("mirror").given("upstream").and_then(Node::text);
    route
        .items("upstream")
        .iter()
        .filter_map(name)
        .chain(mirror)
}
