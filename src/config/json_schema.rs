//! JSON Schema of the language, for editors: derived from the structs of
//! `wire`, and put into a plain form.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{
    field::ORDER,
    wire::{File, numbers::VARIABLE},
};

/// The schema (draft 7, which editors of TOML know best) with descriptions and
/// defaults.
pub fn json_schema() -> Value {
    let mut schema = ordered();
    without_order(&mut schema);
    schema
}

/// The same, with the number of each key in the order of the structs under
/// [`ORDER`]: the members of an object are sorted by their names.
pub(super) fn ordered() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<File>()
        .to_value();
    plain(&mut schema);
    if let Some(members) = schema.as_object_mut() {
        members.remove("definitions");
    }
    schema["title"] = json!("tidegate.toml");
    // A key that is missing in the defaults may come from the route.
    without_required(&mut schema["properties"]["defaults"]);
    schema
}

/// Takes out what TOML has no use for, in this schema and all below it.
fn plain(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Object(members) => {
            members.values_mut().for_each(plain);
            unwrapped(members);
            without_null(members);
            words_of_choice(members);
            if members.get("type").is_some_and(|of| of == "boolean") {
                members.insert("type".to_owned(), json!(["boolean", "string"]));
                members.insert("pattern".to_owned(), json!(VARIABLE));
            }
            if members.get("properties").is_some_and(Value::is_object) {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        _ => {}
    }
}

/// Joins the lines of a description, which are those of a doc comment.
fn unwrapped(members: &mut Map<String, Value>) {
    if let Some(Value::String(description)) = members.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}

/// The variants of an enum, without what each means in the code.
fn words_of_choice(members: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = members.get("oneOf") else {
        return;
    };
    let word = |variant: &Value| variant.get("const").cloned();
    let words: Option<Vec<_>> = variants.iter().map(word).collect();
    if let Some(words) = words {
        members.remove("oneOf");
        members.insert("enum".to_owned(), words.into());
    }
}

/// An `Option` of Rust may be null, and an absent key of TOML is absent.
fn without_null(members: &mut Map<String, Value>) {
    for list in ["type", "enum"] {
        let Some(Value::Array(items)) = members.get_mut(list) else {
            continue;
        };
        items.retain(|item| !item.is_null() && item != "null");
        if list == "type" && items.len() == 1 {
            members["type"] = items.remove(0);
        }
    }
    let Some(Value::Array(choices)) = members.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| choice["type"] != "null");
    if choices.len() > 1 {
        return;
    }
    let only = choices.pop();
    members.remove("anyOf");
    if let Some(Value::Object(only)) = only {
        for (name, value) in only {
            members.entry(name).or_insert(value);
        }
    }
}

fn without_order(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_order),
        Value::Object(members) => {
            members.remove(ORDER);
            members.values_mut().for_each(without_order);
        }
        _ => {}
    }
}

fn without_required(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_required),
        Value::Object(members) => {
            members.retain(|name, value| name != "required" || !value.is_array());
            members.values_mut().for_each(without_required);
        }
        _ => {}
    }
}
