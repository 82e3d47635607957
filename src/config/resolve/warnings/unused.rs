//! Names that are defined and used by nobody. A limit that no route names
//! protects nothing, which nobody notices before it is needed.
//!
//! Names are collected from all routes first, with those that routes inherit
//! from `[defaults]`. A name in `[defaults]` alone, in a file in which every
//! route has another one, counts as unused.

use std::{collections::BTreeSet, sync::Arc};

use crate::config::{
    field::Given,
    problem::{Code, Problems},
    wire::{File, limits::Scope, routes::Route, tables::Either},
};

/// Reports limits and upstreams that no route names, and a store that no limit
/// is shared through.
///
/// The time grows with the number of names in the file, each looked up in a
/// sorted set.
pub(super) fn report(file: &File, problems: &mut Problems) {
    let (mut limits, mut upstreams) = (BTreeSet::new(), BTreeSet::new());
    for route in file.routes.values() {
        limits.extend(route.limits.read().unwrap_or_default());
        upstreams.extend(self::upstreams(route));
    }
    for entry in file.identities.elements() {
        let identity = entry.field.value();
        limits.extend(identity.and_then(|identity| identity.limit.read()));
    }
    let mut is_shared = false;
    for entry in file.limits.elements() {
        let (name, at) = (entry.name.as_str(), entry.field.at());
        if !limits.contains(name) {
            let message = format!("no route names the limit `{name}`: it limits nobody");
            let help = format!("add `limits = [\"{name}\"]` to a route or to `[defaults]`");
            problems.warn(Code::Unused, at, message, help);
        }
        let scope = entry.field.value().and_then(|limit| limit.scope.value);
        is_shared |= scope == Some(Scope::Shared);
    }
    for entry in file.upstreams.elements() {
        let (name, at) = (entry.name.as_str(), entry.field.at());
        if !upstreams.contains(name) {
            let message = format!("no route leads to the upstream `{name}`");
            let help = format!("add `upstream = \"{name}\"` to a route, or take it out");
            problems.warn(Code::Unused, at, message, help);
        }
    }
    if file.store.is_present() && !is_shared {
        let message = "no limit is counted in the store";
        let help = "add `scope = \"shared\"` to the limits that all gateways count together, or take `[store]` out";
        problems.warn(Code::Unused, file.store.at(), message, help);
    }
}

/// The upstreams that a route names: its own, those of a split, that of its
/// mirror.
fn upstreams(route: &Route) -> Vec<Arc<str>> {
    let mirror = route.mirror.value();
    let mirror = mirror.and_then(|mirror| mirror.upstream.read());
    let mut names: Vec<_> = mirror.into_iter().collect();
    match route.upstream.value() {
        Some(Either::Short(name)) => names.push(name.value.clone()),
        Some(Either::Long(shares)) => {
            let shares = shares.iter().filter_map(Given::value);
            names.extend(shares.filter_map(|share| share.name.read()));
        }
        None => {}
    }
    names
}
