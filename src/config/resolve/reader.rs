//! Reads the keys of one section: what the file says, or else the default that the language declares.

use std::num::{NonZeroU32, NonZeroUsize};

use super::super::{
    problem::Wrong,
    schema::{Default, Kind, Section},
    source::Span,
    tree::{Entry, Node, Table, Value},
};

/// A table of the file under its section of the language.
///
/// Every reader answers `None` for a value that is broken (and was reported), or absent without a default.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    section: &'static Section,
    /// `None` when the table is absent: everything is at its default.
    table: Option<&'a Table>,
    /// The table itself is broken: nothing can be said about its keys.
    broken: bool,
    /// Where it begins.
    pub(super) at: Span,
}

impl<'a> Reader<'a> {
    pub(super) fn new(section: &'static Section, table: &'a Table, at: Span) -> Self {
        Self {
            section,
            table: Some(table),
            broken: false,
            at,
        }
    }

    fn of(section: &'static Section, node: &'a Node) -> Self {
        Self {
            section,
            table: node.table(),
            broken: node.is_broken(),
            at: node.span,
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.table?.get(key)
    }

    /// The value, when it is given and sound.
    pub(super) fn given(&self, key: &str) -> Option<&'a Node> {
        self.entry(key)
            .map(|entry| &entry.node)
            .filter(|node| !node.is_broken())
    }

    /// Given by the route itself and not by `[defaults]`.
    pub(super) fn own(&self, key: &str) -> Option<&'a Node> {
        self.given(key)
            .filter(|_| self.entry(key).is_some_and(|entry| !entry.inherited))
    }

    pub(super) fn is_broken(&self, key: &str) -> bool {
        self.broken || self.entry(key).is_some_and(|entry| entry.node.is_broken())
    }

    /// Where a key's value stands, or else the section.
    pub(super) fn place(&self, key: &str) -> Span {
        self.entry(key).map_or(self.at, |entry| entry.node.span)
    }

    fn default(&self, key: &str) -> Option<Default> {
        let absent = !self.broken && self.entry(key).is_none();
        absent
            .then(|| self.section.key(key).map(|key| key.default))
            .flatten()
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        match self.default(key) {
            Some(Default::Text(text)) => Some(text),
            _ => self.given(key)?.text(),
        }
    }

    /// The value through a parser that accepted it once already.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        parse(self.text(key)?).ok()
    }

    /// As [`Self::parsed`], where "off" is `Some(None)`.
    pub(super) fn unless_off<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Option<T>> {
        match self.text(key)? {
            "off" => Some(None),
            text => parse(text).ok().map(Some),
        }
    }

    pub(super) fn whole(&self, key: &str) -> Option<u64> {
        match (self.default(key), self.given(key).map(|node| &node.value)) {
            (Some(Default::Whole(number)), _) => Some(number),
            (_, Some(Value::Whole(number))) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(super) fn count(&self, key: &str) -> Option<usize> {
        self.whole(key)
            .and_then(|number| usize::try_from(number).ok())
    }

    pub(super) fn at_least_one(&self, key: &str) -> Option<NonZeroUsize> {
        self.count(key).and_then(NonZeroUsize::new)
    }

    pub(super) fn at_least_one_u32(&self, key: &str) -> Option<NonZeroU32> {
        self.whole(key)
            .and_then(|number| u32::try_from(number).ok())
            .and_then(NonZeroU32::new)
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match (self.default(key), self.given(key).map(|node| &node.value)) {
            (Some(Default::Flag(flag)), _) => Some(flag),
            (_, Some(Value::Flag(flag))) => Some(*flag),
            _ => None,
        }
    }

    /// The sound elements of a list (a lone text is a list of one), each through a parser; empty when absent.
    pub(super) fn list<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Vec<T> {
        match self.default(key) {
            Some(Default::Texts(texts)) => {
                texts.iter().filter_map(|text| parse(text).ok()).collect()
            }
            _ => self
                .items(key)
                .iter()
                .filter_map(|item| parse(item.text()?).ok())
                .collect(),
        }
    }

    /// The elements of a list as they stand in the file, broken ones included.
    pub(super) fn items(&self, key: &str) -> &'a [Node] {
        self.given(key).map_or(&[], Node::items)
    }

    /// The sound pairs of a table with free names, in name order, with the place of each name.
    pub(super) fn pairs<N, V>(
        &self,
        key: &str,
        name: impl Fn(&str) -> Result<N, Wrong>,
        value: impl Fn(&str) -> Result<V, Wrong>,
    ) -> Vec<(N, V, Span)> {
        let entries = self
            .given(key)
            .and_then(Node::table)
            .map(|table| &table.entries);
        let pair = |(key, entry): (&String, &Entry)| {
            Some((name(key).ok()?, value(entry.node.text()?).ok()?, entry.key))
        };
        entries.into_iter().flatten().filter_map(pair).collect()
    }

    /// A section below this one; absent, it is all defaults.
    pub(super) fn table(&self, key: &str) -> Reader<'a> {
        let section = match self.section.key(key).map(|key| key.kind) {
            Some(
                Kind::Table(section)
                | Kind::WholeOrTable { table: section, .. }
                | Kind::TextOrTable(_, section),
            ) => section,
            _ => self.section,
        };
        match self.entry(key) {
            Some(entry) => Reader::of(section, &entry.node),
            None => Reader {
                section,
                table: None,
                broken: self.broken,
                at: self.at,
            },
        }
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(&self, key: &str) -> Vec<Reader<'a>> {
        let Some(Kind::Tables(section)) = self.section.key(key).map(|key| key.kind) else {
            return Vec::new();
        };
        let Some(Value::List(items)) = self.given(key).map(|node| &node.value) else {
            return Vec::new();
        };
        items.iter().map(|node| Reader::of(section, node)).collect()
    }

    /// The tables of `[key.NAME]`, in name order, with the place of each name.
    pub(super) fn named(&self, key: &str) -> Vec<(&'a str, Reader<'a>)> {
        let Some(Kind::Named(section)) = self.section.key(key).map(|key| key.kind) else {
            return Vec::new();
        };
        let entries = self
            .given(key)
            .and_then(Node::table)
            .map(|table| &table.entries);
        let reader = |(name, entry): (&'a String, &'a Entry)| {
            (name.as_str(), Reader::of(section, &entry.node))
        };
        entries.into_iter().flatten().map(reader).collect()
    }
}
