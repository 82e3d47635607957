//! How a value of the tree is deserialized, by the type that its field wants.
//!
//! The environment has only strings. A string that is one `${NAME}` and nothing
//! else is converted here, into what the field asks for: a number, true or
//! false, or a list whose items stand between commas.
//!
//! # Types
//!
//! A value has to have the type that its field asks for: nothing but a variable
//! is converted. A number in quotes is a mistake, and gets advice to take the
//! quotes off. A string with a variable and more text around it stays a string.
//!
//! Errors have no place here: the field around the value adds it when it
//! reports them.

use std::borrow::Cow;

use serde::{
    Deserializer,
    de::{IntoDeserializer, Visitor},
    forward_to_deserialize_any,
};

use super::{
    super::{
        field::FIELD,
        tree::{Node, Text, Value},
        wire::{
            lists::rules,
            tables::{EITHER, NAMED, PAIRS, SWITCH_OR},
        },
        wrong::Wrong,
    },
    error::ReadError,
    node::NodeDeserializer,
    parts::{FieldParts, ListAccess},
    tables::{NamesAccess, SectionAccess},
};

/// Methods that no type of `wire` calls end in `deserialize_any`, which takes
/// the value as it is.
impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = ReadError;

    /// A string, a number or a switch, whichever the file has. The visitor of a
    /// type that wants another one says so.
    ///
    /// Integers are those of 64 bits with a sign, as TOML has them. Lists and
    /// tables are never taken this way, since each type of `wire` that holds
    /// them asks with its own name.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_str(&text.text),
            Value::Whole(number) => visitor.visit_i64(*number),
            Value::Flag(flag) => visitor.visit_bool(*flag),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    /// A switch: `true`, `false`, or a variable that holds one of the two.
    ///
    /// Blanks around the text of a variable do not matter. Words such as "yes"
    /// are refused in a variable, too.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Some(variable) = self.variable() else {
            return match &self.node.value {
                Value::Flag(flag) => visitor.visit_bool(*flag),
                _ => Err(self.wrong_type(&"true or false")),
            };
        };
        match variable.text.trim().parse() {
            Ok(flag) => visitor.visit_bool(flag),
            Err(_) => Err(does_not_hold(
                variable,
                "true or false",
                "set it to one of the two",
            )),
        }
    }

    /// A number, or a variable that holds one. A variable with another text is
    /// offered as a switch, or else as a string, for words such as "auto".
    ///
    /// A number below zero reaches the visitor as it is, which refuses it with
    /// its own range.
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Some(variable) = self.variable() else {
            return self.deserialize_any(visitor);
        };
        let text = variable.text.trim();
        if let Ok(number) = text.parse() {
            return visitor.visit_i64(number);
        }
        let read = match text.parse() {
            Ok(flag) => visitor.visit_bool(flag),
            Err(_) => visitor.visit_str(&variable.text),
        };
        read.map_err(|_: ReadError| {
            does_not_hold(variable, "a whole number", "set it to digits, such as 100")
        })
    }

    /// A key that may be absent and is not.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    /// The requests of the types of `wire`, by their names.
    ///
    /// `FIELD` asks for a place and a value, `PAIRS` and `NAMED` for a table
    /// with free names, `EITHER` for one of two forms, and `SWITCH_OR` for a
    /// switch or something else. Any other name is that of a plain wrapper.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match name {
            FIELD => visitor.visit_seq(FieldParts::new(self)),
            PAIRS | NAMED => self.names(name == NAMED, visitor),
            EITHER => self.either(visitor),
            SWITCH_OR => self.switch_or(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    /// A list, with the sum of its [`rules`].
    ///
    /// serde passes the length of a tuple from a type to its deserializer, and
    /// the rules travel in its place.
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        rules: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.list(rules, visitor)
    }

    /// A section, with the names of its keys.
    ///
    /// `fields` is what the access compares the keys of the file with: an
    /// unknown key is reported there.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Table(table) => visitor.visit_map(SectionAccess::new(self, table, fields)),
            _ => Err(self.wrong_type(&"a table")),
        }
    }

    /// One of these words, which are the variants of an enum without fields.
    ///
    /// The word is compared with its case. A wrong one gets the list of all
    /// words, or the nearest.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Text(text) if words.contains(&&*text.text) => {
                visitor.visit_enum((*text.text).into_deserializer())
            }
            Value::Text(_) => Err(ReadError::Choice(words)),
            _ => Err(self.wrong_type(&"a string")),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        map identifier ignored_any
    }
}

