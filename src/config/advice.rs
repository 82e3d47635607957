//! Advice for a value of the wrong type, or a key in the wrong place: the form that is right.

use super::{
    check::quoted,
    problem::Wrong,
    redact,
    schema::{self, Default, Key, Kind, Section},
    suggest,
    tree::{Node, Table, Value},
};

/// Words that mean that there is no bound.
const UNBOUNDED: [&str; 12] =
    ["unlimited", "none", "no", "never", "infinite", "infinity", "inf", "disabled", "disable", "false", "null", "-1"];

/// Help for a value that may also be a word such as "off".
pub(super) fn or_word(word: &str, text: &str, wrong: Wrong) -> Wrong {
    let lower = text.to_ascii_lowercase();
    let is_meant = UNBOUNDED.contains(&lower.as_str()) || suggest::nearest(&lower, [word]).is_some();
    let help = if is_meant { format!("write \"{word}\"") } else { format!("{}; or \"{word}\"", wrong.help) };
    Wrong::new(wrong.why, help)
}

/// Where a key belongs that is not known here: further out, further in, or to a limit or an upstream.
pub(super) fn misplaced(section: &Section, name: &str) -> Option<String> {
    let sections = schema::sections();
    let mut path = section.path;
    while !path.is_empty() {
        path = path.rsplit_once('.').map_or("", |(outer, _)| outer);
        let outer = sections.iter().find(|outer| outer.path == path);
        if outer.is_some_and(|outer| outer.key(name).is_some()) {
            let here = header(section.path);
            return Some(match path {
                "" => format!("`{name}` is a key of the file itself: move it to the top, above all tables"),
                path => format!("`{name}` is a key of `{}`: move it above `{here}`", header(path)),
            });
        }
    }
    let inner = section.keys.iter().find(|key| matches!(key.kind, Kind::Table(inner) if inner.key(name).is_some()));
    if let Some(inner) = inner {
        return Some(format!("`{name}` is a key of `{0}`: write `{0} = {{ {name} = ... }}`", inner.name));
    }
    if !matches!(section.path, "routes" | "defaults") {
        return None;
    }
    let has = |path: &str| sections.iter().any(|other| other.path == path && other.key(name).is_some());
    if has("limits") {
        return Some("make it a limit of its own, `[limits.NAME]`, and write `limits = [\"NAME\"]` here".to_owned());
    }
    let of_upstream = "make it an upstream, `[upstreams.NAME]`, and write `upstream = \"NAME\"` here";
    has("upstreams").then(|| of_upstream.to_owned())
}

/// A section as its header is written.
fn header(path: &str) -> String {
    match path.split_once('.') {
        None if matches!(path, "routes" | "listeners") => format!("[[{path}]]"),
        None if matches!(path, "limits" | "upstreams") => format!("[{path}.NAME]"),
        Some((named @ ("limits" | "upstreams"), rest)) => format!("[{named}.NAME.{rest}]"),
        _ => format!("[{path}]"),
    }
}

/// Whether a table is written `{ ... }`: then its keys lie within it.
fn is_inline(table: &Table, node: &Node) -> bool {
    let within = |key: super::source::Span| key.start > node.span.start && key.end < node.span.end;
    table.entries.values().all(|entry| within(entry.key))
}

/// A lone value in the place of a table: the table with the key that the value is for.
fn in_a_table(name: &str, section: &'static Section, node: &Node) -> Option<String> {
    let required: Vec<_> = section.keys.iter().filter(|key| key.required).collect();
    let fits = |key: &&'static Key| takes(key.kind, node) && required.iter().all(|other| other.name == key.name);
    let key = section.keys.iter().find(fits)?;
    let value = match &node.value {
        Value::Text(text) if redact::is_secret_name(name) || redact::is_secret_name(key.name) => {
            if text.written.is_none() { "\"...\"".to_owned() } else { format!("\"{}\"", text.shown()) }
        }
        Value::Text(text) => format!("\"{}\"", redact::stores(&quoted(&redact::logins(text.shown())))),
        Value::Whole(number) => number.to_string(),
        Value::List(_) => "[...]".to_owned(),
        _ => return None,
    };
    Some(format!("write `{name} = {{ {} = {value} }}`", key.name))
}

/// Whether a key may hold this value.
fn takes(kind: Kind, node: &Node) -> bool {
    match (kind, &node.value) {
        (Kind::Text(syntax), Value::Text(text)) => (syntax.check)(&text.text).is_ok(),
        (Kind::Choice(words), Value::Text(text)) => words.contains(&text.text.as_str()),
        (Kind::Whole { least, most }, Value::Whole(number)) => {
            u64::try_from(*number).is_ok_and(|number| (least..=most).contains(&number))
        }
        (Kind::Or(_, of) | Kind::OneOrList(of), Value::Text(_) | Value::Whole(_)) => takes(*of, node),
        (Kind::List(of) | Kind::Set(of), Value::List(items)) => items.iter().all(|item| takes(*of, item)),
        _ => false,
    }
}

