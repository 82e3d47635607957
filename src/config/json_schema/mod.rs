//! JSON Schema of the language, for editors and for advice.
//!
//! The tests derive it from the structs of `wire` and compare it with
//! `language.json`, which is what the program reads. The code that derives it
//! would be a twentieth of the program, and its result only changes with the
//! version.
//!
//! `tidegate schema` prints the schema, and `config/tidegate.schema.json` is a
//! copy that the examples name.

#[cfg(test)]
mod derived;

use serde_json::{Map, Value};

use super::field::ORDER;

#[cfg(test)]
pub(super) use derived::derived;

/// The schema on one line, with the numbers of the keys.
const LANGUAGE: &str = include_str!("language.json");

/// The schema (draft 7, which editors of TOML know best) with descriptions and
/// defaults.
///
/// ```
/// let schema = tidegate::config::json_schema();
/// let burst = &schema["properties"]["limits"]["additionalProperties"]["properties"]["burst"];
/// assert_eq!(burst["minimum"], 1);
/// ```
///
/// The result depends on nothing but the language, and is made anew in each
/// call.
pub fn json_schema() -> Value {
    without_order(ordered())
}

/// The same, with the number of each key in the order of the structs under
/// [`ORDER`]: the members of an object are sorted by their names.
pub(super) fn ordered() -> Value {
    serde_json::from_str(LANGUAGE).unwrap_or_default()
}

/// Changes a schema and all schemas inside of it, the innermost first. The
/// members of `properties` are an object like a schema is: a change must not
/// take the name of a key for a word of JSON Schema.
fn everywhere(schema: &mut Value, change: fn(&mut Map<String, Value>)) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| everywhere(item, change)),
        Value::Object(members) => {
            members
                .values_mut()
                .for_each(|value| everywhere(value, change));
            change(members);
        }
        _ => {}
    }
}

/// The schema as editors read it.
pub(super) fn without_order(mut schema: Value) -> Value {
    everywhere(&mut schema, |members| {
        members.remove(ORDER);
    });
    schema
}
