//! Values of the file with their places.
//!
//! A [`Field`] is deserialized whatever its value is: the mistake is reported
//! by the deserializer in `de`, and the field has no value then. Its neighbours
//! are read all the same, so one reading finds every mistake.
//!
//! The structs of `wire` have a `Field<T>` for a key that always has a value,
//! given or by default, and an `Option<Field<T>>` for one that may be absent.
//! [`Given`] is implemented by both, and is how `resolve` looks at a key:
//!
//! | the file has | `value()` | `entry()` | `given()` | `own()` | `is_broken()` |
//! |---|---|---|---|---|---|
//! | a sound value | it | the field | it | it | no |
//! | a wrong value | `None` | the field | `None` | `None` | yes |
//! | a value in `[defaults]` | it | the field | it | `None` | no |
//! | nothing | the default, if any | `None` | `None` | `None` | no |

use std::{borrow::Cow, fmt, marker::PhantomData, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned, value::MapDeserializer},
};

use super::source::Span;

/// The name by which a field asks its deserializer for place and value, as
/// `toml::Spanned` has one of its own.
pub(super) const FIELD: &str = "$field";

/// The name under which the schema of a field has its number. Fields are
/// described in their order.
pub(super) const ORDER: &str = "$order";

/// A value of the file, or a default in its place.
#[derive(Debug, Clone)]
pub(super) struct Field<T> {
    /// `None`: the value is missing or wrong, and that was reported.
    pub(super) value: Option<T>,
    /// A default has no place: a message about one stands at the section.
    pub(super) origin: ValueOrigin,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueOrigin {
    /// The file has it there.
    Written(Span),
    /// A route has it from `[defaults]`, where it stands there.
    Inherited(Span),
    /// The key is absent.
    Default,
}

impl<T> Field<T> {
    pub(super) fn by_default(value: Option<T>) -> Self {
        Self {
            value,
            origin: ValueOrigin::Default,
        }
    }
}

impl<T: Default> Default for Field<T> {
    fn default() -> Self {
        Self::by_default(Some(T::default()))
    }
}

/// A value of the language that holds the one that runs, parsed already.
///
/// `wire` keeps texts beside what they were read as, for messages and for
/// editors. This trait takes the value out.
pub(super) trait Plain {
    /// The type of [`policy`](crate::policy), or one of std that it is made of.
    type Runs;

    /// The value that runs; of a list, the values that are sound.
    fn plain(&self) -> Self::Runs;
}

/// A key of a section: its value, and whether and where the file gives it. The
/// module has a table of the answers.
pub(super) trait Given<T> {
    /// The value, given or a default, if it is sound.
    fn value(&self) -> Option<&T>;

    /// The field, unless the key is absent.
    fn entry(&self) -> Option<&Field<T>>;

    /// The value that runs.
    ///
    /// `None` if the value is wrong, or absent without a default.
    fn read(&self) -> Option<T::Runs>
    where
        T: Plain,
    {
        self.value().map(Plain::plain)
    }

    /// The value that runs of a key that may be absent, `Some(None)` then.
    /// `None`: the value is wrong, which was reported.
    fn optional(&self) -> Option<Option<T::Runs>>
    where
        T: Plain,
    {
        self.if_given(|value| Some(value.plain()))
    }

    /// Resolves a section, or another key, that may be absent: `Some(None)`
    /// then. `None`: it has a mistake, here or in `resolve`.
    fn if_given<R>(&self, resolve: impl FnOnce(&T) -> Option<R>) -> Option<Option<R>> {
        match self.entry() {
            Some(field) => resolve(field.value.as_ref()?).map(Some),
            None => Some(None),
        }
    }

    /// The file has the key, with a right or a wrong value.
    fn is_present(&self) -> bool {
        self.entry().is_some()
    }

    /// The value, when it is given and sound.
    fn given(&self) -> Option<&T> {
        self.entry()?.value.as_ref()
    }

    /// The value, when the route gives it itself and not `[defaults]`.
    fn own(&self) -> Option<&T> {
        let field = self.entry()?;
        match field.origin {
            ValueOrigin::Written(_) => field.value.as_ref(),
            ValueOrigin::Inherited(_) | ValueOrigin::Default => None,
        }
    }

