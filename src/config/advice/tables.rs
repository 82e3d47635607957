//! Advice for a key that holds a table.
//!
//! A plain value in the place of a table is meant for one of its keys: the
//! first that can hold it, if no other key is required. A switch such as `true`
//! or `"off"` asks for the table with its defaults, or for none.
//!
//! `language` describes each section as data: its keys with kind, default,
//! bounds, and whether they are required. All advice here is made from that,
//! except for `switch`, which has to know which key of a section turns it off.
//!
//! Values that may be secrets are not repeated: the text of a key with a
//! secret's name is `...`, and logins in URLs are covered.

use super::{
    super::{
        language::{Kind, LanguageKey, Section},
        redact::{self, quoted},
        source::Span,
        tree::{Entry, Node, Table, Value},
    },
    values::{as_switch, takes, value_as_number},
};

/// `match = { ... }`, or with brackets where a list of tables is meant.
///
/// `inside` is the text between the braces, without blanks around it.
pub(in crate::config) fn with_brackets(key: &LanguageKey, inside: &str) -> String {
    match &key.kind {
        Kind::Tables(_) => format!("{} = [{{ {inside} }}]", key.name),
        _ => format!("{} = {{ {inside} }}", key.name),
    }
}

/// The keys that a table has to have, each with an example.
///
/// The pairs are in the order of the section, with commas between them; the
/// text is empty if no key is required. A list of tables among the keys is
/// written with what its own tables require.
pub(super) fn required(section: &Section) -> String {
    let mut pairs = Vec::new();
    if section.path == "limits.tiers" {
        // A tier needs one of two keys, so that neither is required by itself.
        pairs.push("prefix = 56".to_owned());
    }
    for key in section.keys.iter().filter(|key| key.is_required) {
        let value = match &key.kind {
            Kind::Text(_) if redact::is_secret_name(&key.name) => "\"...\"".to_owned(),
            Kind::Text(text) => format!("\"{}\"", text.example.as_deref().unwrap_or("...")),
            Kind::Whole { least, .. } => least.to_string(),
            Kind::Tables(of) => {
                format!("[{{ {} }}]", of.section().map(required).unwrap_or_default())
            }
            Kind::List(_) => "[...]".to_owned(),
            _ => "...".to_owned(),
        };
        pairs.push(format!("{} = {value}", key.name));
    }
    pairs.join(", ")
}

/// For "yes" and "no" in the place of a table.
///
/// For "no", the paths are those of sections that are in force without being
/// written, so that leaving one out would not turn it off. All other sections
/// are off when they are absent.
///
/// For "yes", the table is shown with its required keys, or else with one key
/// as an example: an absent section and an empty table would have the same
/// defaults.
fn switch(name: &str, section: &Section, is_on: bool) -> String {
    let off = match section.path.as_str() {
        "routes.retry" => Some("attempts = 1"),
        "upstreams.ejection" => Some("max_percent = 0"),
        "admin" => Some("bind = \"off\""),
        "log" => Some("access = false"),
        _ => None,
    };
    match off {
        _ if is_on => shape(name, section).unwrap_or_else(|| format!("write `{name} = {{ ... }}`")),
        Some(off) => format!("write `{name} = {{ {off} }}`"),
        None => format!("leave `{name}` out"),
    }
}

/// Whether a table is written `{ ... }`: then its keys lie within it.
///
/// The tree does not keep how a table was written. Below a header, the keys
/// stand behind the place of the table, which is that of the header.
pub(super) fn is_inline(table: &Table, node: &Node) -> bool {
    let within = |key: Span| key.start > node.span.start && key.end < node.span.end;
    table.entries.values().all(|entry| within(entry.key))
}

