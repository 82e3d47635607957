//! The keys of a section, the names of a table of free names, and named
//! sections.

use std::collections::btree_map;

use serde::de::{DeserializeSeed, Error as _, IntoDeserializer, MapAccess};

use super::{
    super::{
        advice, language,
        problem::{Code, Problem},
        source::Span,
        syntax,
        tree::{Entry, Node, Table, Text, Value},
    },
    error::Error,
    node::{Context, NodeDeserializer},
    parts::broken,
};

/// Keys and values of a section.
pub(super) struct StructAccess<'a> {
    table: NodeDeserializer<'a>,
    entries: btree_map::Iter<'a, String, Entry>,
    fields: &'static [&'static str],
    /// The path of the section.
    path: String,
    beside: Vec<&'a str>,
    /// Keys noted by the collector before this section.
    noted: usize,
    value: Option<&'a Entry>,
    /// Keys that are not there and count as reported; `None` until all others
    /// were read.
    absent: Option<std::vec::IntoIter<&'static str>>,
    key: &'a str,
}

impl<'a> StructAccess<'a> {
    pub(super) fn new(
        table: NodeDeserializer<'a>,
        entries: &'a Table,
        fields: &'static [&'static str],
    ) -> Self {
        Self {
            entries: entries.entries.iter(),
            fields,
            path: table.context.path(),
            beside: entries.entries.keys().map(String::as_str).collect(),
            noted: table.context.collector.noted(),
            value: None,
            absent: None,
            key: "",
            table,
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            section: &self.path,
            key: self.key,
            depth: 0,
            pair: None,
            ..self.table.context
        }
    }

    /// Keys that were reported as missing, and those that stand in another
    /// place or under another name.
    fn absent(&self) -> Vec<&'static str> {
        let collector = self.table.context.collector;
        let meant = collector.take_noted(self.noted, &self.path);
        let is_absent = |key: &&&'static str| {
            let is_meant = meant.iter().any(|meant| meant == *key);
            (is_meant || self.table.absent.contains(*key)) && !self.beside.contains(*key)
        };
        self.fields.iter().filter(is_absent).copied().collect()
    }
}

impl<'de> MapAccess<'de> for StructAccess<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.value = None;
        for (key, entry) in self.entries.by_ref() {
            if self.fields.contains(&key.as_str()) {
                self.key = key;
                self.value = Some(entry);
                return seed.deserialize(key.as_str().into_deserializer()).map(Some);
            }
            self.table.unknown(&self.path, key, entry, &self.beside);
        }
        if self.absent.is_none() {
            self.absent = Some(self.absent().into_iter());
        }
        match self.absent.as_mut().and_then(Iterator::next) {
            Some(key) => seed.deserialize(key.into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let context = self.context();
        match self.value {
            Some(entry) => {
                let context = Context {
                    is_inherited: entry.inherited,
                    ..context
                };
                seed.deserialize(NodeDeserializer::new(&entry.node, context))
            }
            None => {
                let node = broken(self.table.node.span);
                seed.deserialize(NodeDeserializer::new(&node, context))
            }
        }
    }
}

/// Free names and their strings.
pub(super) struct PairsAccess<'a> {
    entries: btree_map::Iter<'a, String, Entry>,
    context: Context<'a>,
    next: Option<(&'a str, &'a Entry)>,
}

impl<'a> PairsAccess<'a> {
    pub(super) fn new(table: &'a Table, context: Context<'a>) -> Self {
        Self {
            entries: table.entries.iter(),
            context,
            next: None,
        }
    }
}

/// The name of an entry as a value of its own.
fn name_of(key: &str, entry: &Entry) -> Node {
    Node {
        span: entry.key,
        value: Value::Text(Text {
            text: key.to_owned(),
            written: None,
        }),
    }
}

impl<'de> MapAccess<'de> for PairsAccess<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, entry)) = self.entries.next() else {
            return Ok(None);
        };
        self.context.collector.cover_free_name(name, &entry.node);
        self.next = Some((name, entry));
        let context = Context {
            is_inherited: entry.inherited,
            ..self.context
        };
        let node = name_of(name, entry);
        seed.deserialize(NodeDeserializer::new(&node, context))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((name, entry)) = self.next else {
            return Err(Error::custom("a value before its name"));
        };
        let context = Context {
            pair: Some(name),
            is_inherited: entry.inherited,
            ..self.context.inside()
        };
        seed.deserialize(NodeDeserializer::new(&entry.node, context))
    }
}

/// Named sections.
pub(super) struct NamedAccess<'a> {
    entries: btree_map::Iter<'a, String, Entry>,
    context: Context<'a>,
    value: Option<&'a Entry>,
    /// A key of the sections below that stands before them: it may be that of
    /// any, so that nothing is known of all.
    loose: Option<(&'a str, Span)>,
}

impl<'a> NamedAccess<'a> {
    pub(super) fn new(table: &'a Table, context: Context<'a>) -> Self {
        let path = context.path();
        let is_loose = |(name, entry): &(&String, &Entry)| {
            let is_plain = entry.node.table().is_none() && !entry.node.is_broken();
            is_plain && language::section(&path).is_some_and(|inner| inner.key(name).is_some())
        };
        let loose = table.entries.iter().find(is_loose);
        Self {
            entries: table.entries.iter(),
            context,
            value: None,
            loose: loose.map(|(name, entry)| (name.as_str(), entry.key)),
        }
    }

    /// Reports a value that is no table.
    fn wrong_type(&self, name: &str, entry: &Entry) {
        let path = self.context.path();
        let inner = language::section(&path);
        if inner.is_some_and(|inner| inner.key(name).is_some()) {
            return;
        }
        let message = format!(
            "`{name}` in `[{}]` is a table, not {}",
            self.context.key,
            entry.node.type_name()
        );
        let help = inner.and_then(|inner| advice::in_a_table(name, inner, &entry.node));
        let help = help.unwrap_or_else(|| format!("write `[{}.{name}]`", self.context.key));
        let problem = Problem::new(Code::WrongType, entry.node.span, message).help(help);
        self.context.collector.report(problem);
    }

    fn report_loose(&self, name: &str, at: Span) {
        let key = self.context.key;
        let message = format!("`{name}` stands in `[{key}]` itself, which has only names");
        let help = format!("write `[{key}.NAME]` above it");
        let problem = Problem::new(Code::WrongType, at, message).help(help);
        self.context.collector.report(problem);
    }
}

impl<'de> MapAccess<'de> for NamedAccess<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, entry)) = self.entries.next() else {
            return match self.loose {
                Some((name, at)) => {
                    self.report_loose(name, at);
                    Err(Error::Reported)
                }
                None => Ok(None),
            };
        };
        self.value = Some(entry);
        let node = name_of(name, entry);
        let deserializer = NodeDeserializer::new(&node, self.context);
        if let Err(wrong) = syntax::name(name) {
            deserializer.mistake(Error::Value(wrong));
        }
        if entry.node.table().is_none() && !entry.node.is_broken() {
            self.wrong_type(name, entry);
        }
        seed.deserialize(deserializer).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some(entry) = self.value else {
            return Err(Error::custom("a value before its name"));
        };
        let context = self.context.inside();
        match entry.node.table() {
            Some(_) => seed.deserialize(NodeDeserializer::new(&entry.node, context)),
            None => {
                let node = broken(entry.node.span);
                seed.deserialize(NodeDeserializer::new(&node, context))
            }
        }
    }
}
