//! Names that are defined and used by nobody.

use std::collections::BTreeSet;

use super::super::super::{
    field::Given,
    problem::{Code, Problems},
    wire::{File, limits::Scope, routes::Route, tables::Either},
};

pub(super) fn report(file: &File, problems: &mut Problems) {
    let routes = file.routes.elements();
    let (mut limits, mut upstreams) = (BTreeSet::new(), BTreeSet::new());
    for route in routes.iter().filter_map(Given::value) {
        limits.extend(route.limits.read().unwrap_or_default());
        upstreams.extend(self::upstreams(route));
    }
    for entry in file.limits.elements() {
        let name = entry.name.as_str();
        if limits.contains(name) {
            continue;
        }
        let message = format!("no route names the limit `{name}`: it limits nobody");
        let help = format!("add `limits = [\"{name}\"]` to a route or to `[defaults]`");
        let at = entry.section.at();
        problems.warn(Code::Unused, at, message, help);
    }
    for entry in file.upstreams.elements() {
        let name = entry.name.as_str();
        if upstreams.contains(name) {
            continue;
        }
        let message = format!("no route leads to the upstream `{name}`");
        let help = format!("add `upstream = \"{name}\"` to a route, or take it out");
        let at = entry.section.at();
        problems.warn(Code::Unused, at, message, help);
    }
    let is_shared = file
        .limits
        .elements()
        .iter()
        .filter_map(|entry| entry.section.value())
        .any(|limit| limit.scope.value == Some(Scope::Shared));
    if file.store.is_present() && !is_shared {
        let message = "no limit is counted in the store";
        let help = "add `scope = \"shared\"` to the limits that all gateways count together, or take `[store]` out";
        let at = file.store.at();
        problems.warn(Code::Unused, at, message, help);
    }
}

/// The upstreams that a route names: its own, those of a split, that of its
/// mirror.
fn upstreams(route: &Route) -> Vec<std::sync::Arc<str>> {
    let mirror = route
        .mirror
        .value()
        .and_then(|mirror| mirror.upstream.read());
    let mut names: Vec<_> = mirror.into_iter().collect();
    match route.upstream.value() {
        Some(Either::Short(name)) => names.push(name.value.clone()),
        Some(Either::Long(shares)) => {
            let shares = shares.0.iter().filter_map(Given::value);
            names.extend(shares.filter_map(|share| share.name.read()));
        }
        None => {}
    }
    names
}