/// A value that is no table, in the place of one: the table with the key that
/// the value is for.
///
/// A list of tables is recognized first. A value that fits no key as it stands
/// is then tried as what it may mean, such as the number in a string. Among the
/// keys that fit, a key that has this very word comes before a switch, and a
/// switch before any other key: `"off"` fits many keys that hold a text.
///
/// `None` if no key can hold the value, or if it cannot be shown.
pub(in crate::config) fn in_a_table(name: &str, section: &Section, node: &Node) -> Option<String> {
    if let Some(help) = list_instead_of_table(name, section, node) {
        return Some(help);
    }
    let takes_any = |node: &Node| section.keys.iter().any(|key| takes(&key.kind, node));
    if !takes_any(node)
        && let Some(other) = meant(node).filter(takes_any)
    {
        return in_a_table(name, section, &other);
    }
    // A key that another one has to stand beside would be only half of a table.
    let is_enough = |key: &&LanguageKey| {
        let mut required = section.keys.iter().filter(|other| other.is_required);
        required.all(|other| other.name == key.name)
    };
    let keys: Vec<_> = section.keys.iter().filter(is_enough).collect();
    let key = match keys.iter().find(|key| is_word(&key.kind, node)) {
        Some(key) => key,
        None => match as_switch(node) {
            Some(is_on) => return Some(switch(name, section, is_on)),
            None => keys.iter().find(|key| takes(&key.kind, node))?,
        },
    };
    let value = as_value(name, key, node)?;
    Some(format!("write `{name} = {{ {} = {value} }}`", key.name))
}

/// For `[[name]]` in the place of `[name]`.
///
/// `None` unless the value is a list in which each item is a table. An empty
/// list counts as one. In the header of a section with a name, `name` takes the
/// place of `NAME`.
fn list_instead_of_table(name: &str, section: &Section, node: &Node) -> Option<String> {
    let is_of_tables = node.items().iter().all(|item| item.table().is_some());
    let header = header(&section.path).replace("[[", "[").replace("]]", "]");
    let header = match header.strip_suffix(".NAME]") {
        Some(section) => format!("{section}.{name}]"),
        None => header,
    };
    let is = "it is one table: its header has one pair of brackets";
    (is_of_tables && node.table().is_none()).then(|| format!("{is}, `{header}`"))
}

/// The number in a string, or the only string of a list.
///
/// `None` if the value can only mean itself. A list with one item that is no
/// string, such as a number, is left alone.
fn meant(node: &Node) -> Option<Node> {
    let value = match (value_as_number(&node.value), node.items()) {
        (Some(number), _) => Value::Whole(number),
        (None, [only]) if node.text().is_none() && only.text().is_some() => only.value.clone(),
        _ => return None,
    };
    let span = node.span;
    Some(Node { span, value })
}

/// Whether the value is a word that the key has, such as "off". A word says
/// more than that a string fits.
///
/// Words are compared with their case, as the language does.
fn is_word(kind: &Kind, node: &Node) -> bool {
    match (kind, node.text()) {
        (Kind::Or(word, _), Some(text)) => word == text,
        (Kind::Choice(words), Some(text)) => words.iter().any(|word| word == text),
        _ => false,
    }
}

/// The value as it stands behind the key of the table.
///
/// A single string for a key that holds a list gets brackets. A list is written
/// `[...]`, since its items are not shown. `None` for a table, a switch, or a
/// value that could not be read.
///
/// Of a secret that comes from a variable, the reference `${NAME}` is shown;
/// one that is written in the file becomes `...`.
fn as_value(name: &str, key: &LanguageKey, node: &Node) -> Option<String> {
    let value = match &node.value {
        Value::Text(text) if redact::is_secret_name(name) || redact::is_secret_name(&key.name) => {
            format!("\"{}\"", text.written.as_deref().unwrap_or("..."))
        }
        Value::Text(text) => {
            let shown = quoted(&redact::logins(text.shown()));
            format!("\"{}\"", redact::stores(&shown))
        }
        Value::Whole(number) => number.to_string(),
        Value::List(_) => "[...]".to_owned(),
        _ => return None,
    };
    let is_list = matches!(key.kind, Kind::List(_)) && node.text().is_some();
    Some(match is_list {
        true => format!("[{value}]"),
        false => value,
    })
}

