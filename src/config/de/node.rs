//! A value of the tree, with everything that its deserialization needs.

use serde::de::{Error as _, Expected, Unexpected};

use super::{
    super::{
        language,
        tree::{Node, Value},
    },
    collector::Collector,
    error::ReadError,
};

/// Where in the language a value stands.
///
/// It goes down the tree with each value, on the stack. Together, `section`,
/// `key` and `depth` select the [`Kind`](super::super::language::Kind) of the
/// value when there is a mistake to explain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) collector: &'a Collector,
    /// The path of the section that has the key, such as `routes.timeouts`.
    pub(super) section: &'a str,
    /// The key; empty for the file itself.
    pub(super) key: &'a str,
    /// How far inside of lists and named sections of the key the value is.
    pub(super) depth: usize,
    /// In a table of names that the user chooses: the name.
    pub(super) name: Option<&'a str>,
    /// It comes from `[defaults]`, where its mistakes were reported.
    pub(super) is_inherited: bool,
}

impl<'a> Context<'a> {
    pub(super) fn of_file(collector: &'a Collector) -> Self {
        Self {
            collector,
            section: "",
            key: "",
            depth: 0,
            name: None,
            is_inherited: false,
        }
    }

    /// The context of a value that lies one list or named section further in.
    pub(super) fn inside(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }

    /// The path of the section that is the value here.
    pub(super) fn path(&self) -> String {
        language::below(self.section, self.key)
    }
}

/// Deserializes a value of the tree. It is two references and a few words, and
/// is copied where serde consumes a deserializer.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeDeserializer<'a> {
    pub(super) node: &'a Node,
    pub(super) context: Context<'a>,
    /// Keys of this table that were reported as missing: they have no value,
    /// instead of being missing again.
    pub(super) absent: &'a [&'static str],
}

impl<'a> NodeDeserializer<'a> {
    pub(super) fn new(node: &'a Node, context: Context<'a>) -> Self {
        Self {
            node,
            context,
            absent: &[],
        }
    }

    /// The error of a value whose type does not fit. A value that was reported
    /// while the file was parsed is not reported again.
    pub(super) fn wrong_type(&self, expected: &dyn Expected) -> ReadError {
        match &self.node.value {
            Value::Broken => ReadError::Reported,
            _ => ReadError::invalid_type(Unexpected::Other(self.node.type_name()), expected),
        }
    }
}
