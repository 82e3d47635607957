//! The example files and the schema beside them are valid and current.

use std::{fs, path::Path};

use serde_json::Value;

use super::super::{
    Code, Environment, json_schema,
    json_schema::{derived, without_order},
    load,
};

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config"))
}

#[test]
fn every_example_is_a_valid_configuration_that_names_its_schema() {
    let names = [
        "browser.toml",
        "canary.toml",
        "complete.toml",
        "edge.toml",
        "grpc.toml",
        "https.toml",
        "internal-services.toml",
        "llm.toml",
        "login.toml",
        "minimal.toml",
        "partners.toml",
        "plans.toml",
        "public-api.toml",
        "shared.toml",
        "tenants.toml",
        "tokens.toml",
        "traces.toml",
        "websocket.toml",
    ];
    let mut found: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    found.retain(|name| {
        Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "toml")
    });
    found.sort();
    assert_eq!(found, names);
    for name in names {
        let text = fs::read_to_string(folder().join(name)).unwrap();
        assert!(
            text.starts_with("#:schema ./tidegate.schema.json\n"),
            "{name}"
        );
        let place = with_files(&text);
        fs::write(place.path().join(name), &text).unwrap();
        let config = load(&place.path().join(name), &Environment::new())
            .unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert!(!config.routes.is_empty());
        let warned: Vec<_> = config.warnings.list.iter().map(|one| one.code).collect();
        // The example itself says this beside the line: without a token, every
        // client that reaches its admin listener may reload.
        let known = if name == "internal-services.toml" {
            &[Code::Exposed][..]
        } else {
            &[]
        };
        assert_eq!(warned, known, "{}", config.warnings);
    }
}

/// A folder with the files that an example names: the bodies beside it, and
/// certificates, keys and API keys, which the examples lack.
fn with_files(text: &str) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("errors")).unwrap();
    for name in text.split('"').filter(|word| word.starts_with("errors/")) {
        fs::copy(folder().join(name), place.path().join(name)).unwrap();
    }
    fs::create_dir(place.path().join("certs")).unwrap();
    for name in text
        .split('"')
        .filter(|word| word.starts_with("certs/") && word.ends_with(".pem"))
    {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(["a.example".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        fs::write(place.path().join(name), certificate.pem()).unwrap();
        fs::write(
            place.path().join(name).with_extension("key"),
            key.serialize_pem(),
        )
        .unwrap();
    }
    let words = text.split('"');
    let key = format!(
        "[[keys]]\nname = \"acme\"\nsha256 = \"{}\"\n",
        "0".repeat(64)
    );
    for name in words.filter(|word| word.ends_with(".keys.toml")) {
        fs::write(place.path().join(name), &key).unwrap();
    }
    place
}

/// Run with `UPDATE_SCHEMA=1` to write the schema, which `json_schema` has from
/// the next build on.
#[test]
fn the_schema_of_the_program_is_that_of_the_structs() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/json_schema/language.json");
    is_up_to_date(&source, &format!("{}\n", derived()));
}

#[test]
fn the_schema_beside_the_examples_is_that_of_the_structs() {
    let printed = without_order(derived());
    is_up_to_date(
        &folder().join("tidegate.schema.json"),
        &format!("{printed:#}\n"),
    );
}

fn is_up_to_date(path: &Path, derived: &str) {
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(path, derived).unwrap();
    }
    let written = fs::read_to_string(path).unwrap();
    assert!(written == derived, "{} is out of date", path.display());
}

#[test]
fn the_complete_example_has_every_key_of_the_schema() {
    let text = fs::read_to_string(folder().join("complete.toml"))
        .unwrap()
        .replace("# token_file", "token_file")
        .replace("# password_file", "password_file")
        .replace("\n## ", "\n");
    let file: Value = toml::from_str(&text).unwrap();
    assert_eq!(absent(&json_schema(), &[&file], ""), Vec::<String>::new());
}

/// Keys of the schema that are in none of these tables.
fn absent(schema: &Value, tables: &[&Value], path: &str) -> Vec<String> {
    let of_values = |inner: &Value| {
        let values: Vec<&Value> = tables
            .iter()
            .filter_map(|table| table.as_object())
            .flat_map(|table| table.values())
            .collect();
        absent(inner, &values, path)
    };
    if let Some(kinds) = schema["anyOf"].as_array() {
        return kinds
            .iter()
            .flat_map(|kind| absent(kind, tables, path))
            .collect();
    }
    if schema["type"] == "array" {
        let items: Vec<&Value> = tables
            .iter()
            .filter_map(|list| list.as_array())
            .flatten()
            .collect();
        return absent(&schema["items"], &items, path);
    }
    if schema["additionalProperties"].is_object() {
        return of_values(&schema["additionalProperties"]);
    }
    let keys = schema["properties"].as_object().into_iter().flatten();
    let of_key = |(key, inner): (&String, &Value)| {
        let path = format!("{path}.{key}");
        let values: Vec<&Value> = tables.iter().filter_map(|table| table.get(key)).collect();
        // Keys of a route need not be repeated in the defaults.
        if values.is_empty() && !path.starts_with(".defaults.") {
            vec![path]
        } else {
            absent(inner, &values, &path)
        }
    };
    keys.flat_map(of_key)
        .filter(|path| !path.starts_with(".defaults."))
        .collect()
}
