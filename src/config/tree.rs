//! The values of all files with their places, before anything knows what they
//! mean.
//!
//! `parse` makes the tree from TOML, past syntax errors, with the environment
//! filled in; `include` joins those of several files; `resolve::defaults`
//! copies the keys of `[defaults]` below each route; `de` reads it. The tree of
//! the running configuration is kept for the view at `/config`: it is smaller
//! than the structs of `wire`, which hold every default of every route.

use std::collections::BTreeMap;

use super::source::Span;

/// A value and where it stands. The span covers its quotes or brackets; that of
/// a table with a header covers the header.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// TOML's values, as far as the language needs them.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A string, in any of the four notations of TOML.
    Text(Text),
    /// An integer.
    Whole(i64),
    Flag(bool),
    /// A decimal number, which no key takes. It is kept for advice.
    Decimal(f64),
    /// A type that the language never uses; its name.
    Foreign(&'static str),
    /// A list in brackets, or tables below `[[name]]`.
    List(Vec<Node>),
    /// A table in braces, below a header, or made by dotted keys.
    Table(Table),
    /// Something wrong that was reported. It is not reported again further on:
    /// one mistake, one diagnostic.
    Broken,
}

/// A string.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// With the environment filled in.
    pub(super) text: Box<str>,
    /// As written, when that differs; what came from the environment may be a
    /// secret.
    pub(super) written: Option<Box<str>>,
}

/// Keys and values of a table, sorted by key: diagnostics are sorted by their
/// place later, so the order of the file is not kept.
///
/// Entries are boxed, as a map has room for eleven of them and most tables have
/// one to four.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) entries: BTreeMap<String, Box<Entry>>,
}

/// One `key = value`.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The place of the key, without the `=`.
    pub(super) key: Span,
    pub(super) node: Node,
    /// It comes from `[defaults]`; what a route says itself is held to more.
    pub(super) inherited: bool,
}

impl Node {
    /// A value that was reported as wrong.
    pub(super) fn broken(span: Span) -> Self {
        let value = Value::Broken;
        Self { span, value }
    }

    /// A string in which nothing came from the environment.
    pub(super) fn text_at(text: &str, span: Span) -> Self {
        let value = Value::Text(Text {
            text: text.into(),
            written: None,
        });
        Self { span, value }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(&text.text),
            _ => None,
        }
    }

    pub(super) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(super) fn table_mut(&mut self) -> Option<&mut Table> {
        match &mut self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The elements of a list; a lone value counts as a list of one.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self.value, Value::Broken)
    }

    /// The name of its type in a diagnostic.
    pub(super) fn type_name(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "a string",
            Value::Whole(_) => "a number",
            Value::Flag(_) => "true or false",
            Value::Decimal(_) => "a decimal number",
            Value::Foreign(name) => name,
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Broken => "broken",
        }
    }
}

impl Text {
    /// Between the braces, where the whole string is one `${...}`.
    pub(super) fn variable(&self) -> Option<&str> {
        let inside = self
            .written
            .as_deref()?
            .strip_prefix("${")?
            .strip_suffix('}')?;
        Some(inside).filter(|inside| !inside.contains('}'))
    }

    /// The string as it may be shown to people.
    pub(super) fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.text)
    }
}

impl Entry {
    /// An entry that no file has, at the place of something else.
    pub(super) fn at(span: Span, value: Value) -> Self {
        Self {
            key: span,
            node: Node { span, value },
            inherited: false,
        }
    }
}

impl Table {
    /// A table of one entry.
    pub(super) fn of(key: &str, entry: Entry) -> Self {
        let mut table = Self::default();
        table.insert(key, entry);
        table
    }

    /// The entries, in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let entries = self.entries.iter();
        entries.map(|(key, entry)| (key.as_str(), &**entry))
    }

    /// Adds an entry, in the place of the one that this key has.
    pub(super) fn insert(&mut self, key: &str, entry: Entry) {
        self.entries.insert(key.to_owned(), Box::new(entry));
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key).map(Box::as_ref)
    }
}