pub(super) fn expected(kind: Kind) -> String {
    match kind {
        Kind::Flag => "true or false".to_owned(),
        Kind::Whole { .. } => "a whole number".to_owned(),
        Kind::Text(syntax) if syntax.name == "a string" => "a string".to_owned(),
        Kind::Text(syntax) => format!("{} in a string", syntax.name),
        Kind::Choice(_) => "a string".to_owned(),
        Kind::Or(word, other) => format!("\"{word}\" or {}", expected(*other)),
        Kind::List(_) | Kind::Set(_) => "a list".to_owned(),
        Kind::OneOrList(_) | Kind::OneOrMany(_) => "a string or a list of strings".to_owned(),
        Kind::WholeOrTable { .. } => "a whole number or a table".to_owned(),
        Kind::Map(..) | Kind::Table(_) | Kind::Named(_) => "a table".to_owned(),
        Kind::Tables(_) => "a list of tables".to_owned(),
        Kind::TextOrTable(..) => "a string or a table".to_owned(),
        Kind::TextOrTables(..) => "a string or a list of tables".to_owned(),
    }
}

/// The same value as it should have been written, where that can be guessed.
pub(super) fn right_type(key: &Key, kind: Kind, node: &Node) -> Option<String> {
    let name = key.name;
    let of_limit = || "make it a limit of its own, `[limits.NAME]`, and write `limits = [\"NAME\"]` here".to_owned();
    if let (Kind::Or(word, Kind::Whole { .. }), Value::Text(_)) = (kind, &node.value) {
        return Some(format!("write a number without quotes, or \"{word}\""));
    }
    let kind = if let Kind::Or(_, other) = kind { *other } else { kind };
    match (kind, &node.value) {
        (Kind::Set(_) | Kind::Text(_), Value::Table(_)) if name == "limits" => Some(of_limit()),
        (Kind::Set(_), Value::List(items)) if name == "limits" && items.iter().any(|item| item.table().is_some()) => {
            Some(of_limit())
        }
        (Kind::Named(_), Value::List(items)) => {
            let named = items.iter().find_map(|item| item.table()?.get("name")?.node.text());
            let table = named.filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
            Some(format!("write `[{name}.{}]`: the name stands in the header", table.unwrap_or("NAME")))
        }
        (Kind::TextOrTables(..), Value::List(items)) => {
            let shares: Vec<_> = items
                .iter()
                .filter_map(|item| Some(format!("{{ name = \"{}\", weight = 1 }}", quoted(item.text()?))))
                .collect();
            Some(format!("a split is a list of tables: `{name} = [{}]`", shares.join(", ")))
        }
        (Kind::Tables(_), Value::Table(table)) if is_inline(table, node) => {
            Some(format!("it is a list of tables: `{name} = [{{ ... }}]`, or tables that begin with `[[{name}]]`"))
        }
        (Kind::Table(section), _) => in_a_table(name, section, node),
        (Kind::Text(syntax), Value::Whole(number)) => Some(match syntax.name {
            "a duration" => format!("a duration has a unit: `\"{number}s\"` or `\"{number}ms\"`"),
            "a size" => format!("a size has a unit: `\"{number}B\"` or `\"{number}KiB\"`"),
            "a rate" => format!("a rate has a time: `\"{number}/s\"`"),
            "a percentage" => format!("write `\"{number}%\"`"),
            "an address with a port" => format!("write an address and a port: `\"0.0.0.0:{number}\"`"),
            _ => format!("write it in quotes: `\"{number}\"`"),
        }),
        (Kind::List(_) | Kind::Set(_), Value::Text(text)) => {
            Some(format!("write it as a list: `{name} = [\"{}\"]`", quoted(text.shown())))
        }
        (Kind::Tables(_), Value::Table(_)) => Some(format!("each begins with `[[{name}]]`, two brackets")),
        (Kind::Whole { .. } | Kind::WholeOrTable { .. }, Value::Text(_)) => {
            Some("write the number without quotes".to_owned())
        }
        (Kind::Flag, Value::Text(_)) => Some("write true or false without quotes".to_owned()),
        (Kind::Text(_) | Kind::Choice(_), _) => match key.default {
            Default::Text(text) if !text.is_empty() => Some(format!("such as `{name} = \"{text}\"`")),
            _ => None,
        },
        _ => None,
    }
}
