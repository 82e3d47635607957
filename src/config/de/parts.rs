//! The parts of a field, of a list, and of a value that has a short form.

use std::borrow::Cow;

use serde::de::{
    DeserializeSeed, EnumAccess, Error as _, IntoDeserializer, SeqAccess, VariantAccess, Visitor,
    value::SeqDeserializer,
};

use super::{
    super::{
        problem::{Code, Problem},
        source::Span,
        tree::{Node, Value},
    },
    error::Error,
    node::{Context, NodeDeserializer},
};

/// A value that was reported as wrong, at this place.
pub(super) fn broken(span: Span) -> Node {
    Node {
        span,
        value: Value::Broken,
    }
}

/// Place and value of a field.
///
/// A table that lacks required keys tells one of them at a time: each is
/// reported, and the value is asked for again with that key known to be absent.
/// Whatever else is wrong is reported again, too, which changes nothing.
pub(super) struct FieldParts<'a> {
    value: NodeDeserializer<'a>,
    absent: Vec<&'static str>,
    next: Part,
}

enum Part {
    Place,
    Value,
    End,
}

impl<'a> FieldParts<'a> {
    pub(super) fn new(value: NodeDeserializer<'a>) -> Self {
        Self {
            value,
            absent: Vec::new(),
            next: Part::Place,
        }
    }

    fn report(&mut self, error: Error) {
        match error {
            Error::Missing(key) if !self.absent.contains(&key) => {
                self.value.missing(key);
                self.absent.push(key);
            }
            error => {
                self.value.mistake(error);
                self.next = Part::End;
            }
        }
    }
}

impl<'de> SeqAccess<'de> for FieldParts<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        match self.next {
            Part::Place => {
                self.next = Part::Value;
                let Span { file, start, end } = self.value.node.span;
                let place = [
                    file,
                    start,
                    end,
                    usize::from(self.value.context.is_inherited),
                ];
                seed.deserialize(SeqDeserializer::new(place.into_iter()))
                    .map(Some)
            }
            Part::Value => {
                let value = NodeDeserializer {
                    absent: &self.absent,
                    ..self.value
                };
                match seed.deserialize(value) {
                    Ok(value) => {
                        self.next = Part::End;
                        Ok(Some(value))
                    }
                    Err(error) => {
                        self.report(error);
                        Err(Error::Reported)
                    }
                }
            }
            Part::End => Ok(None),
        }
    }
}

/// Items of a list.
pub(super) struct ListAccess<'a> {
    items: Cow<'a, [Node]>,
    next: usize,
    /// No string may stand in it twice.
    is_unique: bool,
    context: Context<'a>,
}

/// Items before one that it is compared with: lists of networks may be long,
/// and the search is quadratic.
const MOST_COMPARED: usize = 1000;

impl<'a> ListAccess<'a> {
    pub(super) fn new(items: Cow<'a, [Node]>, is_unique: bool, context: Context<'a>) -> Self {
        Self {
            items,
            next: 0,
            is_unique,
            context,
        }
    }

    /// The item before this one that is the same.
    fn twin(&self, item: &Node, at: usize) -> Option<&Node> {
        let before = self.items.get(..at)?;
        let is_compared = self.is_unique && item.text().is_some() && before.len() < MOST_COMPARED;
        let mut before = before.iter().filter(|_| is_compared);
        before.find(|other| other.text() == item.text())
    }

    fn report_twice(&self, item: &Node, first: &Node) {
        let message = format!("`{}` has this twice", self.context.key);
        let problem = Problem::new(Code::Duplicate, item.span, message)
            .also(first.span, "first here")
            .help("keep one of the two");
        if !self.context.is_inherited {
            self.context.collector.report(problem);
        }
    }
}

impl<'de> SeqAccess<'de> for ListAccess<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let at = self.next;
        let Some(item) = self.items.get(at) else {
            return Ok(None);
        };
        self.next += 1;
        match self.twin(item, at) {
            Some(first) => {
                self.report_twice(item, first);
                let item = broken(item.span);
                seed.deserialize(NodeDeserializer::new(&item, self.context))
            }
            None => seed.deserialize(NodeDeserializer::new(item, self.context)),
        }
        .map(Some)
    }
}

/// The short or the long form of a value.
pub(super) struct EitherAccess<'a> {
    pub(super) value: NodeDeserializer<'a>,
    pub(super) is_long: bool,
}

impl<'de, 'a> EnumAccess<'de> for EitherAccess<'a> {
    type Error = Error;
    type Variant = EitherValue<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, EitherValue<'a>), Error> {
        let is_long = seed.deserialize(self.is_long.into_deserializer())?;
        Ok((is_long, EitherValue(self.value)))
    }
}

pub(super) struct EitherValue<'a>(NodeDeserializer<'a>);

impl<'de> VariantAccess<'de> for EitherValue<'_> {
    type Error = Error;

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.0)
    }

    fn unit_variant(self) -> Result<(), Error> {
        Err(Error::custom("a form without a value"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a form of several values"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        Err(Error::custom("a form with names"))
    }
}
