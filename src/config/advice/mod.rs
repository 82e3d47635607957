//! Advice for a value of the wrong type: the form that is right.
//!
//! A wrong type is seldom a wrong idea. `timeout = 5` lacks a unit,
//! `hosts = "a.example"` lacks brackets, `retry = true` asks for the defaults
//! of a table. The advice repeats the value in the form that the key takes, so
//! that it can be copied into the file; where the value does not tell what is
//! meant, it shows an example of the key.
//!
//! The form comes from the language as data, in [`language`](super::language):
//! a new key has advice without a line here. `tables` has the advice for keys
//! that hold tables, `values` decides what a value may be meant to be.
//!
//! # Callers
//!
//! `de` asks when a value has the wrong type, and `misplaced` when a misspelt
//! key also has a value of another shape. Both have a message already, so that
//! each text here is a phrase behind one: "write ...", "such as ...", "it is
//! ...".
//!
//! Texts of the file are repeated through `quoted`, which cuts long ones and
//! escapes control characters: a file cannot write to the terminal through its
//! diagnostics.

mod tables;
mod values;

pub(super) use self::tables::{header, in_a_table, with_brackets};
use self::{
    tables::{instead_of_table, is_inline, list_of_tables, named, required},
    values::{as_switch, value_as_number},
};
use super::{
    characters::is_of_name,
    language::{Kind, LanguageKey},
    redact::{self, quoted},
    suggest,
    syntax::in_quotes,
    tree::{Node, Value},
    units,
};

/// Help for the numbers of a limit in a place that only names limits.
pub(super) const LIMIT_OF_ITS_OWN: &str =
    "make it a limit of its own, `[limits.NAME]`, and write `limits = [\"NAME\"]` here";

/// Help that writes the value of a key as it should have been, where that can
/// be guessed. `kind` is that of the value: the key's own, or that of an item
/// within.
///
/// The kinds are tried from the outside in: a key that takes a word or
/// something else first has advice about the word. The order of the arms
/// matters, as a kind with a special case stands before its general one. `None`
/// if the value is too far from the kind to be guessed, and the message has to
/// do alone.
pub(super) fn right_type(key: &LanguageKey, kind: &Kind, node: &Node) -> Option<String> {
    let name = key.name.as_str();
    match kind {
        Kind::Or(word, other) => {
            or_other(name, word, other, node).or_else(|| right_type(key, other, node))
        }
        Kind::OneOrList(of) => right_type(key, of, node),
        Kind::List(_) | Kind::Text(_) if name == "limits" && makes_a_limit(kind, node) => {
            Some(LIMIT_OF_ITS_OWN.to_owned())
        }
        Kind::List(_) if as_switch(node) == Some(false) => Some(format!("leave `{name}` out")),
        Kind::Named(_) => Some(named(name, node)),
        Kind::Map(of_name, of) => Some(pairs(name, of_name, of, node)),
        Kind::Tables(of) => Some(list_of_tables(name, of.section()?, node)),
        // An item of the list that the key holds.
        Kind::Table(section) if matches!(key.kind, Kind::Tables(_)) => {
            let required = required(section);
            Some(format!("each is a table: `{name} = [{{ {required} }}]`"))
        }
        Kind::Table(section) => instead_of_table(name, section, node),
        Kind::Either(short, long) => instead_of_either(key, short, long, node),
        Kind::Text(_) | Kind::Choice(_) if matches!(node.value, Value::List(_)) => {
            Some(without_brackets(name, node))
        }
        Kind::List(_) => as_list(name, node),
        Kind::Text(_) => instead_of_text(key, kind, node),
        Kind::Whole { .. } => Some(number(name, node)),
        Kind::Flag => Some(flag(name, node)),
        Kind::Choice(words) => Some(choice(name, words, node)),
    }
}

/// Whether a table, or a list of them, stands where limits are named.
fn makes_a_limit(kind: &Kind, node: &Node) -> bool {
    let mut items = node.items().iter();
    let is_list = matches!((kind, &node.value), (Kind::List(_), Value::List(_)));
    node.table().is_some() || is_list && items.any(|item| item.table().is_some())
}

/// For a value that is neither the short form of a key nor a table.
///
/// A split that lists names only gets a weight of 1 for each: this is what its
/// author meant, and the numbers can be changed afterwards.
fn instead_of_either(key: &LanguageKey, short: &Kind, long: &Kind, node: &Node) -> Option<String> {
    let name = key.name.as_str();
    Some(match (short, long, &node.value) {
        (Kind::Flag, Kind::List(_), Value::Whole(0 | 1)) => flag(name, node),
        (Kind::Flag, Kind::List(_), _) if as_switch(node).is_some() => flag(name, node),
        (Kind::Flag, Kind::List(_), _) => return as_list(name, node),
        (_, Kind::Tables(_), Value::List(items)) => {
            let names = items.iter().filter_map(Node::text).map(quoted);
            let shares = names.map(|name| format!("{{ name = \"{name}\", weight = 1 }}"));
            let shares = shares.collect::<Vec<_>>().join(", ");
            format!("a split is a list of tables: `{name} = [{shares}]`")
        }
        (Kind::Whole { .. }, Kind::Table(table), value) if value_as_number(value).is_none() => {
            let required = required(table);
            format!("write a whole number without quotes, or `{name} = {{ {required} }}`")
        }
        (Kind::Whole { .. }, _, _) => number(name, node),
        (_, Kind::Table(_), Value::List(items)) if items.len() == 1 => without_brackets(name, node),
        (Kind::Text(text), Kind::Table(_), _) => {
            format!("such as `\"{}\"`", text.example.as_deref()?)
        }
        _ => return None,
    })
}

