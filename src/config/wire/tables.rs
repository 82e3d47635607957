//! Tables of names that the user chooses, and values that have a short form
//! beside a table.

use std::{borrow::Cow, fmt, marker::PhantomData, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    super::field::{Field, Given, Plain},
    scalar::{Scalar, Syntax},
};

/// The names by which these types ask their deserializer for their parts; `de`
/// explains them.
pub(in crate::config) const PAIRS: &str = "$pairs";
pub(in crate::config) const NAMED: &str = "$named";
pub(in crate::config) const EITHER: &str = "$either";
pub(in crate::config) const SWITCH_OR: &str = "$switch_or";

/// A short form, or a table (or several) with more to say, such as a number or
/// the table of a cost. The schema has both, the short one first.
#[derive(Debug, Clone)]
pub(in crate::config) enum Either<S, L> {
    Short(S),
    Long(L),
}

impl<'de, S: Deserialize<'de>, L: Deserialize<'de>> Deserialize<'de> for Either<S, L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(EITHER, EitherVisitor(PhantomData))
    }
}

struct EitherVisitor<S, L>(PhantomData<(S, L)>);

/// The deserializer sees which form a value has: it calls one of the two
/// methods with it.
impl<'de, S: Deserialize<'de>, L: Deserialize<'de>> de::Visitor<'de> for EitherVisitor<S, L> {
    type Value = Either<S, L>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one of two forms")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, short: D) -> Result<Self::Value, D::Error> {
        S::deserialize(short).map(Either::Short)
    }

    fn visit_some<D: Deserializer<'de>>(self, long: D) -> Result<Self::Value, D::Error> {
        L::deserialize(long).map(Either::Long)
    }
}

impl<S: Serialize, L> Serialize for Either<S, L> {
    /// Only a short form is ever a default.
    fn serialize<R: Serializer>(&self, serializer: R) -> Result<R::Ok, R::Error> {
        match self {
            Self::Short(short) => short.serialize(serializer),
            Self::Long(_) => serializer.serialize_none(),
        }
    }
}

impl<S: JsonSchema, L: JsonSchema> JsonSchema for Either<S, L> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_{}", S::schema_name(), L::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let short = generator.subschema_for::<S>();
        let long = generator.subschema_for::<L>();
        json_schema!({ "anyOf": [short, long] })
    }
}

/// True or false, or something that says more, such as a list.
#[derive(Debug, Clone)]
pub(in crate::config) enum SwitchOr<T> {
    Switch(bool),
    Other(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for SwitchOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let either = EitherVisitor(PhantomData);
        let either = deserializer.deserialize_newtype_struct(SWITCH_OR, either)?;
        Ok(match either {
            Either::Short(switch) => Self::Switch(switch),
            Either::Long(other) => Self::Other(other),
        })
    }
}

impl<T: Serialize> Serialize for SwitchOr<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Switch(switch) => switch.serialize(serializer),
            Self::Other(other) => other.serialize(serializer),
        }
    }
}

impl<T: JsonSchema> JsonSchema for SwitchOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("switch_or_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let switch = generator.subschema_for::<bool>();
        let other = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [switch, other] })
    }
}

/// Values by names that the user chooses, in the order of the names. Each name
/// stands in it once, as TOML refuses a table with a key twice.
#[derive(Debug, Clone)]
pub(in crate::config) struct Names<K, T>(Vec<NameValue<K, T>>);

/// A name and its value. The name of a section is a string that was checked as
/// one; a name that has a language is a field, which has no value if it is
/// wrong.
#[derive(Debug, Clone)]
pub(in crate::config) struct NameValue<K, T> {
    pub(in crate::config) name: K,
    pub(in crate::config) field: Field<T>,
}

/// `[section.NAME]`: sections, each below its name.
pub(in crate::config) type Named<T> = Names<String, T>;

/// A section and its name.
pub(in crate::config) type NamedEntry<T> = NameValue<String, T>;

/// A table such as `{ NAME = "value" }`, where names have a language, too.
pub(in crate::config) type Pairs<N, V> = Names<Field<Scalar<N>>, Scalar<V>>;

/// The kind of names that a table has: those of sections, or those in a
/// language.
pub(in crate::config) trait NameKind {
    /// By this, such a table asks its deserializer for its entries.
    const ASKS: &'static str;

    /// The schema of a name; `None` for any.
    fn schema() -> Option<Schema>;
}

impl NameKind for String {
    const ASKS: &'static str = NAMED;

    fn schema() -> Option<Schema> {
        None
    }
}

impl<N: Syntax> NameKind for Field<Scalar<N>> {
    const ASKS: &'static str = PAIRS;

    fn schema() -> Option<Schema> {
        Some(N::schema())
    }
}

impl<K, T> Deref for Names<K, T> {
    type Target = [NameValue<K, T>];

    fn deref(&self) -> &[NameValue<K, T>] {
        &self.0
    }
}

/// Those that are sound on both sides.
impl<N: Syntax, V: Syntax> Plain for Pairs<N, V> {
    type Runs = Vec<(N::Value, V::Value)>;

    fn plain(&self) -> Self::Runs {
        let sound =
            |pair: &NameValue<Field<Scalar<N>>, _>| Some((pair.name.read()?, pair.field.read()?));
        self.iter().filter_map(sound).collect()
    }
}

impl<'de, K: NameKind + Deserialize<'de>, T: Deserialize<'de>> Deserialize<'de> for Names<K, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(K::ASKS, NamesVisitor(PhantomData))
    }
}

struct NamesVisitor<K, T>(PhantomData<(K, T)>);

impl<'de, K: Deserialize<'de>, T: Deserialize<'de>> de::Visitor<'de> for NamesVisitor<K, T> {
    type Value = Names<K, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((name, field)) = map.next_entry()? {
            entries.push(NameValue { name, field });
        }
        Ok(Names(entries))
    }
}

impl<K: NameKind, T: JsonSchema> JsonSchema for Names<K, T> {
    fn schema_name() -> Cow<'static, str> {
        format!("named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<T>();
        let mut table = json_schema!({ "type": "object", "additionalProperties": values });
        if let Some(name) = K::schema() {
            table.insert("propertyNames".to_owned(), name.into());
        }
        table
    }
}
