//! Lists.

use std::{borrow::Cow, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    super::field::{Elements, Field, Given, Plain},
    text::{Syntax, Text},
};

/// The names by which lists ask their deserializer for their items.
pub(in crate::config) const LIST: &str = "$list";
pub(in crate::config) const SET: &str = "$set";
pub(in crate::config) const TABLES: &str = "$tables";
pub(in crate::config) const ONE_OR_LIST: &str = "$one-or-list";
pub(in crate::config) const ONE_OR_MANY: &str = "$one-or-many";

/// Declares kinds of lists: a doc comment, the type, its name for the
/// deserializer, what it is, and its JSON Schema.
macro_rules! lists {
    ($($(#[$about:meta])* $name:ident, $asks:ident, $expecting:literal, |$items:ident| $schema:tt;)*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone)]
        pub(in crate::config) struct $name<T>(pub(in crate::config) Vec<Field<T>>);

        impl<'de, T: Deserialize<'de>> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let visitor = ListVisitor { expecting: $expecting, item: PhantomData };
                deserializer.deserialize_newtype_struct($asks, visitor).map(Self)
            }
        }

        impl<T: Serialize> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<T> Elements for $name<T> {
            type Element = Field<T>;

            fn elements(&self) -> &[Field<T>] {
                &self.0
            }
        }

        /// Those that are sound.
        impl<T: Plain> Plain for $name<T> {
            type Runs = Vec<T::Runs>;

            fn plain(&self) -> Vec<T::Runs> {
                self.0.iter().filter_map(Given::read).collect()
            }
        }

        impl<T: JsonSchema> JsonSchema for $name<T> {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                concat!(stringify!($name), "_of_").into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let $items = generator.subschema_for::<T>();
                json_schema!($schema)
            }
        }
    )*};
}

lists! {
    /// At least one, none twice.
    List, LIST, "a list", |items| { "type": "array", "items": items, "minItems": 1, "uniqueItems": true };
    /// None twice; may be empty.
    Set, SET, "a list", |items| { "type": "array", "items": items, "uniqueItems": true };
    /// Tables, at least one.
    Tables, TABLES, "a list of tables", |items| { "type": "array", "items": items, "minItems": 1 };
    /// One alone, or a list of at least one, none twice.
    OneOrList, ONE_OR_LIST, "a string or a list of strings", |items| {
        "anyOf": [items, { "type": "array", "items": items, "minItems": 1, "uniqueItems": true }]
    };
    /// One alone, or a list of at least one, in which one may stand more than
    /// once.
    OneOrMany, ONE_OR_MANY, "a string or a list of strings", |items| {
        "anyOf": [items, { "type": "array", "items": items, "minItems": 1 }]
    };
}

impl<T> OneOrList<T> {
    /// Whether the field of the key holds one value that stands in no list.
    pub(in crate::config) fn is_one_alone(field: &Field<Self>) -> bool {
        matches!(field.elements(), [only] if only.origin == field.origin)
    }
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Syntax> Set<Text<S>> {
    /// The value of an absent key, as it would be written.
    pub(in crate::config) fn of(texts: &[&str]) -> Field<Self> {
        let texts = texts
            .iter()
            .map(|text| Text::by_default((*text).to_owned()));
        Field::by_default(Some(Self(texts.collect())))
    }
}

struct ListVisitor<T> {
    expecting: &'static str,
    item: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for ListVisitor<T> {
    type Value = Vec<Field<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(list)
    }
}