/// For a list in the place of one value. A value that may be a secret is not
/// repeated.
///
/// A list with any other number of items has no single value that could be
/// shown.
fn without_brackets(name: &str, node: &Node) -> String {
    let [only] = node.items() else {
        return "it is one value, without brackets".to_owned();
    };
    let only = match &only.value {
        Value::Text(text) if !redact::is_secret_name(name) => quoted(&redact::logins(text.shown())),
        _ => "...".to_owned(),
    };
    format!("it is one value, without brackets: `{name} = \"{only}\"`")
}

/// For something else in the place of a list.
///
/// `None` for a switch, for a table below a header, and for values that TOML
/// has and the language does not.
fn as_list(name: &str, node: &Node) -> Option<String> {
    let (of, item) = match &node.value {
        Value::Whole(number) => (" of texts", format!("\"{number}\"")),
        Value::Table(table) if is_inline(table, node) => ("", "{ ... }".to_owned()),
        Value::Text(text) => ("", format!("\"{}\"", quoted(text.shown()))),
        _ => return None,
    };
    Some(format!("write it as a list{of}: `{name} = [{item}]`"))
}

/// For something else in the place of a table of names. A lone value that stands
/// for all names is written for one of them, unless it may be a secret.
fn pairs(name: &str, of_name: &str, of: &Kind, node: &Node) -> String {
    let lone = match (of, &node.value) {
        (Kind::Text(text), Value::Text(lone)) if !text.is_free() && text.takes(&lone.text) => {
            Some(quoted(lone.shown()))
        }
        _ => as_percentage(of, node),
    };
    // The documents write statuses in quotes.
    let is_bare =
        of_name.chars().all(is_of_name) && !of_name.starts_with(|c: char| c.is_ascii_digit());
    let of_name = match is_bare {
        true => of_name.to_owned(),
        false => format!("\"{of_name}\""),
    };
    match lone {
        Some(lone) => format!("write `{name} = {{ {of_name} = \"{lone}\" }}`"),
        None => {
            let value = of.example().unwrap_or("value");
            format!("such as `{name} = {{ {of_name} = \"{value}\" }}`")
        }
    }
}

/// A decimal number in the place of a percentage, as one. The number is a share
/// of one, as other gateways have it, or else the percentage itself.
fn as_percentage(kind: &Kind, node: &Node) -> Option<String> {
    let (Kind::Text(text), Value::Decimal(number)) = (kind, &node.value) else {
        return None;
    };
    let example = text.example.as_deref().unwrap_or_default();
    let meant = match (0.0..=1.0).contains(number) {
        true => units::percent_of(*number),
        false => format!("{number}%"),
    };
    (example.ends_with('%') && text.takes(&meant)).then_some(meant)
}

/// For something else in the place of a string: an example, the default of the
/// key if it has one.
fn instead_of_text(key: &LanguageKey, kind: &Kind, node: &Node) -> Option<String> {
    let name = key.name.as_str();
    if let (Value::Flag(flag), Kind::Map(..)) = (&node.value, &key.kind) {
        return Some(format!("write it in quotes: `\"{flag}\"`"));
    }
    if let Some(percent) = as_percentage(kind, node) {
        return Some(format!("write `\"{percent}\"`"));
    }
    let default = key.default.as_ref().and_then(serde_json::Value::as_str);
    let default = default.filter(|text| !text.is_empty());
    let example = default.or(kind.example())?;
    Some(format!("such as `{name} = \"{example}\"`"))
}

/// For something else in the place of a number. A string with a number in it is
/// written without its quotes.
///
/// Text of a variable is not looked into, as it may be a secret.
fn number(name: &str, node: &Node) -> String {
    match value_as_number(&node.value) {
        Some(number) => format!("write the number without quotes: `{name} = {number}`"),
        None => "write a whole number, without quotes".to_owned(),
    }
}

/// For a value that may be a word such as "off", too.
///
/// `word` is the special word of the key, such as "off" or "auto". Where the
/// key holds a text, a negative number is read as the word, as several programs
/// write -1 for "no bound", and so is 0. `None` leaves the advice to the other
/// kind.
fn or_other(name: &str, word: &str, other: &Kind, node: &Node) -> Option<String> {
    Some(match (&node.value, other) {
        (Value::Whole(..0), Kind::Text(_)) => format!("write `{name} = \"{word}\"`"),
        (Value::Whole(0), Kind::Text(_)) => format!("write `{name} = \"{word}\"` for none"),
        (Value::Flag(false), _) if word == "off" => format!("write `{name} = \"off\"`"),
        (Value::Text(_), Kind::Whole { .. }) => {
            format!("write a number without quotes, or \"{word}\"")
        }
        (Value::Flag(_) | Value::Decimal(_) | Value::Foreign(_), Kind::Text(text)) => {
            format!(
                "such as `{name} = \"{}\"`, or \"{word}\"",
                text.example.as_deref()?
            )
        }
        _ => return None,
    })
}

/// For something else in the place of true or false. Numbers and words that
/// mean one of them are translated.
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
///
/// A switch or a number is compared as text, so that `true` finds the word that
/// has `true` among its translations.
fn choice(name: &str, words: &[String], node: &Node) -> String {
    let written = match &node.value {
        Value::Flag(flag) => flag.to_string(),
        Value::Whole(number) => number.to_string(),
        _ => String::new(),
    };
    let known: Vec<_> = words.iter().map(|word| &**word).collect();
    match suggest::nearest(&written, &known) {
        Some(word) => format!("write `{name} = \"{word}\"`"),
        None => format!("write one of {}", in_quotes(words)),
    }
}
