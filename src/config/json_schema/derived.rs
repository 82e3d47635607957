//! The schema as the structs of `wire` give it, put into a plain form.
//!
//! schemars describes what serde reads from JSON. The language is a subset of
//! TOML, so the following differs: nothing is null, a switch may be a string
//! with a variable of the environment, unknown keys are errors, and
//! descriptions of choices in the code are no concern of a user. Every
//! definition is inlined: the fields of a struct say where it is used, and two
//! sections of one type may have different descriptions.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{
    super::wire::{File, numbers::VARIABLE},
    everywhere,
};

/// The schema (draft 7), with the number of each key in the order of the
/// structs under `ORDER`: the members of an object are sorted by their names.
pub(in crate::config) fn derived() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    let generator = settings.into_generator();
    let mut schema = generator.into_root_schema_for::<File>().to_value();
    everywhere(&mut schema, plain);
    if let Some(members) = schema.as_object_mut() {
        members.remove("definitions");
    }
    schema["title"] = json!("tidegate.toml");
    let routes = schema["properties"]["routes"]["items"]["properties"].clone();
    let defaults = &mut schema["properties"]["defaults"];
    // A key that is missing in the defaults may come from the route.
    everywhere(defaults, without_required);
    if let Some(keys) = defaults["properties"].as_object_mut() {
        for (name, key) in keys {
            key["description"] = routes[name]["description"].clone();
        }
    }
    schema
}

/// Takes out what TOML has no use for.
fn plain(members: &mut Map<String, Value>) {
    join_lines(members);
    unwrapped(members);
    words_of_choice(members);
    if members.get("type").is_some_and(|of| of == "boolean") {
        members.insert("type".to_owned(), json!(["boolean", "string"]));
        members.insert("pattern".to_owned(), json!(VARIABLE));
    }
    if members.get("properties").is_some_and(Value::is_object) {
        members.insert("additionalProperties".to_owned(), json!(false));
    }
}

/// Joins the lines of a description, which are those of a doc comment.
fn join_lines(members: &mut Map<String, Value>) {
    if let Some(Value::String(description)) = members.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}

/// The variants of an enum, without what each means in the code.
///
/// Nothing is changed if one of the variants is no plain word.
fn words_of_choice(members: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = members.get("oneOf") else {
        return;
    };
    let word = |variant: &Value| variant.get("const").cloned();
    let words: Option<Vec<_>> = variants.iter().map(word).collect();
    if let Some(words) = words {
        members.remove("oneOf");
        members.insert("enum".to_owned(), words.into());
        members.insert("type".to_owned(), json!("string"));
    }
}

/// Takes a value out of the schemas of its `Field` and its `Option`. The second
/// may be null in Rust, where an absent key of TOML is absent.
///
/// Members around the inner schema, such as a description, are kept and win
/// over its own.
fn unwrapped(members: &mut Map<String, Value>) {
    for list in ["allOf", "anyOf"] {
        let Some(Value::Array(choices)) = members.get_mut(list) else {
            continue;
        };
        choices.retain(|choice| choice["type"] != "null");
        if let [only] = &mut choices[..] {
            let only = only.take();
            members.remove(list);
            for (name, value) in only.as_object().into_iter().flatten() {
                members.entry(name).or_insert(value.clone());
            }
        }
    }
}

/// Takes out the list of required keys, and not a key of that name.
fn without_required(members: &mut Map<String, Value>) {
    members.retain(|name, value| name != "required" || !value.is_array());
}
