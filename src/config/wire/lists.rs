//! Lists. Their kinds differ in a few rules, which are part of the type.
//!
//! A list in the file is bounded by the size of the file. Its items are
//! [`Field`]s: a wrong one leaves a gap, and the others are read.

use std::{borrow::Cow, fmt, marker::PhantomData, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    super::field::{Field, Given, Plain},
    scalar::{Scalar, Syntax},
};

/// The name by which a list asks its deserializer for its items. Its rules
/// stand in the place of a length.
const LIST: &str = "$list";

/// The rules of lists: a list has the sum of those that hold for it. Numbers,
/// because a parameter of a type can be one, and because serde can carry one to
/// the deserializer.
pub(in crate::config) mod rules {
    /// Nothing need be in it.
    pub(in crate::config) const MAY_BE_EMPTY: usize = 1;
    /// No string stands in it twice.
    pub(in crate::config) const NONE_TWICE: usize = 2;
    /// A string alone counts as a list of one.
    pub(in crate::config) const ONE_ALONE: usize = 4;
    /// Its items are tables.
    pub(in crate::config) const OF_TABLES: usize = 8;
}

/// At least one, none twice.
pub(in crate::config) type List<T> = Items<T, { rules::NONE_TWICE }>;

/// None twice; may be empty.
pub(in crate::config) type Set<T> = Items<T, { rules::NONE_TWICE + rules::MAY_BE_EMPTY }>;

/// Tables, at least one.
pub(in crate::config) type Tables<T> = Items<T, { rules::OF_TABLES }>;

/// One alone, or a list of at least one, none twice.
pub(in crate::config) type OneOrList<T> = Items<T, { rules::NONE_TWICE + rules::ONE_ALONE }>;

/// One alone, or a list of at least one, in which one may stand more than once.
pub(in crate::config) type OneOrMany<T> = Items<T, { rules::ONE_ALONE }>;

/// The items of a list, under these rules.
#[derive(Debug, Clone)]
pub(in crate::config) struct Items<T, const RULES: usize>(pub(in crate::config) Vec<Field<T>>);

impl<T, const RULES: usize> Items<T, RULES> {
    /// Whether the list of this field is one value that stands in no list. The
    /// deserializer gives both the same place then.
    pub(in crate::config) fn is_one_alone(field: &Field<Self>) -> bool {
        matches!(field.elements(), [only] if only.origin == field.origin)
    }
}

impl<S: Syntax, const RULES: usize> Items<Scalar<S>, RULES> {
    /// The value of an absent key, as it would be written.
    pub(in crate::config) fn of(texts: &[&str]) -> Field<Self> {
        let text = |text: &&str| Scalar::by_default((*text).to_owned());
        Field::by_default(Some(Self(texts.iter().map(text).collect())))
    }
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const RULES: usize> Deref for Items<T, RULES> {
    type Target = [Field<T>];

    fn deref(&self) -> &[Field<T>] {
        &self.0
    }
}

/// Those that are sound.
impl<T: Plain, const RULES: usize> Plain for Items<T, RULES> {
    type Runs = Vec<T::Runs>;

    fn plain(&self) -> Vec<T::Runs> {
        self.iter().filter_map(Given::read).collect()
    }
}

impl<'de, T: Deserialize<'de>, const RULES: usize> Deserialize<'de> for Items<T, RULES> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple_struct(LIST, RULES, ItemsVisitor(PhantomData))
    }
}

struct ItemsVisitor<T, const RULES: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const RULES: usize> de::Visitor<'de> for ItemsVisitor<T, RULES> {
    type Value = Items<T, RULES>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match RULES {
            _ if RULES & rules::ONE_ALONE != 0 => "a string or a list of strings",
            rules::OF_TABLES => "a list of tables",
            _ => "a list",
        })
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Items(list))
    }
}

impl<T: Serialize, const RULES: usize> Serialize for Items<T, RULES> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: JsonSchema, const RULES: usize> JsonSchema for Items<T, RULES> {
    fn schema_name() -> Cow<'static, str> {
        format!("list_{RULES}_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<T>();
        let mut list = json_schema!({ "type": "array", "items": items });
        if RULES & rules::MAY_BE_EMPTY == 0 {
            list.insert("minItems".to_owned(), 1.into());
        }
        if RULES & rules::NONE_TWICE != 0 {
            list.insert("uniqueItems".to_owned(), true.into());
        }
        match RULES & rules::ONE_ALONE {
            0 => list,
            _ => json_schema!({ "anyOf": [items, list] }),
        }
    }
}
