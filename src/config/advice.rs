//! Advice for a value of the wrong type: the form that is right.

use super::{
    check::quoted,
    problem::Wrong,
    redact,
    schema::{Default, Key, Kind, Section, Syntax},
    suggest,
    tree::{Node, Table, Value},
    units,
};

/// Words that mean that there is no bound.
const UNBOUNDED: [&str; 14] = [
    "off",
    "\u{221e}",
    "unlimited",
    "none",
    "no",
    "never",
    "infinite",
    "infinity",
    "inf",
    "disabled",
    "disable",
    "false",
    "null",
    "-1",
];

/// Help for a value that may also be a word such as "off".
pub(super) fn or_word(word: &str, text: &str, wrong: Wrong) -> Wrong {
    let lower = text.trim().to_ascii_lowercase();
    let is_meant = is_unbounded(text) || suggest::nearest(&lower, [word]).is_some();
    let help = match wrong.help {
        _ if is_meant => format!("write \"{word}\""),
        help if help.ends_with('?') => format!("{help} (or \"{word}\")"),
        help => format!("{help}; or \"{word}\""),
    };
    Wrong::new(wrong.why, help)
}

/// Whether a text says that there is no bound.
pub(super) fn is_unbounded(text: &str) -> bool {
    let lower = text.trim().to_lowercase();
    UNBOUNDED.contains(&lower.as_str())
}

/// For what makes a limit, in a place that only names limits.
pub(super) const LIMIT_OF_ITS_OWN: &str =
    "make it a limit of its own, `[limits.NAME]`, and write `limits = [\"NAME\"]` here";

/// `match = { ... }`, or with brackets where a list of tables is meant.
pub(super) fn with_brackets(key: &Key, inside: &str) -> String {
    match key.kind {
        Kind::Tables(_) | Kind::TextOrTables(..) => format!("{} = [{{ {inside} }}]", key.name),
        _ => format!("{} = {{ {inside} }}", key.name),
    }
}

/// The keys that a table has to have, each with an example.
fn required(section: &Section) -> String {
    let pair = |key: &Key| {
        let value = match key.kind {
            Kind::Text(_) if redact::is_secret_name(key.name) => "\"...\"".to_owned(),
            Kind::Text(syntax) => format!("\"{}\"", syntax.example),
            Kind::Whole { least, .. } => least.to_string(),
            Kind::Tables(inner) => format!("[{{ {} }}]", required(inner)),
            Kind::List(_) | Kind::Set(_) => "[...]".to_owned(),
            _ => "...".to_owned(),
        };
        format!("{} = {value}", key.name)
    };
    section
        .keys
        .iter()
        .filter(|key| key.required)
        .map(pair)
        .collect::<Vec<_>>()
        .join(", ")
}

/// For "yes" and "no" in the place of a table.
fn switch(name: &str, section: &'static Section, is_on: bool) -> String {
    let off = match section.path {
        "routes.retry" => Some("attempts = 1"),
        "upstreams.ejection" => Some("max_percent = 0"),
        "admin" => Some("bind = \"off\""),
        "log" => Some("access = false"),
        _ => None,
    };
    let required = required(section);
    match off {
        Some(off) if !is_on => format!("write `{name} = {{ {off} }}`"),
        _ if is_on && !required.is_empty() => format!("write `{name} = {{ {required} }}`"),
        _ if is_on => {
            example(name, section).unwrap_or_else(|| format!("write `{name} = {{ ... }}`"))
        }
        _ => format!("leave `{name}` out"),
    }
}

