//! The parts of a field, and the items of a list.
//!
//! Both are sequences for serde: a field is one of a place and a value, a list
//! is one of its items. The visitor of a field asks again after
//! [`ReadError::Reported`]. Items of a list are fields themselves, which do not
//! fail.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, SeqAccess, value::SeqDeserializer};

use super::{
    super::{problem::Problem, source::Span, tree::Node},
    error::ReadError,
    node::{Context, NodeDeserializer},
};

/// Place and value of a [`Field`](super::super::field::Field), which asks for
/// the value until it gets one or the parts end.
///
/// A table that lacks required keys tells one of them at a time: each is
/// reported, and the value is given again with that key known to be absent.
/// Everything else that is wrong is reported again, too, and
/// [`Problems`](super::super::problem::Problems) drops the repetition. After
/// any other mistake the parts end without a value.
pub(super) struct FieldParts<'a> {
    /// The number of the file, the first byte, the byte behind the last, and 1
    /// for a value from `[defaults]`; `None` once it was given.
    place: Option<[u32; 4]>,
    /// `None` once the value was refused.
    value: Option<NodeDeserializer<'a>>,
    /// Required keys of the table that were reported as missing.
    absent: Vec<&'static str>,
}

impl<'a> FieldParts<'a> {
    pub(super) fn new(value: NodeDeserializer<'a>) -> Self {
        let Span { file, start, end } = value.node.span;
        let is_inherited = u32::from(value.context.is_inherited);
        Self {
            place: Some([file, start, end, is_inherited]),
            value: Some(value),
            absent: Vec::new(),
        }
    }
}

impl<'de> SeqAccess<'de> for FieldParts<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        if let Some(place) = self.place.take() {
            let place = SeqDeserializer::new(place.into_iter());
            return seed.deserialize(place).map(Some);
        }
        let Some(value) = self.value else {
            return Ok(None);
        };
        let absent = self.absent.as_slice();
        match seed.deserialize(NodeDeserializer { absent, ..value }) {
            Ok(value) => return Ok(Some(value)),
            Err(ReadError::Missing(key)) if !absent.contains(&key) => {
                value.missing(key);
                self.absent.push(key);
            }
            Err(error) => {
                value.mistake(error);
                self.value = None;
            }
        }
        Err(ReadError::Reported)
    }
}

/// Items of a list. An item that repeats an earlier one is reported, and given
/// as a value that was: the list keeps its length, and the place of each item.
pub(super) struct ListAccess<'a> {
    /// Borrowed from the tree, or made from the text of a variable.
    pub(super) items: Cow<'a, [Node]>,
    /// The index of the item that is given next.
    pub(super) next: usize,
    /// No string may stand in it twice.
    pub(super) is_unique: bool,
    /// That of the items.
    pub(super) context: Context<'a>,
}

/// Items before one that it is compared with. Lists of networks may have
/// hundreds of thousands, and the search is quadratic; beyond this number an
/// item is taken without a search, as repetitions do no harm.
const MOST_COMPARED: usize = 1000;

impl ListAccess<'_> {
    /// The item before this one that is the same.
    ///
    /// Only strings are compared. `None` for other items, for lists that may
    /// repeat, and from item [`MOST_COMPARED`] on.
    fn twin(&self, at: usize) -> Option<&Node> {
        let is_compared = self.is_unique && at < MOST_COMPARED;
        let text = self.items.get(at).filter(|_| is_compared)?.text()?;
        let before = self.items.iter().take(at);
        before.into_iter().find(|other| other.text() == Some(text))
    }

    fn twice(&self, item: &Node, first: &Node) -> Problem {
        let message = format!("`{}` has this twice", self.context.key);
        Problem::twice(item.span, first.span, message).help("keep one of the two")
    }
}

impl<'de> SeqAccess<'de> for ListAccess<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let at = self.next;
        self.next += 1;
        let Some(item) = self.items.get(at) else {
            return Ok(None);
        };
        let Some(first) = self.twin(at) else {
            let item = NodeDeserializer::new(item, self.context);
            return seed.deserialize(item).map(Some);
        };
        let broken = Node::broken(item.span);
        let broken = NodeDeserializer::new(&broken, self.context);
        broken.report(self.twice(item, first));
        seed.deserialize(broken).map(Some)
    }
}