/// A table with the first of its keys that has a plain value.
///
/// The value is the default of the key, or its example. A number without a
/// default is shown as 100. `None` if the section has no such key.
fn example(name: &str, section: &Section) -> Option<String> {
    section.keys.iter().find_map(|key| {
        let default = key.default.as_ref();
        let text = default.and_then(serde_json::Value::as_str);
        let value = match &key.kind {
            Kind::Text(of) => format!("\"{}\"", text.or(of.example.as_deref())?),
            Kind::Choice(_) => format!("\"{}\"", text?),
            Kind::Whole { .. } => default.map_or_else(|| "100".to_owned(), ToString::to_string),
            _ => return None,
        };
        Some(format!("such as `{name} = {{ {} = {value} }}`", key.name))
    })
}

/// For something else in the place of a list of tables.
///
/// A table with a table in it under a name that is no key was written like
/// `[limits.NAME]`. If the tables of the list have a key `name`, the help shows
/// where that name goes.
pub(super) fn list_of_tables(name: &str, section: &Section, node: &Node) -> String {
    let Value::Table(table) = &node.value else {
        let required = required(section);
        return format!("it is a list of tables: `{name} = [{{ {required} }}]`");
    };
    // Names in headers, as limits and upstreams have them.
    let is_named =
        |(key, entry): &(&str, &Entry)| section.key(key).is_none() && entry.node.table().is_some();
    match table.iter().find(is_named) {
        Some((inner, _)) if section.key("name").is_some() => {
            let inner = quoted(inner);
            format!("write `[[{name}]]`, and below it `name = \"{inner}\"`")
        }
        _ if is_inline(table, node) => {
            let list = format!("it is a list of tables: `{name} = [{{ ... }}]`");
            format!("{list}, or tables that begin with `[[{name}]]`")
        }
        _ => format!("each begins with `[[{name}]]`, two brackets"),
    }
}

/// For something else in the place of a table: the value in the table, or else
/// the table with the keys that it has to have.
pub(super) fn instead_of_table(name: &str, section: &Section, node: &Node) -> Option<String> {
    in_a_table(name, section, node).or_else(|| shape(name, section))
}

/// A table with the keys that it has to have, or else with one as an example.
fn shape(name: &str, section: &Section) -> Option<String> {
    match required(section) {
        required if required.is_empty() => example(name, section),
        required => Some(format!("write `{name} = {{ {required} }}`")),
    }
}

/// For something else than tables in the place of named sections.
///
/// The name is taken from the `name` of the first item that has one, if it
/// consists of letters, digits and hyphens and so needs no quotes in a header.
pub(super) fn named(name: &str, node: &Node) -> String {
    let Value::List(items) = &node.value else {
        return format!("write `[{name}.NAME]`, and its keys below it");
    };
    let names = items
        .iter()
        .filter_map(|item| item.table()?.get("name")?.node.text());
    let is_other = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    let first = names.take(1).find(|name| !name.contains(is_other));
    let inside = first.unwrap_or("NAME");
    format!("write `[{name}.{inside}]`: the name stands in the header")
}

/// A section as its header is written.
///
/// `path` is the path of the section in the language: keys joined by dots,
/// without the names that the user chooses. Routes and listeners are lists;
/// limits and upstreams have a `NAME` behind the first word.
pub(in crate::config) fn header(path: &str) -> String {
    match path.split_once('.') {
        None if matches!(path, "routes" | "listeners") => format!("[[{path}]]"),
        None if matches!(path, "limits" | "upstreams") => format!("[{path}.NAME]"),
        Some((named @ ("limits" | "upstreams"), rest)) => format!("[{named}.NAME.{rest}]"),
        _ => format!("[{path}]"),
    }
}