/// A word in the place of a table or list that means that there is none, or that there is one.
fn as_switch(node: &Node) -> Option<bool> {
    match &node.value {
        Value::Flag(is_on) => Some(*is_on),
        Value::Text(text) => match text.text.to_ascii_lowercase().as_str() {
            "on" | "yes" | "true" | "enabled" | "default" => Some(true),
            word if is_unbounded(word) => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a table is written `{ ... }`: then its keys lie within it.
fn is_inline(table: &Table, node: &Node) -> bool {
    let within = |key: super::source::Span| key.start > node.span.start && key.end < node.span.end;
    table.entries.values().all(|entry| within(entry.key))
}

/// A value that is no table, in the place of one: the table with the key that the value is for.
pub(super) fn in_a_table(name: &str, section: &'static Section, node: &Node) -> Option<String> {
    if let Value::List(items) = &node.value
        && items.iter().all(|item| item.table().is_some())
    {
        let header = super::misplaced::header(section.path)
            .replace("[[", "[")
            .replace("]]", "]");
        let header = if header.ends_with(".NAME]") {
            header.replace("NAME", name)
        } else {
            header
        };
        return Some(format!(
            "it is one table: its header has one pair of brackets, `{header}`"
        ));
    }
    let inner = match &node.value {
        Value::List(items) if items.len() == 1 && items[0].text().is_some() => items.first(),
        _ => None,
    };
    let as_number = value_as_number(&node.value).map(|number| Node {
        span: node.span,
        value: Value::Whole(number),
    });
    let direct = |node: &Node| section.keys.iter().any(|key| takes(key.kind, node));
    if !direct(node)
        && let Some(other) = as_number.as_ref().or(inner).filter(|other| direct(other))
    {
        return in_a_table(name, section, other);
    }
    let required: Vec<_> = section.keys.iter().filter(|key| key.required).collect();
    let may = |key: &&'static Key| required.iter().all(|other| other.name == key.name);
    let is_word = |key: &&'static Key| match (key.kind, node.text()) {
        (Kind::Or(word, _), Some(text)) => word == text,
        (Kind::Choice(words), Some(text)) => words.contains(&text),
        _ => false,
    };
    let word = section.keys.iter().filter(may).find(is_word);
    if word.is_none()
        && let Some(is_on) = as_switch(node)
    {
        return Some(switch(name, section, is_on));
    }
    let key = word.or_else(|| {
        section
            .keys
            .iter()
            .filter(may)
            .find(|key| takes(key.kind, node))
    })?;
    let value = match &node.value {
        Value::Text(text) if redact::is_secret_name(name) || redact::is_secret_name(key.name) => {
            if text.written.is_none() {
                "\"...\"".to_owned()
            } else {
                format!("\"{}\"", text.shown())
            }
        }
        Value::Text(text) => format!(
            "\"{}\"",
            redact::stores(&quoted(&redact::logins(text.shown())))
        ),
        Value::Whole(number) => number.to_string(),
        Value::List(_) => "[...]".to_owned(),
        _ => return None,
    };
    let is_list = matches!(key.kind, Kind::List(_) | Kind::Set(_)) && node.text().is_some();
    let value = if is_list { format!("[{value}]") } else { value };
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
        (Kind::Or(_, of) | Kind::OneOrList(of), Value::Text(_) | Value::Whole(_)) => {
            takes(*of, node)
        }
        (Kind::List(of) | Kind::Set(of), Value::List(items)) => {
            items.iter().all(|item| takes(*of, item))
        }
        (Kind::List(of) | Kind::Set(of), Value::Text(_)) => takes(*of, node),
        (Kind::TextOrTable(syntax, _) | Kind::TextOrTables(syntax, _), Value::Text(text)) => {
            (syntax.check)(&text.text).is_ok()
        }
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
    if let Kind::Or(word, other) = kind {
        return or_other(name, word, *other, node).or_else(|| right_type(key, *other, node));
    }
    match (kind, &node.value) {
        (Kind::Set(_) | Kind::Text(_), Value::Table(_)) if name == "limits" => {
            Some(LIMIT_OF_ITS_OWN.to_owned())
        }
        (Kind::Set(_), Value::List(items))
            if name == "limits" && items.iter().any(|item| item.table().is_some()) =>
        {
            Some(LIMIT_OF_ITS_OWN.to_owned())
        }
        (Kind::Set(_) | Kind::List(_), _) if as_switch(node) == Some(false) => {
            Some(format!("leave `{name}` out"))
        }
        (Kind::Named(_), Value::List(items)) => {
            let named = items
                .iter()
                .find_map(|item| item.table()?.get("name")?.node.text());
            let table = named.filter(|name| {
                name.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            });
            Some(format!(
                "write `[{name}.{}]`: the name stands in the header",
                table.unwrap_or("NAME")
            ))
        }
        (Kind::TextOrTables(..), Value::List(items)) => {
            let shares: Vec<_> = items
                .iter()
                .filter_map(|item| {
                    Some(format!(
                        "{{ name = \"{}\", weight = 1 }}",
                        quoted(item.text()?)
                    ))
                })
                .collect();
            Some(format!(
                "a split is a list of tables: `{name} = [{}]`",
                shares.join(", ")
            ))
        }
        (Kind::Tables(section), Value::Table(table)) => {
            Some(list_of_tables(name, section, table, node))
        }
        (Kind::Named(_), _) => Some(format!("write `[{name}.NAME]`, and its keys below it")),
        (Kind::Map(..), _) => Some(format!("such as `{name} = {{ NAME = \"value\" }}`")),
        (Kind::Tables(section), _) => Some(format!(
            "it is a list of tables: `{name} = [{{ {} }}]`",
            required(section)
        )),
        // An item of the list that the key holds.
        (Kind::Table(section), _) if matches!(key.kind, Kind::Tables(_)) => Some(format!(
            "each is a table: `{name} = [{{ {} }}]`",
            required(section)
        )),
        (Kind::OneOrList(of) | Kind::OneOrMany(of), _) => right_type(key, *of, node),
        (Kind::Table(section), _) => in_a_table(name, section, node).or_else(|| {
            let required = required(section);
            if required.is_empty() {
                example(name, section)
            } else {
                Some(format!("write `{name} = {{ {required} }}`"))
            }
        }),
        _ => right_value(key, kind, node),
    }
}

/// The same where the key holds no table, or a list of plain values.
fn right_value(key: &Key, kind: Kind, node: &Node) -> Option<String> {
    let name = key.name;
    match (kind, &node.value) {
        (Kind::Text(syntax), Value::Whole(number)) => with_unit(syntax, *number),
        (Kind::List(Kind::Text(_)) | Kind::Set(Kind::Text(_)), Value::Whole(number)) => Some(
            format!("write it as a list of texts: `{name} = [\"{number}\"]`"),
        ),
        (Kind::List(_) | Kind::Set(_), Value::Table(table)) if is_inline(table, node) => {
            Some(format!("write it as a list: `{name} = [{{ ... }}]`"))
        }
        (Kind::Text(_) | Kind::Choice(_) | Kind::TextOrTable(..), Value::List(items))
            if items.len() == 1 =>
        {
            let only = match items.first().map(|item| &item.value) {
                Some(Value::Text(text)) if !redact::is_secret_name(name) => {
                    quoted(&redact::logins(text.shown()))
                }
                _ => "...".to_owned(),
            };
            Some(format!(
                "it is one value, without brackets: `{name} = \"{only}\"`"
            ))
        }
        (Kind::Text(_) | Kind::Choice(_), Value::List(_)) => {
            Some("it is one value, without brackets".to_owned())
        }
        (Kind::TextOrTable(syntax, _), _) => Some(format!("such as `\"{}\"`", syntax.example)),
        (Kind::Text(_), Value::Flag(flag)) if matches!(key.kind, Kind::Map(..)) => {
            Some(format!("write it in quotes: `\"{flag}\"`"))
        }
        (Kind::List(_) | Kind::Set(_), Value::Text(text)) => Some(format!(
            "write it as a list: `{name} = [\"{}\"]`",
            quoted(text.shown())
        )),
        (Kind::WholeOrTable { table, .. }, value) if value_as_number(value).is_none() => {
            Some(format!(
                "write a whole number without quotes, or `{name} = {{ {} }}`",
                required(table)
            ))
        }
        (Kind::Whole { .. } | Kind::WholeOrTable { .. }, value) => Some(match value {
            value if let Some(number) = value_as_number(value) => {
                format!("write the number without quotes: `{name} = {number}`")
            }
            _ => "write a whole number, without quotes".to_owned(),
        }),
        (Kind::Flag, _) => Some(flag(name, node)),
        (Kind::Choice(words), _) => Some(choice(name, words, node)),
        (Kind::Text(syntax), _) => {
            let default = if let Default::Text(text) = key.default {
                Some(text)
            } else {
                None
            };
            let example = default
                .filter(|text| !text.is_empty())
                .unwrap_or(syntax.example);
            (!example.is_empty()).then(|| format!("such as `{name} = \"{example}\"`"))
        }
        _ => None,
    }
}

/// A number in quotes. What came from the environment is not shown.
fn value_as_number(value: &Value) -> Option<i64> {
    match value {
        Value::Text(text) if text.written.is_none() => text.text.trim().parse().ok(),
        _ => None,
    }
}

/// A table with the first of its keys that has a plain value.
fn example(name: &str, section: &Section) -> Option<String> {
    let pair = |key: &Key| match (key.kind, key.default) {
        (Kind::Text(_) | Kind::Choice(_), Default::Text(text)) => {
            Some(format!("{} = \"{text}\"", key.name))
        }
        (Kind::Whole { .. }, Default::Whole(number)) => Some(format!("{} = {number}", key.name)),
        (Kind::Whole { .. }, _) => Some(format!("{} = 100", key.name)),
        (Kind::Text(syntax), _) => Some(format!("{} = \"{}\"", key.name, syntax.example)),
        _ => None,
    };
    section
        .keys
        .iter()
        .find_map(pair)
        .map(|pair| format!("such as `{name} = {{ {pair} }}`"))
}

/// For a value that may be a word such as "off", too.
fn or_other(name: &str, word: &str, other: Kind, node: &Node) -> Option<String> {
    match (&node.value, other) {
        (Value::Whole(number), _) if *number < 0 => Some(format!("write `{name} = \"{word}\"`")),
        (Value::Whole(0), Kind::Text(syntax)) if word == "off" && syntax.name == "a size" => {
            Some(format!("write `{name} = \"off\"` for none, or `\"0B\"`"))
        }
        (Value::Flag(false), _) if word == "off" => Some(format!("write `{name} = \"off\"`")),
        (Value::Text(_), Kind::Whole { .. }) => {
            Some(format!("write a number without quotes, or \"{word}\""))
        }
        (Value::Flag(_) | Value::Foreign(_), Kind::Text(syntax)) => Some(format!(
            "such as `{name} = \"{}\"`, or \"{word}\"",
            syntax.example
        )),
        _ => None,
    }
}

/// For a table in the place of a list of tables.
fn list_of_tables(name: &str, section: &Section, table: &Table, node: &Node) -> String {
    let named = table
        .entries
        .iter()
        .find(|(name, entry)| section.key(name).is_none() && entry.node.table().is_some());
    match named {
        Some((inner, _)) if section.key("name").is_some() => {
            format!(
                "write `[[{name}]]`, and below it `name = \"{}\"`",
                quoted(inner)
            )
        }
        _ if is_inline(table, node) => {
            format!(
                "it is a list of tables: `{name} = [{{ ... }}]`, or tables that begin with `[[{name}]]`"
            )
        }
        _ => format!("each begins with `[[{name}]]`, two brackets"),
    }
}

/// A number in the place of a text that has a number in it.
fn with_unit(syntax: &Syntax, number: i64) -> Option<String> {
    let positive = u64::try_from(number).ok().filter(|number| *number > 0);
    Some(match (syntax.name, positive) {
        ("a duration", Some(number)) => {
            format!("a duration has a unit: `\"{number}s\"` or `\"{number}ms\"`")
        }
        ("a size", Some(number)) if number >= 1024 => {
            format!("a size has a unit: `\"{}\"`", units::size_text(number))
        }
        ("a size", _) if number >= 0 => {
            format!("a size has a unit: `\"{number}B\"` or `\"{number}KiB\"`")
        }
        ("a rate", Some(number)) => format!("a rate has a time: `\"{number}/s\"`"),
        ("a percentage", _) if number >= 0 => format!("write `\"{number}%\"`"),
        ("an address with a port", Some(number)) => {
            format!("write an address and a port: `\"0.0.0.0:{number}\"`")
        }
        ("a duration" | "a size" | "a rate" | "a percentage" | "an address with a port", _) => {
            format!("write one such as `\"{}\"`", syntax.example)
        }
        _ => format!("write it in quotes: `\"{number}\"`"),
    })
}

fn flag(name: &str, node: &Node) -> String {
    let is_on = match &node.value {
        Value::Whole(1) => Some(true),
        Value::Whole(0) => Some(false),
        _ => as_switch(node),
    };
    match is_on {
        Some(is_on) => format!("write `{name} = {is_on}`, without quotes"),
        None => "write true or false without quotes".to_owned(),
    }
}

/// One of some words, where something else stands.
fn choice(name: &str, words: &[&str], node: &Node) -> String {
    let written = match &node.value {
        Value::Flag(flag) => Some(flag.to_string()),
        Value::Whole(number) => Some(number.to_string()),
        _ => None,
    };
    match written.and_then(|written| suggest::nearest(&written, words.iter().copied())) {
        Some(word) => format!("write `{name} = \"{word}\"`"),
        None => {
            let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("write one of {}", words.join(", "))
        }
    }
}