impl<'a> NodeDeserializer<'a> {
    /// A string that is one `${...}` and nothing else. The environment has only
    /// texts, and a key wants another type.
    ///
    /// `None` for a string without a variable, and for one that has other text,
    /// too.
    fn variable(&self) -> Option<&'a Text> {
        match &self.node.value {
            Value::Text(text) if text.variable().is_some() => Some(text),
            _ => None,
        }
    }

    /// The items of a list under the sum of these rules. Whether the items are
    /// sound is the business of their own fields.
    ///
    /// A list that may not be empty is refused if it is. A single string stands
    /// for a list of one where the rules say so; elsewhere a variable may hold
    /// all items of a list of strings.
    fn list<'de, V: Visitor<'de>>(self, rules: usize, visitor: V) -> Result<V::Value, ReadError> {
        let has = |rule| rules & rule != 0;
        let mut access = ListAccess {
            items: Cow::Borrowed(self.node.items()),
            next: 0,
            is_unique: has(rules::NONE_TWICE),
            context: self.context.inside(),
        };
        match &self.node.value {
            Value::List(items) if items.is_empty() && !has(rules::MAY_BE_EMPTY) => {
                return Err(ReadError::Empty);
            }
            Value::List(_) => {}
            Value::Text(_) if has(rules::ONE_ALONE) => {}
            Value::Text(text) if text.variable().is_some() && !has(rules::OF_TABLES) => {
                access.items = between_commas(text, self.node).into();
            }
            _ => return Err(self.wrong_type(&visitor)),
        }
        visitor.visit_seq(access)
    }

    /// A table of names that the user chooses, for sections or for strings.
    ///
    /// A value that is no table is covered in diagnostics where free text was
    /// expected, such as the values of headers.
    fn names<'de, V: Visitor<'de>>(
        self,
        of_sections: bool,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if let Value::Table(table) = &self.node.value {
            return visitor.visit_map(NamesAccess::new(table, of_sections, self.context));
        }
        // Values of any form are expected here: there may be secrets among them.
        if !of_sections && !self.node.is_broken() && self.holds_free_text() {
            let mut problems = self.context.collector.problems();
            problems.covered.push(self.node.span);
        }
        Err(self.wrong_type(&visitor))
    }

    /// A short form or a long one, which is a table or a list of tables. A list
    /// of strings is neither. A value of a wrong type gets a message about both
    /// forms, and not about the one that was tried.
    fn either<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let value = match &self.node.value {
            Value::List(items) if items.iter().any(|item| item.text().is_some()) => {
                Err(ReadError::Form)
            }
            Value::List(_) | Value::Table(_) => visitor.visit_some(self),
            _ => visitor.visit_newtype_struct(self),
        };
        match value {
            Err(ReadError::Type { .. }) => Err(ReadError::Form),
            value => value,
        }
    }

    /// A switch, or a list, which says more than a switch. A value of another
    /// type gets a message about both forms.
    fn switch_or<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let value = match &self.node.value {
            Value::List(_) => visitor.visit_some(self),
            _ => visitor.visit_newtype_struct(self),
        };
        match value {
            Err(ReadError::Type { .. }) => Err(ReadError::Form),
            value => value,
        }
    }
}

/// The parts of a list that the environment holds as one text, without spaces
/// around them. All have the place of the variable.
///
/// Empty parts are dropped, so that a comma at the end adds no item. A variable
/// without any text gives a list without items.
fn between_commas(text: &Text, node: &Node) -> Vec<Node> {
    let parts = text.text.split(',').map(str::trim);
    let item = |part: &str| Node {
        span: node.span,
        value: Value::Text(Text {
            text: part.into(),
            written: text.written.clone(),
        }),
    };
    parts.filter(|part| !part.is_empty()).map(item).collect()
}

/// A variable of the environment that holds no number, or neither true nor
/// false.
///
/// The message has the name of the variable and not its text, which may be a
/// secret.
fn does_not_hold(variable: &Text, what: &str, help: &str) -> ReadError {
    let inside = variable.variable().unwrap_or_default();
    let name = inside.split_once(":-").map_or(inside, |(name, _)| name);
    ReadError::Value(Wrong::new(
        format!("the environment variable {name} does not hold {what}"),
        help,
    ))
}
