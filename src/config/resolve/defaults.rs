//! `[defaults]` under each route, key by key, and the listener of a file that
//! has none.

use super::super::{
    de,
    field::Given,
    problem::Problems,
    source::Span,
    tree::{Entry, Node, Table, Text, Value},
    wire,
};

/// Where the smallest useful file listens: everywhere, as a gateway in a
/// container has to, without privileges.
const BIND_ADDRESS: &str = "0.0.0.0:8080";

/// Keys that exclude each other, by table: when a route gives one, it inherits
/// none of the others.
const INSTEAD: [(&str, &[&[&str]]); 3] = [
    ("concurrency", &[&["max"], &["adaptive"]]),
    ("match", &[&["path"], &["path_prefix"], &["path_regex"]]),
    ("request", &[&["rewrite"], &["strip_prefix", "add_prefix"]]),
];

/// Fills in what depends on other parts of the file. `origin` is the place of
/// what stands nowhere.
pub(super) fn fill_in(root: &mut Table, origin: Span, problems: &mut Problems) {
    let defaults = defaults(root, origin, problems);
    if let Some(Entry {
        node: Node {
            value: Value::List(routes),
            ..
        },
        ..
    }) = root.entries.get_mut("routes")
    {
        for route in routes {
            if let Value::Table(route) = &mut route.value {
                inherit("", route, &defaults);
                drop_idle_concurrency(route);
            }
        }
    }
    root.entries
        .entry("listeners".to_owned())
        .or_insert_with(|| {
            let bind = Value::Text(Text {
                text: BIND_ADDRESS.to_owned(),
                written: None,
            });
            let listener = Table {
                entries: [("bind".to_owned(), entry(bind, origin))].into(),
            };
            entry(
                Value::List(vec![Node {
                    span: origin,
                    value: Value::Table(listener),
                }]),
                origin,
            )
        });
}

/// The keys of `[defaults]` that routes can have from there. Mistakes in them
/// are reported here, and not in each route.
fn defaults(root: &Table, origin: Span, problems: &mut Problems) -> Table {
    let Some(entry) = root.get("defaults") else {
        return Table::default();
    };
    let alone = Table {
        entries: [("defaults".to_owned(), entry.clone())].into(),
    };
    let (file, _) = de::read::<wire::File>(alone, origin, problems);
    if file.defaults.is_broken() {
        return Table::default();
    }
    let mut defaults = entry.node.table().cloned().unwrap_or_default();
    defaults
        .entries
        .retain(|_, entry| !problems.is_unknown(entry.key));
    defaults
}

fn inherit(name: &str, own: &mut Table, defaults: &Table) {
    let given: Vec<String> = own.entries.keys().cloned().collect();
    for (key, default) in &defaults.entries {
        match own.entries.get_mut(key) {
            None if !excluded(name, key, &given) => {
                let mut default = default.clone();
                mark_inherited(&mut default);
                own.entries.insert(key.clone(), default);
            }
            Some(Entry {
                node:
                    Node {
                        value: Value::Table(own),
                        ..
                    },
                ..
            }) => {
                if let Value::Table(default) = &default.node.value {
                    inherit(key, own, default);
                }
            }
            _ => {}
        }
    }
}

fn excluded(table: &str, key: &str, given: &[String]) -> bool {
    let Some((_, groups)) = INSTEAD.iter().find(|(name, _)| *name == table) else {
        return false;
    };
    let grouped = groups.iter().any(|group| group.contains(&key));
    grouped
        && groups.iter().any(|group| {
            !group.contains(&key) && group.iter().any(|name| given.iter().any(|own| own == name))
        })
}

fn mark_inherited(entry: &mut Entry) {
    entry.inherited = true;
    if let Value::Table(table) = &mut entry.node.value {
        table.entries.values_mut().for_each(mark_inherited);
    }
}

/// Defaults may say how long to queue without saying that there is a cap:
/// routes without a cap have none of it.
fn drop_idle_concurrency(route: &mut Table) {
    let idle = |table: &Table| {
        let has_cap = ["max", "adaptive"]
            .iter()
            .any(|key| table.entries.contains_key(*key));
        !has_cap && table.entries.values().all(|entry| entry.inherited)
    };
    let concurrency = route.entries.get("concurrency");
    if concurrency.is_some_and(|entry| entry.inherited && entry.node.table().is_some_and(idle)) {
        route.entries.remove("concurrency");
    }
}

fn entry(value: Value, at: Span) -> Entry {
    Entry {
        key: at,
        node: Node { span: at, value },
        inherited: false,
    }
}
