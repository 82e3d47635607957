//! Values of one string or one number: read once, into the value that runs.
//!
//! [`Scalar`] is the only type of such values. A [`Syntax`] says what it may
//! hold: `syntaxes` declares one for each small language inside strings,
//! [`numbers`](super::numbers) those of whole numbers, and [`Or`] adds a word
//! such as "off" to another one.

use std::{borrow::Cow, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::super::{
    field::{Field, Plain},
    words,
    wrong::Rejection,
};

/// The language of a value: how people call it, how it is read, and how
/// editors are told of it.
///
/// The types that implement it are never made: they stand in the type of a key.
pub(in crate::config) trait Syntax: Clone + fmt::Debug {
    /// The value that runs.
    type Value: Clone;

    /// A string that is right, for help and for editors; empty: every string
    /// is, or none, as with numbers.
    const EXAMPLE: &'static str = "";
    /// An expression that every right string matches, for editors; empty: any
    /// string.
    const PATTERN: &'static str = "";
    /// The string may hold a password.
    const IS_SECRET: bool = false;
    /// A number is wanted. An environment variable, which is always a string,
    /// is converted to one before it is read.
    const IS_NUMBER: bool = false;

    /// The name of such a value, with an article: "a duration".
    fn name() -> String;

    /// The type that a diagnostic asks for in place of another one; the kinds
    /// of values stand behind a colon.
    fn expected() -> String {
        let name = Self::name();
        match Self::EXAMPLE {
            "" => name,
            // Behind several kinds, "in a string" would be about the last one.
            _ if name.contains(" or ") => format!("a string: {name}"),
            _ => format!("{name} in a string"),
        }
    }

    /// Reads a string. The refusal says why, and what would be right; the
    /// caller adds the name of the key and the value.
    fn parse(text: &str) -> Result<Self::Value, Rejection>;

    /// Reads a number, which is of a wrong type for most languages.
    fn number(number: i64) -> Result<Self::Value, Rejection> {
        Err(Rejection::Type {
            expected: Self::expected(),
            help: Self::instead_of_number(number),
        })
    }

    /// Help for a number where a string belongs.
    fn instead_of_number(number: i64) -> String {
        format!("write it in quotes: `\"{number}\"`")
    }

    /// The schema of such a value.
    fn schema() -> Schema {
        let mut schema = json_schema!({ "type": "string" });
        if !Self::EXAMPLE.is_empty() {
            schema.insert("examples".to_owned(), vec![Self::EXAMPLE].into());
        }
        if !Self::PATTERN.is_empty() {
            // A part of the string may come from the environment.
            let pattern = format!("{}|\\$\\{{", Self::PATTERN);
            schema.insert("pattern".to_owned(), pattern.into());
        }
        if Self::IS_SECRET {
            schema.insert("writeOnly".to_owned(), true.into());
        }
        schema
    }
}

/// A string or number in such a language, together with the value that it
/// stands for. A value is never made without its text: `/config`, the schema
/// and warnings show texts, and a default is written like any other value.
#[derive(Clone)]
pub(in crate::config) struct Scalar<S: Syntax> {
    /// As the file has it, with the environment filled in.
    pub(in crate::config) text: String,
    /// Read from it, once.
    pub(in crate::config) value: S::Value,
}

/// The values of absent keys, as they would be written.
impl<S: Syntax> Scalar<S> {
    pub(in crate::config) fn by_default(text: String) -> Field<Self> {
        let value = S::parse(&text).ok();
        Field::by_default(value.map(|value| Self { text, value }))
    }

    pub(in crate::config) fn value<const N: i64>() -> Field<Self> {
        let value = S::number(N).ok();
        let text = N.to_string();
        Field::by_default(value.map(|value| Self { text, value }))
    }

    pub(in crate::config) fn secs<const N: u64>() -> Field<Self> {
        Self::by_default(format!("{N}s"))
    }

    pub(in crate::config) fn millis<const N: u64>() -> Field<Self> {
        Self::by_default(format!("{N}ms"))
    }

    pub(in crate::config) fn minutes<const N: u64>() -> Field<Self> {
        Self::by_default(format!("{N}m"))
    }

    pub(in crate::config) fn hours<const N: u64>() -> Field<Self> {
        Self::by_default(format!("{N}h"))
    }

    pub(in crate::config) fn kib<const N: u64>() -> Field<Self> {
        Self::by_default(format!("{N}KiB"))
    }

    pub(in crate::config) fn mib<const N: u64>() -> Field<Self> {
        Self::by_default(format!("{N}MiB"))
    }

    pub(in crate::config) fn percent<const N: u64>() -> Field<Self> {
        Self::by_default(format!("{N}%"))
    }
}

/// Says what kind of value it is, and not what it holds, which may be a secret.
impl<S: Syntax> fmt::Debug for Scalar<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&S::name())
    }
}

