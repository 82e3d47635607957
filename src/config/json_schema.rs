//! JSON Schema of the language, for editors: exactly the keys that are built.

use serde_json::{Map, Value, json};

use super::schema::{Default, Key, Kind, Section, Syntax, process::FILE_ITSELF};

/// A stand-in for a number or for true and false: one variable of the environment.
const VARIABLE: &str = r"^\$\{[^}]*\}$";

/// The schema (draft 7, which editors of TOML know best) with descriptions and defaults.
pub fn json_schema() -> Value {
    let mut schema = section(&FILE_ITSELF, true);
    schema.insert(
        "$schema".to_owned(),
        json!("http://json-schema.org/draft-07/schema#"),
    );
    schema.insert("title".to_owned(), json!("tidegate.toml"));
    Value::Object(schema)
}

/// `required`: whether required keys have to be there. In `[defaults]` they may come from the route.
fn section(section: &'static Section, required: bool) -> Map<String, Value> {
    let required = required && section.path != "defaults";
    let properties: Map<_, _> = section
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), Value::Object(property(key, required))))
        .collect();
    let missing: Vec<_> = section
        .keys
        .iter()
        .filter(|key| required && key.required)
        .map(|key| key.name)
        .collect();
    let mut schema = object(json!({
        "type": "object",
        "description": section.about,
        "properties": properties,
        "additionalProperties": false,
    }));
    if !missing.is_empty() {
        schema.insert("required".to_owned(), json!(missing));
    }
    schema
}

fn property(key: &'static Key, required: bool) -> Map<String, Value> {
    let mut schema = kind(key.kind, required);
    schema.insert("description".to_owned(), json!(key.about));
    let default = match key.default {
        Default::Nothing => return schema,
        Default::Text(text) => json!(text),
        Default::Whole(number) => json!(number),
        Default::Flag(flag) => json!(flag),
        Default::Texts(texts) => json!(texts),
    };
    schema.insert("default".to_owned(), default);
    schema
}

fn kind(of: Kind, required: bool) -> Map<String, Value> {
    let inner = |of: &Kind| kind(*of, required);
    object(match of {
        Kind::Flag => json!({ "type": ["boolean", "string"], "pattern": VARIABLE }),
        Kind::Whole { least, most } => whole(least, most),
        Kind::Text(syntax) => return text(syntax),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Or(word, other) => json!({ "anyOf": [{ "const": word }, inner(other)] }),
        Kind::List(of) => {
            json!({ "type": "array", "items": inner(of), "minItems": 1, "uniqueItems": true })
        }
        Kind::Set(of) => json!({ "type": "array", "items": inner(of), "uniqueItems": true }),
        Kind::OneOrList(of) => json!({ "anyOf": [inner(of), kind(Kind::List(of), required)] }),
        Kind::OneOrMany(of) => {
            json!({ "anyOf": [inner(of), { "type": "array", "items": inner(of), "minItems": 1 }] })
        }
        Kind::WholeOrTable { least, most, table } => json!({
            "anyOf": [whole(least, most), section(table, required)],
        }),
        Kind::Map(_, values) => json!({ "type": "object", "additionalProperties": text(values) }),
        Kind::Table(inner) => return section(inner, required),
        Kind::Tables(inner) => {
            json!({ "type": "array", "items": section(inner, required), "minItems": 1 })
        }
        Kind::Named(inner) => {
            json!({ "type": "object", "additionalProperties": section(inner, required) })
        }
        Kind::TextOrTables(syntax, inner) => {
            json!({ "anyOf": [text(syntax), kind(Kind::Tables(inner), required)] })
        }
        Kind::TextOrTable(syntax, inner) => {
            json!({ "anyOf": [text(syntax), section(inner, required)] })
        }
    })
}

/// The bounds are for numbers only, the pattern for strings.
fn whole(least: u64, most: u64) -> Value {
    json!({ "type": ["integer", "string"], "minimum": least, "maximum": most, "pattern": VARIABLE })
}

fn text(syntax: &Syntax) -> Map<String, Value> {
    object(json!({ "type": "string", "examples": [syntax.example] }))
}

/// The members of what was written as an object just now.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
