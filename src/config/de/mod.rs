//! Deserializes the tree of a file into the structs of `wire`, past every
//! mistake.
//!
//! Each value of the structs is a [`Field`](super::field::Field). Its
//! deserialization ends here, in [`parts`]: a mistake is reported to the
//! [`Collector`] with the place of the value, and the field has no value then.
//! Errors never travel further up, so the neighbours of a wrong value are read,
//! too. Tables find their unknown keys themselves, since serde hands them the
//! names of the fields.

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

/// The keys of a whole file, or of a part of one. Every mistake is reported to
/// `problems`.
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