    /// The route gives the value itself, and it is sound.
    fn is_own(&self) -> bool {
        self.own().is_some()
    }

    /// Given, and reported as wrong.
    fn is_broken(&self) -> bool {
        self.entry().is_some_and(|field| field.value.is_none())
    }

    /// The place of the value.
    fn at(&self) -> Span {
        self.place(Span::NOWHERE)
    }

    /// The elements of a list or table; none when it is absent or wrong.
    ///
    /// Elements with a mistake are among them: each is a field, or has one.
    fn elements<'a, E: 'a>(&'a self) -> &'a [E]
    where
        T: Deref<Target = [E]> + 'a,
    {
        self.value().map_or(&[], Deref::deref)
    }

    /// The elements of a list that are sound.
    fn values<'a, E: 'a>(&'a self) -> impl Iterator<Item = &'a E>
    where
        T: Deref<Target = [Field<E>]> + 'a,
    {
        self.elements().iter().filter_map(Given::value)
    }

    /// The place of the value, or else that of the section around it.
    fn place(&self, section: Span) -> Span {
        self.entry().map_or(section, |field| match field.origin {
            ValueOrigin::Written(at) | ValueOrigin::Inherited(at) => at,
            ValueOrigin::Default => section,
        })
    }
}

impl<T> Given<T> for Field<T> {
    fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    fn entry(&self) -> Option<&Field<T>> {
        (self.origin != ValueOrigin::Default).then_some(self)
    }
}

impl<T> Given<T> for Option<Field<T>> {
    fn value(&self) -> Option<&T> {
        self.as_ref()?.value.as_ref()
    }

    fn entry(&self) -> Option<&Field<T>> {
        self.as_ref()
    }
}

/// A section that may be absent, as a part of another one. It is boxed: there
/// may be many thousand routes, and most have few of their sections.
pub(super) type Nested<T> = Option<Field<Box<T>>>;

/// A section, or where it is absent one with all of its defaults. `None`: it is
/// wrong, which was reported.
pub(super) fn section<T: Clone + DeserializeOwned>(entry: &Nested<T>) -> Option<Cow<'_, T>> {
    match entry {
        Some(field) => field.value().map(|section| Cow::Borrowed(&**section)),
        None => without_keys().map(Cow::Owned),
    }
}

/// The value that serde makes of a table without keys; `None` for a section
/// with required keys. The defaults of a section exist only in the attributes
/// of its fields, and this is the way to them.
fn without_keys<T: DeserializeOwned>() -> Option<T> {
    let no_keys = std::iter::empty::<(&str, &str)>();
    T::deserialize(MapDeserializer::<_, serde::de::value::Error>::new(no_keys)).ok()
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(FIELD, FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its place")
    }

    /// The place comes first, as numbers that any format could carry, then the
    /// value. An error says that it was reported: the deserializer is asked
    /// again, because a table tells each of its missing keys this way. It ends
    /// with no value after at most as many errors as the table has keys, and
    /// one.
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut parts: A) -> Result<Field<T>, A::Error> {
        let place = parts.next_element::<[u32; 4]>()?;
        let Some([file, start, end, is_inherited]) = place else {
            return Err(de::Error::custom("a value without a place"));
        };
        let value = loop {
            if let Ok(value) = parts.next_element::<T>() {
                break value;
            }
        };
        let at = Span { file, start, end };
        let origin = match is_inherited {
            0 => ValueOrigin::Written(at),
            _ => ValueOrigin::Inherited(at),
        };
        Ok(Field { value, origin })
    }
}

impl<T: Serialize> Serialize for Field<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let number = next_number(generator);
        // In a schema of its own, so that the schema of an `Option` is one
        // around this, whatever the type of the value.
        json_schema!({ "allOf": [T::json_schema(generator)], ORDER: number })
    }
}

/// Counts the fields, because the members of a JSON object lose their order and
/// advice lists keys in the order of the structs. The definitions are the only
/// place of a generator where a number can be kept.
fn next_number(generator: &mut SchemaGenerator) -> u64 {
    let count = generator.definitions_mut().entry(ORDER).or_insert(0.into());
    let number = count.as_u64().unwrap_or_default();
    *count = (number + 1).into();
    number
}
