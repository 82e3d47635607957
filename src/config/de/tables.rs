//! The entries of tables: the keys of a section, and names that the user
//! chooses.
//!
//! serde asks for a key, then for its value, until there is no further key.
//!
//! Tables of the tree are sorted by name, so that keys are read, and their
//! mistakes found, in the order of the alphabet. Diagnostics are sorted by
//! their place before they are shown.

use std::collections::btree_map;

use serde::de::{DeserializeSeed, Error as _, IntoDeserializer, MapAccess};

use super::{
    super::{
        language,
        problem::{Code, Problem},
        redact,
        source::Span,
        syntax,
        tree::{Entry, Node, Table},
    },
    error::ReadError,
    node::{Context, NodeDeserializer},
};

/// Keys and values of a section: those that the file has, then those that are
/// absent and were reported, without a value.
///
/// The second kind exists because serde refuses a struct as a whole when a
/// required key is missing. With a value that counts as reported, the struct is
/// complete, and `resolve` looks at its other keys. These are keys that an
/// earlier attempt found missing, and those whose value stands elsewhere by
/// mistake: under a misspelt name here, or in a table inside or around.
pub(super) struct SectionAccess<'a> {
    /// The table as a value, with its place and its context.
    section: NodeDeserializer<'a>,
    /// The path of the section.
    path: String,
    /// The keys that it may have.
    fields: &'static [&'static str],
    /// The table itself, which unknown keys are explained with.
    table: &'a Table,
    /// The entries of the file that were not read yet.
    entries: btree_map::Iter<'a, String, Box<Entry>>,
    /// Keys noted by the collector before this section.
    noted: usize,
    /// Keys that are not there and count as reported; `None` until all others
    /// were read.
    absent: Option<std::vec::IntoIter<&'static str>>,
    /// The key that was given last, whose value is asked for next; without an
    /// entry if it counts as reported.
    next: Option<(&'a str, Option<&'a Entry>)>,
}

impl<'a> SectionAccess<'a> {
    pub(super) fn new(
        section: NodeDeserializer<'a>,
        table: &'a Table,
        fields: &'static [&'static str],
    ) -> Self {
        let path = section.context.path();
        #[cfg(test)]
        assert_has_the_keys_of_the_schema(&path, fields);
        Self {
            path,
            fields,
            table,
            entries: table.entries.iter(),
            noted: section.context.collector.noted(),
            absent: None,
            next: None,
            section,
        }
    }

    /// The next key of the file that the section knows. Those on the way that
    /// it does not know are reported.
    ///
    /// `None` when the entries of the file are used up.
    fn next_known(&mut self) -> Option<(&'a str, Option<&'a Entry>)> {
        for (key, entry) in self.entries.by_ref() {
            if self.fields.contains(&key.as_str()) {
                return Some((key, Some(entry)));
            }
            self.section.unknown(&self.path, key, entry, self.table);
        }
        None
    }

    /// Keys that were reported as missing, and those that stand in another
    /// place or under another name. In the order of the struct, each once.
    fn absent(&self) -> std::vec::IntoIter<&'static str> {
        let collector = self.section.context.collector;
        let meant = collector.take_noted(self.noted, &self.path);
        let is_absent = |key: &&&'static str| {
            let is_known = meant.iter().any(|meant| meant == *key);
            (is_known || self.section.absent.contains(*key)) && self.table.get(key).is_none()
        };
        let absent: Vec<_> = self.fields.iter().filter(is_absent).copied().collect();
        absent.into_iter()
    }
}

impl<'de> MapAccess<'de> for SectionAccess<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.next = self.next_known();
        if self.next.is_none() {
            let mut absent = self.absent.take().unwrap_or_else(|| self.absent());
            self.next = absent.next().map(|key| (key, None));
            self.absent = Some(absent);
        }
        match self.next {
            Some((key, _)) => seed.deserialize(key.into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((key, entry)) = self.next else {
            return Err(ReadError::custom("a value before its key"));
        };
        let mut context = Context {
            section: &self.path,
            key,
            depth: 0,
            name: None,
            ..self.section.context
        };
        let Some(entry) = entry else {
            let node = Node::broken(self.section.node.span);
            return seed.deserialize(NodeDeserializer::new(&node, context));
        };
        context.is_inherited = entry.inherited;
        seed.deserialize(NodeDeserializer::new(&entry.node, context))
    }
}

/// Panics if the struct of a section has another key than the schema has there.
/// Advice is taken from the schema, and would not know of it.
#[cfg(test)]
fn assert_has_the_keys_of_the_schema(path: &str, fields: &[&str]) {
    let section = language::section(path);
    let keys = section.into_iter().flat_map(|section| &section.keys);
    let keys: Vec<_> = keys.map(|key| key.name.as_str()).collect();
    assert_eq!(keys, fields, "[{path}]");
}

/// Names that the user chooses, and their values.
pub(super) struct NamesAccess<'a> {
    entries: btree_map::Iter<'a, String, Box<Entry>>,
    /// The values are sections, and not strings.
    of_sections: bool,
    /// That of the table.
    context: Context<'a>,
    /// The name before its value is read.
    next: Option<(&'a str, &'a Entry)>,
    /// A key of the sections below that stands before them: it may be that of
    /// any, so that nothing is known of all.
    loose: Option<(&'a str, Span)>,
}

impl<'a> NamesAccess<'a> {
    pub(super) fn new(table: &'a Table, of_sections: bool, context: Context<'a>) -> Self {
        Self {
            entries: table.entries.iter(),
            of_sections,
            context,
            next: None,
            loose: None,
        }
    }

    /// Checks the name of a section, which `key` deserializes, and notes a key
    /// of sections that stands in the place of a name.
    fn section(&mut self, name: &'a str, entry: &Entry, key: NodeDeserializer<'_>) {
        if let Err(wrong) = syntax::name(name) {
            key.mistake(ReadError::Value(wrong));
        }
        let is_plain = entry.node.table().is_none() && !entry.node.is_broken();
        if is_plain && language::key(&self.context.path(), name).is_some() {
            self.loose.get_or_insert((name, entry.key));
        }
    }

    /// After the last name: reports a loose key, and gives up the whole table.
    fn end(&self) -> Result<(), ReadError> {
        let Some((name, at)) = self.loose else {
            return Ok(());
        };
        let key = self.context.key;
        let message = format!("`{name}` stands in `[{key}]` itself, which has only names");
        let problem = Problem::new(Code::WrongType, at, message);
        let help = format!("write `[{key}.NAME]` above it");
        self.context.collector.report(problem.help(help));
        Err(ReadError::Reported)
    }
}

impl<'de> MapAccess<'de> for NamesAccess<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let next = self.entries.next();
        self.next = next.map(|(name, entry)| (name.as_str(), &**entry));
        let Some((name, entry)) = self.next else {
            return self.end().map(|()| None);
        };
        let context = Context {
            is_inherited: entry.inherited,
            ..self.context
        };
        let node = Node::text_at(name, entry.key);
        let key = NodeDeserializer::new(&node, context);
        if self.of_sections {
            self.section(name, entry, key);
        } else {
            let covered = &mut self.context.collector.problems().covered;
            redact::of_free_name(name, &entry.node, covered);
        }
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((name, entry)) = self.next else {
            return Err(ReadError::custom("a value before its name"));
        };
        let context = Context {
            name: Some(name),
            is_inherited: entry.inherited,
            ..self.context.inside()
        };
        seed.deserialize(NodeDeserializer::new(&entry.node, context))
    }
}
