//! Whole numbers and switches.
//!
//! TOML has numbers of 64 bits with a sign. The language has no fractions and
//! no negative numbers, and each key has bounds of its own, which the schema
//! tells editors.

use std::{borrow::Cow, fmt, marker::PhantomData, num::NonZero, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    super::{
        field::Field,
        units,
        wrong::{Rejection, Wrong},
    },
    scalar::{Auto, Or, Scalar, Syntax},
};

/// A string in which the environment stands in for a number or for true and
/// false.
pub(in crate::config) const VARIABLE: &str = r"^\$\{[^}]*\}$";

/// For switches that are on by default. Without such a default, a switch is
/// off.
pub(in crate::config) fn on() -> Field<bool> {
    Field::by_default(Some(true))
}

/// A whole number, in the type that runs, from `LEAST` to `MOST`. Both bounds
/// count, and the type may refuse numbers between them, as `NonZero` does.
pub(in crate::config) type Whole<T, const LEAST: u64, const MOST: u64> =
    Scalar<Number<T, LEAST, MOST>>;

/// Worker threads: one per core that the process may use, or so many.
pub(in crate::config) type Workers = Or<Auto, WorkerCount>;

/// Far more than any machine has cores; each worker costs memory for its own
/// pools.
type WorkerCount = Number<NonZero<usize>, 1, 1024>;

/// The language of whole numbers from `LEAST` to `MOST`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Number<T, const LEAST: u64, const MOST: u64>(PhantomData<T>);

impl<T, const LEAST: u64, const MOST: u64> Syntax for Number<T, LEAST, MOST>
where
    T: FromStr + Clone + fmt::Debug,
{
    type Value = T;
    const IS_NUMBER: bool = true;

    fn name() -> String {
        "a whole number".to_owned()
    }

    /// A number in quotes is none.
    fn parse(_: &str) -> Result<T, Rejection> {
        Err(Rejection::Type {
            expected: Self::expected(),
            help: String::new(),
        })
    }

    fn number(number: i64) -> Result<T, Rejection> {
        let why = match u64::try_from(number) {
            Ok(number) if number > MOST => format!("the most is {MOST}"),
            Ok(number) if number >= LEAST => match number.to_string().parse() {
                Ok(value) => return Ok(value),
                Err(_) => "it is out of range".to_owned(),
            },
            _ => format!("the least is {LEAST}"),
        };
        Err(Rejection::Value(Wrong::new(why, "")))
    }

    fn schema() -> Schema {
        // The bounds are for numbers only, the pattern for strings.
        json_schema!({
            "type": ["integer", "string"],
            "minimum": LEAST,
            "maximum": MOST,
            "pattern": VARIABLE,
        })
    }
}

/// On or off; a port is on, with that port instead of the usual one.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::config) enum SwitchOrPort {
    /// `false`.
    #[default]
    Off,
    /// `true`.
    On,
    /// A port from 1.
    Port(NonZero<u16>),
}

/// The language of ports.
type PortNumber = Number<NonZero<u16>, 1, { u16::MAX as u64 }>;

impl<'de> Deserialize<'de> for SwitchOrPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(SwitchOrPortVisitor)
    }
}

struct SwitchOrPortVisitor;

impl de::Visitor<'_> for SwitchOrPortVisitor {
    type Value = SwitchOrPort;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false or a port")
    }

    fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<SwitchOrPort, E> {
        match is_on {
            true => Ok(SwitchOrPort::On),
            false => Ok(SwitchOrPort::Off),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<SwitchOrPort, E> {
        let port = PortNumber::number(number).map_err(E::custom)?;
        Ok(SwitchOrPort::Port(port))
    }

    /// A port in quotes; any other text gets advice as that for a switch does.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<SwitchOrPort, E> {
        let help = match text.trim().parse::<u16>() {
            Ok(port) => format!("write the number without quotes: {port}"),
            Err(_) => String::new(),
        };
        let expected = "true, false or a port".to_owned();
        Err(E::custom(Rejection::Type { expected, help }))
    }
}

impl Serialize for SwitchOrPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::On => serializer.serialize_bool(true),
            Self::Port(port) => serializer.serialize_u16(port.get()),
        }
    }
}

impl JsonSchema for SwitchOrPort {
    fn schema_name() -> Cow<'static, str> {
        "switch_or_port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["boolean", "integer", "string"],
            "minimum": 1,
            "maximum": u16::MAX,
            "pattern": VARIABLE,
        })
    }
}

/// A number of tokens from 1. Where tokens are bytes, it may be a size.
#[derive(Debug, Clone)]
pub(in crate::config) enum TokensOrSize {}

/// The same, as a number alone.
type TokenNumber = Number<NonZero<u32>, 1, { u32::MAX as u64 }>;

impl Syntax for TokensOrSize {
    type Value = NonZero<u32>;
    const IS_NUMBER: bool = true;

    fn name() -> String {
        TokenNumber::name()
    }

    fn parse(text: &str) -> Result<NonZero<u32>, Rejection> {
        if !units::is_size(text) {
            return TokenNumber::parse(text);
        }
        let size = units::size(text).map_err(Rejection::Value)?;
        TokenNumber::number(size.try_into().unwrap_or(i64::MAX))
    }

    fn number(number: i64) -> Result<NonZero<u32>, Rejection> {
        TokenNumber::number(number)
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": u32::MAX,
            "pattern": r"^([0-9]+([kKMGT]i?)?B|\$\{[^}]*\})$",
        })
    }
}
