//! Keys that a table does not have: where they belong, or which one is meant.

use super::{
    advice::{self, header},
    language::{self, Key, Kind, Section},
    suggest,
    tree::{Node, Table, Value},
    units,
};

/// The advice for a key that its table does not have.
#[derive(Debug)]
pub(super) struct Stray {
    pub(super) help: String,
    /// The key that is surely meant, and the section that has it.
    pub(super) meant: Option<(String, String)>,
}

/// Tables at the top of a file of Traefik, which is TOML too.
const TRAEFIK: [&str; 6] = [
    "entryPoints",
    "http",
    "tcp",
    "providers",
    "certificatesResolvers",
    "serversTransport",
];
/// Sections that are named when a key has no place near: more would be a
/// riddle.
const MOST_PLACES: usize = 3;

/// `beside`: the names that stand in the same table.
pub(super) fn explain(section: &Section, name: &str, node: &Node, beside: &[&str]) -> Stray {
    let own = section.keys.iter().map(|key| key.name.as_str());
    if let Some(near) = suggest::close(name, own.clone()) {
        return Stray {
            help: renamed(section, name, near, node),
            meant: Some((section.path.clone(), near.to_owned())),
        };
    }
    if section.path.is_empty() && TRAEFIK.contains(&name) {
        let help = "this is a table of Traefik: its routers are `[[routes]]` here, its services `[upstreams.NAME]`, its rate limits `[limits.NAME]`";
        return Stray {
            help: help.to_owned(),
            meant: None,
        };
    }
    if let Some(stray) = further_out(section, name, node) {
        return stray;
    }
    if let Some(stray) = further_in(section, name, node, beside) {
        return stray;
    }
    let elsewhere = of_its_own(section, name)
        .or_else(|| in_another(section, name, name))
        // Or one that is known there under another name.
        .or_else(|| suggest::meanings(name).find_map(|word| in_another(section, name, word)));
    let help = elsewhere.unwrap_or_else(|| suggest::help(name, own, "there are no keys here"));
    Stray { help, meant: None }
}

/// The key that is surely meant, with its value in the right shape if it has
/// another one.
fn renamed(section: &Section, name: &str, near: &str, node: &Node) -> String {
    let makes_a_limit =
        node.table().is_some() || node.text().is_some_and(|text| units::rate(text).is_ok());
    if near == "limits" && section.path == "routes" && makes_a_limit {
        return advice::LIMIT_OF_ITS_OWN.to_owned();
    }
    let help = suggest::help(name, [near], "");
    // A route has too many shapes to guess one.
    let key = section
        .key(near)
        .filter(|key| key.name != "routes" && !has_its_shape(&key.kind, node));
    match key.and_then(|key| advice::right_type(key, &key.kind, node)) {
        Some(right) => format!("{help} Then {right}"),
        None => help,
    }
}

/// A key of a table around this one. Below the header of an inner table it is
/// taken for one of that.
fn further_out(section: &Section, name: &str, node: &Node) -> Option<Stray> {
    let sections = language::sections();
    let mut path = section.path.as_str();
    while let Some((outer, _)) = path
        .rsplit_once('.')
        .or_else(|| (!path.is_empty()).then_some(("", path)))
    {
        path = outer;
        let found = sections
            .iter()
            .filter(|other| other.path == path)
            .find_map(|other| Some((other.path.as_str(), other.key(name)?)));
        let Some((outer, key)) = found.filter(|(_, key)| has_its_shape(&key.kind, node)) else {
            continue;
        };
        let here = header(&section.path);
        let help = match outer {
            "" => format!(
                "`{name}` is a key of the file itself: move it to the top, above all tables"
            ),
            outer => format!(
                "`{name}` is a key of `{}`: move it above `{here}`",
                header(outer)
            ),
        };
        return Some(Stray {
            help,
            meant: Some((outer.to_owned(), key.name.clone())),
        });
    }
    None
}

/// A key of tables within this one.
fn further_in(section: &Section, name: &str, node: &Node, beside: &[&str]) -> Option<Stray> {
    let stray = |help: String, meant: Option<&String>| {
        Some(Stray {
            help,
            meant: meant.map(|key| (section.path.clone(), key.clone())),
        })
    };
    // A route's own keys are in no table of the defaults.
    if section.path == "defaults" && language::key("routes", name).is_some() {
        return None;
    }
    let fits = |key: &&Key| {
        let inner = key.kind.section().and_then(|inner| inner.key(name));
        inner.is_some_and(|inner| has_its_shape(&inner.kind, node))
    };
    let mut inner: Vec<_> = within(section, name).filter(fits).collect();
    if inner.is_empty() {
        inner = within(section, name).collect();
    }
    if section.path.is_empty() && !inner.is_empty() {
        inner.sort_by_key(|key| key.name != "routes");
        return stray(below_headers(&inner, name, node), None);
    }
    let write = |key: &Key| written(key, name);
    match inner.as_slice() {
        [] => {
            let (outer, key) = section
                .keys
                .iter()
                .find_map(|outer| Some((outer, within(outer.kind.section()?, name).next()?)))?;
            let help = format!(
                "`{name}` is a key of `{}`: write `{}`",
                key.name,
                advice::with_brackets(outer, &write(key))
            );
            stray(help, Some(&outer.name))
        }
        [key] if beside.contains(&key.name.as_str()) => stray(
            format!("`{name}` is a key of `{0}`: move it into `{0}`", key.name),
            None,
        ),
        [key] => stray(
            format!(
                "`{name}` is a key of `{}`: write `{}`",
                key.name,
                write(key)
            ),
            Some(&key.name),
        ),
        several => {
            let names: Vec<_> = several
                .iter()
                .map(|key| format!("`{}`", key.name))
                .collect();
            let example = several.first().map(|key| write(key))?;
            stray(
                format!(
                    "`{name}` is a key of {}: write one such as `{example}`",
                    names.join(" and of ")
                ),
                None,
            )
        }
    }
}