impl<S: Syntax> Plain for Scalar<S> {
    type Runs = S::Value;

    fn plain(&self) -> S::Value {
        self.value.clone()
    }
}

impl<'de, S: Syntax> Deserialize<'de> for Scalar<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = ScalarVisitor(PhantomData);
        match S::IS_NUMBER {
            true => deserializer.deserialize_u64(visitor),
            false => deserializer.deserialize_str(visitor),
        }
    }
}

struct ScalarVisitor<S>(PhantomData<S>);

impl<S: Syntax> de::Visitor<'_> for ScalarVisitor<S> {
    type Value = Scalar<S>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&S::expected())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar<S>, E> {
        let value = S::parse(text).map_err(E::custom)?;
        let text = text.to_owned();
        Ok(Scalar { text, value })
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar<S>, E> {
        let value = S::number(number).map_err(E::custom)?;
        let text = number.to_string();
        Ok(Scalar { text, value })
    }
}

impl<S: Syntax> Serialize for Scalar<S> {
    fn serialize<R: Serializer>(&self, serializer: R) -> Result<R::Ok, R::Error> {
        match self.text.parse() {
            Ok(number) if S::IS_NUMBER => serializer.serialize_u64(number),
            _ => serializer.serialize_str(&self.text),
        }
    }
}

impl<S: Syntax> JsonSchema for Scalar<S> {
    fn schema_name() -> Cow<'static, str> {
        S::name().into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        S::schema()
    }
}

/// A word that stands for something that no value of a language says, such as
/// "off" in the place of a duration. Other words of that meaning are recognized
/// in mistakes only (`words`).
pub(in crate::config) trait Word: Clone + fmt::Debug {
    const WORD: &'static str;
}

/// There is none.
#[derive(Debug, Clone)]
pub(in crate::config) enum Off {}

impl Word for Off {
    const WORD: &'static str = "off";
}

/// Everything passes.
#[derive(Debug, Clone)]
pub(in crate::config) enum Unlimited {}

impl Word for Unlimited {
    const WORD: &'static str = "unlimited";
}

/// The gateway chooses.
#[derive(Debug, Clone)]
pub(in crate::config) enum Auto {}

impl Word for Auto {
    const WORD: &'static str = "auto";
}

/// A word, or a value in a language. `None` is the word, which is the default.
pub(in crate::config) type Or<W, S> = Scalar<WordOr<W, S>>;

impl<W: Word, S: Syntax> Default for Or<W, S> {
    fn default() -> Self {
        Self {
            text: W::WORD.to_owned(),
            value: None,
        }
    }
}

/// A word, and everything that is right in another language.
#[derive(Debug, Clone)]
pub(in crate::config) struct WordOr<W, S>(PhantomData<(W, S)>);

impl<W: Word, S: Syntax> WordOr<W, S> {
    fn wrong_type(help: String) -> Rejection {
        let expected = Self::expected();
        Rejection::Type { expected, help }
    }
}

impl<W: Word, S: Syntax> Syntax for WordOr<W, S> {
    type Value = Option<S::Value>;
    const IS_NUMBER: bool = S::IS_NUMBER;

    fn name() -> String {
        format!("\"{}\" or {}", W::WORD, S::name())
    }

    fn expected() -> String {
        format!("\"{}\" or {}", W::WORD, S::expected())
    }

    fn parse(text: &str) -> Result<Self::Value, Rejection> {
        if text == W::WORD {
            return Ok(None);
        }
        match S::parse(text) {
            Ok(value) => Ok(Some(value)),
            Err(Rejection::Value(wrong)) => {
                Err(Rejection::Value(words::or_word(W::WORD, text, wrong)))
            }
            Err(Rejection::Type { help, .. }) => Err(Self::wrong_type(help)),
        }
    }

    fn number(number: i64) -> Result<Self::Value, Rejection> {
        match S::number(number) {
            Ok(value) => Ok(Some(value)),
            // The word is meant.
            Err(Rejection::Type { .. }) if number <= 0 => Err(Self::wrong_type(String::new())),
            Err(Rejection::Type { help, .. }) => Err(Self::wrong_type(help)),
            Err(refusal) => Err(refusal),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "anyOf": [{ "const": W::WORD }, S::schema()] })
    }
}
