//! Tables of free names, named sections, and values that have a short form
//! beside a table.

use std::{borrow::Cow, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    super::field::{Elements, Field, Given, Plain},
    lists::Tables,
    numbers::Whole,
    text::{Syntax, Text},
};

/// The names by which these types ask their deserializer for their parts.
pub(in crate::config) const PAIRS: &str = "$pairs";
pub(in crate::config) const NAMED: &str = "$named";
pub(in crate::config) const EITHER: &str = "$either";

/// A short form, or a table (or several) with more to say.
#[derive(Debug, Clone)]
pub(in crate::config) enum Either<S, L> {
    Short(S),
    Long(L),
}

/// A type that can be one side of [`Either`], and how help calls it.
pub(in crate::config) trait Shape {
    const SHAPE: &'static str;
}

impl<S: Syntax> Shape for Text<S> {
    const SHAPE: &'static str = "a string";
}

impl<T, const LEAST: u64, const MOST: u64> Shape for Whole<T, LEAST, MOST> {
    const SHAPE: &'static str = "a whole number";
}

impl<T> Shape for Tables<T> {
    const SHAPE: &'static str = "a list of tables";
}

impl<'de, S, L> Deserialize<'de> for Either<S, L>
where
    S: Deserialize<'de> + Shape,
    L: Deserialize<'de> + Shape,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum(EITHER, &[], EitherVisitor(PhantomData))
    }
}

struct EitherVisitor<S, L>(PhantomData<(S, L)>);

impl<'de, S, L> de::Visitor<'de> for EitherVisitor<S, L>
where
    S: Deserialize<'de> + Shape,
    L: Deserialize<'de> + Shape,
{
    type Value = Either<S, L>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or {}", S::SHAPE, L::SHAPE)
    }

    /// The deserializer says whether the value is of the long form.
    fn visit_enum<A: de::EnumAccess<'de>>(self, value: A) -> Result<Self::Value, A::Error> {
        use de::VariantAccess as _;
        match value.variant::<bool>()? {
            (true, long) => long.newtype_variant().map(Either::Long),
            (false, short) => short.newtype_variant().map(Either::Short),
        }
    }
}

impl<S: Serialize, L> Serialize for Either<S, L> {
    /// Only what is short is ever a default.
    fn serialize<R: Serializer>(&self, serializer: R) -> Result<R::Ok, R::Error> {
        match self {
            Self::Short(short) => short.serialize(serializer),
            Self::Long(_) => serializer.serialize_none(),
        }
    }
}

impl<S: JsonSchema, L: JsonSchema> JsonSchema for Either<S, L> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_{}", S::schema_name(), L::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (short, long) = (
            generator.subschema_for::<S>(),
            generator.subschema_for::<L>(),
        );
        json_schema!({ "anyOf": [short, long] })
    }
}

/// Free names on the left, strings on the right; by name.
#[derive(Debug, Clone)]
pub(in crate::config) struct Pairs<N: Syntax, V: Syntax>(pub(in crate::config) Vec<Pair<N, V>>);

#[derive(Debug, Clone)]
pub(in crate::config) struct Pair<N: Syntax, V: Syntax> {
    pub(in crate::config) name: Field<Text<N>>,
    pub(in crate::config) value: Field<Text<V>>,
}

impl<'de, N: Syntax, V: Syntax> Deserialize<'de> for Pairs<N, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(PAIRS, PairsVisitor(PhantomData))
    }
}

impl<N: Syntax, V: Syntax> Elements for Pairs<N, V> {
    type Element = Pair<N, V>;

    fn elements(&self) -> &[Pair<N, V>] {
        &self.0
    }
}

/// Those that are sound on both sides.
impl<N: Syntax, V: Syntax> Plain for Pairs<N, V> {
    type Runs = Vec<(N::Value, V::Value)>;

    fn plain(&self) -> Self::Runs {
        let sound = |pair: &Pair<N, V>| Some((pair.name.read()?, pair.value.read()?));
        self.0.iter().filter_map(sound).collect()
    }
}

struct PairsVisitor<N, V>(PhantomData<(N, V)>);

impl<'de, N: Syntax, V: Syntax> de::Visitor<'de> for PairsVisitor<N, V> {
    type Value = Pairs<N, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((name, value)) = map.next_entry()? {
            pairs.push(Pair { name, value });
        }
        Ok(Pairs(pairs))
    }
}

impl<N: Syntax, V: Syntax> JsonSchema for Pairs<N, V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "pairs".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<Text<V>>();
        json_schema!({ "type": "object", "additionalProperties": values })
    }
}

/// `[section.NAME]`: sections by the names that the user gives them, in the
/// order of these.
#[derive(Debug, Clone)]
pub(in crate::config) struct Named<T>(pub(in crate::config) Vec<NamedEntry<T>>);

#[derive(Debug, Clone)]
pub(in crate::config) struct NamedEntry<T> {
    pub(in crate::config) name: String,
    pub(in crate::config) section: Field<T>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAMED, NamedVisitor(PhantomData))
    }
}

impl<T> Elements for Named<T> {
    type Element = NamedEntry<T>;

    fn elements(&self) -> &[NamedEntry<T>] {
        &self.0
    }
}

struct NamedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for NamedVisitor<T> {
    type Value = Named<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((name, section)) = map.next_entry()? {
            entries.push(NamedEntry { name, section });
        }
        Ok(Named(entries))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let sections = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": sections })
    }
}
