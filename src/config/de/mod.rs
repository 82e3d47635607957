//! Deserializes the tree of a file into the structs of `wire`, past every
//! mistake.
//!
//! serde ends at the first error, and knows no places. Both are mended here,
//! with the trick of [`toml::Spanned`]: a type asks its deserializer for
//! something special by a name that no other type has. These are the names, and
//! the methods of serde that carry them:
//!
//! | type of `wire` | asks with | and is given |
//! |---|---|---|
//! | [`Field`] | `newtype_struct("$field")` | its place, then its value |
//! | `Items` | `tuple_struct("$list", rules)` | the items, checked by these rules |
//! | `Names` | `newtype_struct("$named" or "$pairs")` | names and values |
//! | `Either` | `newtype_struct("$either")` | the value, as short or long form |
//! | `Scalar` | `str` or `u64` | a string or a number |
//! | a struct | `struct` | its keys, without the unknown ones |
//! | an enum | `enum` | one of its words |
//!
//! Each value of the structs is a [`Field`]. A [`ReadError`](error::ReadError)
//! travels from the place where it is found up to the next field, and ends
//! there, in
//! [`parts`]: it is reported to the [`Collector`] with the place of the value,
//! and the field has no value then. So the neighbours of a wrong value are
//! read, too, and one reading finds every mistake. Tables find their unknown
//! keys themselves, since serde hands them the names of the fields.
//!
//! | file | |
//! |---|---|
//! | `deserializer` | which method of a visitor gets a value |
//! | `node` | a value of the tree, and where in the language it stands |
//! | `parts` | the parts of a field, the items of a list |
//! | `tables` | the keys of a section, names that the user chooses |
//! | `error` | the errors of visitors, without a place |
//! | `mistakes` | the diagnostics that they become, with advice from the language |
//! | `collector` | the mistakes found so far |
//!
//! The language as data ([`language`](super::language)) is asked for advice
//! only: a file without mistakes is read without it.

mod collector;
mod deserializer;
mod error;
mod mistakes;
mod node;
mod parts;
mod tables;

use serde::{Deserialize as _, de::DeserializeOwned};

use self::{
    collector::Collector,
    node::{Context, NodeDeserializer},
};
use super::{
    field::Field,
    problem::Problems,
    source::Span,
    tree::{Node, Table, Value},
};

/// Reads a whole file, or a part of one that stands at `at`, and gives its tree
/// back.
///
/// Every mistake is reported to `problems`. The value then lacks what is wrong;
/// after a mistake that concerns the file as a whole it is the default.
pub(super) fn read<T: DeserializeOwned + Default>(
    table: Table,
    at: Span,
    problems: &mut Problems,
) -> (T, Table) {
    let node = Node {
        span: at,
        value: Value::Table(table),
    };
    let collector = Collector::new(std::mem::take(problems));
    let deserializer = NodeDeserializer::new(&node, Context::of_file(&collector));
    let field: Option<Field<T>> = Field::deserialize(deserializer).ok();
    *problems = collector.into_problems();
    let table = match node.value {
        Value::Table(table) => table,
        _ => Table::default(),
    };
    let value = field.and_then(|field| field.value);
    (value.unwrap_or_default(), table)
}
