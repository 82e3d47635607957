//! `[defaults]` under each route, key by key, and the listener of a file that
//! has none.
//!
//! This happens in the tree, before it is deserialized: a route then has its
//! keys like any other, and `wire` and `resolve` need no second way to a value.
//! Copied entries are marked as inherited. They keep their place in
//! `[defaults]`, their mistakes are not reported again for each route, and
//! rules about what a route says itself pass them over.
//!
//! # Rules of inheritance
//!
//! * A key that a route has hides the default. Two tables are joined instead,
//!   key by key and at every depth.
//! * Lists are never joined: a route that has `limits` has no other ones.
//! * A key that excludes another is not inherited beside it.
//! * A key of `[defaults]` that is unknown is reported once and goes nowhere.
//!   If `[defaults]` as a whole is broken, routes inherit nothing.

use super::super::{
    de,
    field::Given,
    problem::Problems,
    source::Span,
    tree::{Entry, Node, Table, Value},
    wire,
};

/// Where the smallest useful file listens: everywhere, as a gateway in a
/// container has to, without privileges.
///
/// Port 8080 needs no privileges, as it is above 1023.
const BIND_ADDRESS: &str = "0.0.0.0:8080";

/// Keys that exclude each other, by table: when a route gives one, it inherits
/// none of the others.
///
/// The first text is the name of the table. Keys of one group belong together;
/// keys of two groups exclude each other.
const INSTEAD: [(&str, &[&[&str]]); 3] = [
    ("concurrency", &[&["max"], &["adaptive"]]),
    ("match", &[&["path"], &["path_prefix"], &["path_regex"]]),
    ("request", &[&["rewrite"], &["strip_prefix", "add_prefix"]]),
];

/// Fills in what depends on other parts of the file. `origin` is the place of
/// values that stand nowhere.
///
/// A file without `listeners` gets one; a file in which that key is broken gets
/// none, as its author wanted others.
pub(super) fn fill_in(root: &mut Table, origin: Span, problems: &mut Problems) {
    let defaults = defaults(root, origin, problems);
    let routes = root.entries.get_mut("routes");
    if let Some(Value::List(routes)) = routes.map(|routes| &mut routes.node.value) {
        for route in routes.iter_mut().filter_map(Node::table_mut) {
            inherit("", route, &defaults);
            drop_idle_concurrency(route);
        }
    }
    if root.get("listeners").is_none() {
        let bind = Node::text_at(BIND_ADDRESS, origin);
        let listener = Value::Table(Table::of("bind", Entry::at(origin, bind.value)));
        let listeners = Value::List(vec![Entry::at(origin, listener).node]);
        let listeners = Entry::at(origin, listeners);
        root.insert("listeners", listeners);
    }
}

/// The keys of `[defaults]` that routes can have from there. Mistakes in them
/// are reported here, and not in each route.
///
/// The table is read once on its own, to report all of its mistakes. Its known
/// keys are then taken from the tree, not from what was read.
fn defaults(root: &Table, origin: Span, problems: &mut Problems) -> Table {
    let Some(entry) = root.get("defaults") else {
        return Table::default();
    };
    let alone = Table::of("defaults", entry.clone());
    let (file, _) = de::read::<wire::File>(alone, origin, problems);
    let Some(defaults) = entry.node.table().filter(|_| !file.defaults.is_broken()) else {
        return Table::default();
    };
    let mut defaults = defaults.clone();
    let is_known = |_: &String, entry: &mut Box<Entry>| !problems.is_unknown(entry.key);
    defaults.entries.retain(is_known);
    defaults
}

/// Gives the table `name` of a route, or the route itself, the keys that it
/// lacks. Tables that both have are joined in the same way.
///
/// The time for a file is the number of its routes times the number of default
/// keys.
fn inherit(name: &str, own: &mut Table, defaults: &Table) {
    for (key, default) in &defaults.entries {
        let Some(entry) = own.entries.get_mut(key) else {
            if !is_excluded(name, key, own) {
                let mut default = default.clone();
                mark_inherited(&mut default);
                own.entries.insert(key.clone(), default);
            }
            continue;
        };
        if let (Some(own), Some(default)) = (entry.node.table_mut(), default.node.table()) {
            inherit(key, own, default);
        }
    }
}

/// Whether a table of a route gives a key itself that excludes this one.
fn is_excluded(table: &str, key: &str, own: &Table) -> bool {
    let Some((_, groups)) = INSTEAD.iter().find(|(name, _)| *name == table) else {
        return false;
    };
    let is_own = |name: &&str| own.get(name).is_some_and(|entry| !entry.inherited);
    let mut others = groups.iter().filter(|group| !group.contains(&key));
    groups.iter().any(|group| group.contains(&key)) && others.any(|group| group.iter().any(is_own))
}

/// Everything within the value is marked as well, so that a route that inherits
/// a table inherits each of its keys.
fn mark_inherited(entry: &mut Entry) {
    entry.inherited = true;
    if let Some(table) = entry.node.table_mut() {
        for entry in table.entries.values_mut() {
            mark_inherited(entry);
        }
    }
}

/// Defaults may say how long to queue without saying that there is a cap:
/// routes without a cap have none of it.
fn drop_idle_concurrency(route: &mut Table) {
    let idle = |table: &Table| {
        let has_cap = ["max", "adaptive"]
            .iter()
            .any(|key| table.get(key).is_some());
        !has_cap && table.entries.values().all(|entry| entry.inherited)
    };
    let concurrency = route.get("concurrency");
    if concurrency.is_some_and(|entry| entry.inherited && entry.node.table().is_some_and(idle)) {
        route.entries.remove("concurrency");
    }
}