/// The keys of a section that lead to tables with a key of this name.
fn within<'a>(outer: &'a Section, name: &str) -> impl Iterator<Item = &'a Key> {
    let has = |key: &&Key| {
        key.kind
            .section()
            .is_some_and(|inner| inner.key(name).is_some())
    };
    outer.keys.iter().filter(has)
}

/// Headers below which a key of the file itself belongs.
fn below_headers(inner: &[&Key], name: &str, node: &Node) -> String {
    let is_table = node.table().is_some();
    let place = |key: &&Key| match key.kind.section() {
        Some(section) if is_table => format!("`{}`", header(&format!("{}.{name}", section.path))),
        Some(section) => format!("`{}`", header(&section.path)),
        None => String::new(),
    };
    let places = inner.iter().map(place).collect::<Vec<_>>().join(" or ");
    if is_table {
        format!("write {places}: it is no table of the file itself")
    } else {
        format!("`{name}` is a key of {places}: write it below that header")
    }
}

/// A table with the key, and with the others that it has to have beside it.
fn written(key: &Key, name: &str) -> String {
    let required = key
        .kind
        .section()
        .into_iter()
        .flat_map(|inner| inner.keys.iter().filter(|key| key.is_required));
    let mut names: Vec<_> = required.map(|key| key.name.as_str()).collect();
    if !names.contains(&name) {
        names = vec![name];
    }
    let pairs: Vec<_> = names
        .into_iter()
        .map(|name| format!("{name} = ..."))
        .collect();
    advice::with_brackets(key, &pairs.join(", "))
}

/// In a route, a key that makes a limit or an upstream.
fn of_its_own(section: &Section, name: &str) -> Option<String> {
    if !matches!(section.path.as_str(), "routes" | "defaults") {
        return None;
    }
    let has = |path: &str| {
        language::sections()
            .iter()
            .any(|other| other.path == path && other.key(name).is_some())
    };
    if has("limits") {
        return Some(advice::LIMIT_OF_ITS_OWN.to_owned());
    }
    let of_upstream =
        "make it an upstream, `[upstreams.NAME]`, and write `upstream = \"NAME\"` here";
    has("upstreams").then(|| of_upstream.to_owned())
}

/// A key of sections that have nothing to do with this one.
fn in_another(section: &Section, name: &str, word: &str) -> Option<String> {
    let has = |other: &&&Section| {
        !other.path.is_empty() && other.path != section.path && other.key(word).is_some()
    };
    let sections = language::sections();
    let mut places: Vec<_> = sections
        .iter()
        .filter(has)
        .map(|other| format!("`{}`", header(&other.path)))
        .collect();
    places.dedup();
    (1..=MOST_PLACES)
        .contains(&places.len())
        .then(|| match word == name {
            true => format!("`{name}` is a key of {}", places.join(" and of ")),
            false => format!("`{word}` of {} may be meant", places.join(" or of ")),
        })
}

/// Whether a key could be given this value, as far as its type tells.
fn has_its_shape(kind: &Kind, node: &Node) -> bool {
    match (kind, &node.value) {
        (_, Value::Broken) => true,
        (Kind::Or(_, of), Value::Text(_)) => !matches!(**of, Kind::Table(_)),
        (Kind::Or(_, of), _) => has_its_shape(of, node),
        (Kind::Flag, value) => matches!(value, Value::Flag(_)),
        (Kind::Whole { .. }, value) => matches!(value, Value::Whole(_)),
        (Kind::Text(_) | Kind::Choice(_), value) => {
            matches!(value, Value::Text(_) | Value::Foreign(_))
        }
        (Kind::List(_) | Kind::Tables(_), value) => matches!(value, Value::List(_)),
        (Kind::OneOrList(_), value) => matches!(value, Value::Text(_) | Value::List(_)),
        (Kind::Either(_, long), Value::Table(_)) => matches!(**long, Kind::Table(_)),
        (Kind::Either(_, long), Value::List(_)) => matches!(**long, Kind::Tables(_)),
        (Kind::Either(short, _), _) => has_its_shape(short, node),
        (Kind::Map(_) | Kind::Table(_), value) => matches!(value, Value::Table(_)),
        (Kind::Named(_), Value::Table(table)) => is_of_tables(table),
        (Kind::Named(_), _) => false,
    }
}

fn is_of_tables(table: &Table) -> bool {
    table
        .entries
        .values()
        .all(|entry| entry.node.table().is_some())
}
