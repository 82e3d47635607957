//! Strings that hold a small language: read once, into the value that runs.

use std::{borrow::Cow, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::super::{
    field::{Field, Plain},
    words,
    wrong::{Refusal, Wrong},
};

/// One of the small languages inside strings.
pub(in crate::config) trait Syntax: Clone + fmt::Debug {
    type Value: Clone;

    /// The name of such a string, with an article: "a duration".
    const NAME: &'static str;
    /// A string that is right, for help and for editors; empty: every string
    /// is.
    const EXAMPLE: &'static str;
    /// An expression that every right string matches, for editors; empty: any
    /// string.
    const PATTERN: &'static str = "";
    /// The string may hold a password.
    const IS_SECRET: bool = false;

    fn parse(text: &str) -> Result<Self::Value, Wrong>;

    /// Help for a number where such a string belongs.
    fn instead_of_number(number: i64) -> String {
        format!("write it in quotes: `\"{number}\"`")
    }
}

/// A string in one of these languages.
#[derive(Clone)]
pub(in crate::config) struct Text<S: Syntax> {
    /// As the file has it, with the environment filled in.
    pub(in crate::config) text: String,
    pub(in crate::config) value: S::Value,
}

impl<S: Syntax> Text<S> {
    /// The value of an absent key, as it would be written.
    pub(in crate::config) fn by_default(text: String) -> Field<Self> {
        let value = S::parse(&text).ok();
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

/// Says what kind of string it is, and not what it holds, which may be a
/// secret.
impl<S: Syntax> fmt::Debug for Text<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(S::NAME)
    }
}

impl<'de, S: Syntax> Deserialize<'de> for Text<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

fn expected<S: Syntax>() -> String {
    match S::EXAMPLE {
        "" => S::NAME.to_owned(),
        _ => format!("{} in a string", S::NAME),
    }
}

struct TextVisitor<S>(PhantomData<S>);

impl<S: Syntax> de::Visitor<'_> for TextVisitor<S> {
    type Value = Text<S>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&expected::<S>())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<S>, E> {
        let value = S::parse(text).map_err(Wrong::refuse)?;
        Ok(Text {
            text: text.to_owned(),
            value,
        })
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Text<S>, E> {
        Err(E::custom(Refusal::Type {
            expected: expected::<S>(),
            help: S::instead_of_number(number),
        }))
    }
}

impl<S: Syntax> Serialize for Text<S> {
    fn serialize<R: Serializer>(&self, serializer: R) -> Result<R::Ok, R::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<S: Syntax> JsonSchema for Text<S> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        S::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({ "type": "string" });
        if !S::EXAMPLE.is_empty() {
            schema.insert("examples".to_owned(), vec![S::EXAMPLE].into());
        }
        if !S::PATTERN.is_empty() {
            // A part of the string may come from the environment.
            schema.insert(
                "pattern".to_owned(),
                format!("{}|\\$\\{{", S::PATTERN).into(),
            );
        }
        if S::IS_SECRET {
            schema.insert("writeOnly".to_owned(), true.into());
        }
        schema
    }
}

impl<S: Syntax> Plain for Text<S> {
    type Runs = S::Value;

    fn plain(&self) -> S::Value {
        self.value.clone()
    }
}

/// A word that stands for something that no string of a language says, such as
/// "off".
pub(in crate::config) trait Word {
    const WORD: &'static str;
}

/// "off": there is none.
#[derive(Debug, Clone)]
pub(in crate::config) struct Off;

impl Word for Off {
    const WORD: &'static str = "off";
}

/// "unlimited": everything passes.
#[derive(Debug, Clone)]
pub(in crate::config) struct Unlimited;

impl Word for Unlimited {
    const WORD: &'static str = "unlimited";
}

/// A word, or a string in some language.
#[derive(Clone)]
pub(in crate::config) struct Or<W, S: Syntax> {
    /// `None` is the word.
    pub(in crate::config) text: Option<Text<S>>,
    word: PhantomData<W>,
}

impl<W, S: Syntax> Or<W, S> {
    fn new(text: Option<Text<S>>) -> Self {
        Self {
            text,
            word: PhantomData,
        }
    }

    /// The value of an absent key, as it would be written.
    pub(in crate::config) fn mib<const N: u64>() -> Field<Self> {
        Self::by_default(Text::mib::<N>())
    }

    fn by_default(field: Field<Text<S>>) -> Field<Self> {
        Field::by_default(field.value.map(|text| Self::new(Some(text))))
    }

    /// The address that a listener has by default.
    pub(in crate::config) fn text_by_default(text: &str) -> Field<Self> {
        Self::by_default(Text::by_default(text.to_owned()))
    }
}

/// `None` is the word.
impl<W, S: Syntax> Plain for Or<W, S> {
    type Runs = Option<S::Value>;

    fn plain(&self) -> Option<S::Value> {
        self.text.as_ref().map(Plain::plain)
    }
}

impl<W, S: Syntax> Default for Or<W, S> {
    fn default() -> Self {
        Self::new(None)
    }
}

impl<W: Word, S: Syntax> fmt::Debug for Or<W, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or {}", W::WORD, S::NAME)
    }
}

impl<'de, W: Word, S: Syntax> Deserialize<'de> for Or<W, S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(OrVisitor(PhantomData))
    }
}

struct OrVisitor<W, S>(PhantomData<(W, S)>);

impl<W: Word, S: Syntax> de::Visitor<'_> for OrVisitor<W, S> {
    type Value = Or<W, S>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" or {} in a string", W::WORD, S::NAME)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Or<W, S>, E> {
        if text == W::WORD {
            return Ok(Or::new(None));
        }
        let value =
            S::parse(text).map_err(|wrong| words::or_word(W::WORD, text, wrong).refuse())?;
        let text = text.to_owned();
        Ok(Or::new(Some(Text { text, value })))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Or<W, S>, E> {
        match number {
            // The word is meant.
            ..=0 => Err(E::invalid_type(de::Unexpected::Signed(number), &self)),
            _ => Err(E::custom(Refusal::Type {
                expected: format!("\"{}\" or {} in a string", W::WORD, S::NAME),
                help: S::instead_of_number(number),
            })),
        }
    }
}

impl<W: Word, S: Syntax> Serialize for Or<W, S> {
    fn serialize<R: Serializer>(&self, serializer: R) -> Result<R::Ok, R::Error> {
        match &self.text {
            Some(text) => text.serialize(serializer),
            None => serializer.serialize_str(W::WORD),
        }
    }
}

impl<W: Word, S: Syntax> JsonSchema for Or<W, S> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{} or {}", W::WORD, S::NAME).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let other = generator.subschema_for::<Text<S>>();
        json_schema!({ "anyOf": [{ "const": W::WORD }, other] })
    }
}
