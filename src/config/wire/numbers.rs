//! Whole numbers and switches.

use std::{borrow::Cow, fmt, marker::PhantomData, num::NonZero};

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::super::{
    field::{Field, Plain},
    wrong::Wrong,
};

/// A string in which the environment stands in for a number or for true and
/// false.
pub(in crate::config) const VARIABLE: &str = r"^\$\{[^}]*\}$";

/// For switches that are on by default.
pub(in crate::config) fn on() -> Field<bool> {
    Field::by_default(Some(true))
}

/// For switches that are off by default.
pub(in crate::config) fn off() -> Field<bool> {
    Field::by_default(Some(false))
}

/// A whole number, in the type that runs, from `LEAST` to `MOST`.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Whole<T, const LEAST: u64, const MOST: u64>(pub(in crate::config) T);

/// A type that holds whole numbers.
pub(in crate::config) trait Number: Copy {
    /// `None` where the type has no such number.
    fn from_u64(number: u64) -> Option<Self>;
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn from_u64(number: u64) -> Option<Self> {
                Self::try_from(number).ok()
            }
        }

        impl Number for NonZero<$type> {
            fn from_u64(number: u64) -> Option<Self> {
                Self::new(<$type>::try_from(number).ok()?)
            }
        }
    )*};
}

numbers!(u8, u32, usize);

impl Number for StatusCode {
    fn from_u64(number: u64) -> Option<Self> {
        Self::from_u16(u16::try_from(number).ok()?).ok()
    }
}

impl<T: Number, const LEAST: u64, const MOST: u64> Whole<T, LEAST, MOST> {
    /// The value of an absent key.
    pub(in crate::config) fn value<const N: u64>() -> Field<Self> {
        Field::by_default(T::from_u64(N).map(Self))
    }
}

impl<'de, T: Number, const LEAST: u64, const MOST: u64> Deserialize<'de> for Whole<T, LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(WholeVisitor(PhantomData))
    }
}

impl<T: Copy, const LEAST: u64, const MOST: u64> Plain for Whole<T, LEAST, MOST> {
    type Runs = T;

    fn plain(&self) -> T {
        self.0
    }
}

struct WholeVisitor<T, const LEAST: u64, const MOST: u64>(PhantomData<T>);

impl<T: Number, const LEAST: u64, const MOST: u64> de::Visitor<'_>
    for WholeVisitor<T, LEAST, MOST>
{
    type Value = Whole<T, LEAST, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        let why = match u64::try_from(number) {
            Ok(number) if number > MOST => format!("the most is {MOST}"),
            Ok(number) if number >= LEAST => match T::from_u64(number) {
                Some(value) => return Ok(Whole(value)),
                None => "it is out of range".to_owned(),
            },
            _ => format!("the least is {LEAST}"),
        };
        Err(Wrong::new(why, "").refuse())
    }
}

impl<T: Serialize, const LEAST: u64, const MOST: u64> Serialize for Whole<T, LEAST, MOST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T, const LEAST: u64, const MOST: u64> JsonSchema for Whole<T, LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "whole".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The bounds are for numbers only, the pattern for strings.
        json_schema!({
            "type": ["integer", "string"],
            "minimum": LEAST,
            "maximum": MOST,
            "pattern": VARIABLE,
        })
    }
}

/// Worker threads.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::config) enum Workers {
    /// One per core that the process may use.
    #[default]
    Auto,
    Number(WorkerCount),
}

/// Far more than any machine has cores; each worker costs memory for its own
/// pools.
pub(in crate::config) type WorkerCount = Whole<NonZero<usize>, 1, 1024>;

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(WorkersVisitor)
    }
}

struct WorkersVisitor;

impl de::Visitor<'_> for WorkersVisitor {
    type Value = Workers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\" or a whole number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Workers, E> {
        match text {
            "auto" => Ok(Workers::Auto),
            text => Err(E::invalid_type(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Workers, E> {
        let visitor = WholeVisitor(PhantomData);
        de::Visitor::visit_i64(visitor, number).map(Workers::Number)
    }
}

impl Serialize for Workers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Number(number) => number.serialize(serializer),
        }
    }
}

impl JsonSchema for Workers {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "workers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let number = generator.subschema_for::<WorkerCount>();
        json_schema!({ "anyOf": [{ "const": "auto" }, number] })
    }
}
