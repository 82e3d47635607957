//! The tables of the language agree with everything that uses them.

use serde_json::Value;

use super::{
    super::{
        Code, Config, Environment, json_schema,
        language::{self, Kind, Section},
        parse, redact,
    },
    places, read,
};
use crate::policy::{Route, is_secret_name};

/// Collects every section, with the beginning of a file that leads to it.
fn sections(section: &'static Section, header: &str, out: &mut Vec<(&'static Section, String)>) {
    out.push((section, header.to_owned()));
    let (above, last) = header.rsplit_once('\n').unwrap_or(("", header));
    let inner = last.trim_matches(['[', ']']).to_owned();
    let below = |name: &str| {
        if inner.is_empty() {
            name.to_owned()
        } else {
            format!("{inner}.{name}")
        }
    };
    // Inside a list, the tables above have to exist.
    let parent = if header.starts_with("[[") {
        format!("{header}\n")
    } else {
        String::new()
    };
    for key in &section.keys {
        match &key.kind {
            Kind::Table(table) => {
                let parent = if last.starts_with("[[") {
                    header
                } else {
                    above
                };
                let parent = if parent.is_empty() {
                    String::new()
                } else {
                    format!("{parent}\n")
                };
                sections(table, &format!("{parent}[{}]", below(&key.name)), out);
            }
            Kind::Tables(of) => {
                let table = of.section().unwrap();
                sections(table, &format!("{parent}[[{}]]", below(&key.name)), out)
            }
            Kind::Named(of) => {
                let table = of.section().unwrap();
                sections(table, &format!("[{}.x]", below(&key.name)), out)
            }
            _ => {}
        }
    }
}

fn all_sections() -> Vec<(&'static Section, String)> {
    let mut out = Vec::new();
    sections(language::file(), "", &mut out);
    assert!(out.len() > 20);
    out
}

fn codes(header: &str, key: &str) -> Vec<Code> {
    places(read(&format!("{header}\n{key} = 1979-05-27\n")))
        .into_iter()
        .map(|(_, code)| code)
        .collect()
}

#[test]
fn every_key_of_the_language_is_known_to_the_check() {
    for (section, header) in all_sections() {
        for key in &section.keys {
            let codes = codes(&header, &key.name);
            assert!(
                codes.contains(&Code::WrongType),
                "{header} {}: {codes:?}",
                key.name
            );
            assert!(!codes.contains(&Code::UnknownKey), "{header} {}", key.name);
        }
    }
}

/// In tests, the deserializer compares the keys of each section that it reads
/// with those of the schema.
#[test]
fn every_section_has_the_keys_of_its_struct() {
    for (_, header) in all_sections() {
        let _ = read(&format!("{header}\n"));
    }
    // Long forms of values that have a short one, too.
    let forms = "[upstreams.a]\nservers = [{}]\n[limits.a]\nmissing = {}\ncost = {}\n";
    let _ = read(&format!("{forms}[[routes]]\nupstream = [{{}}]\n"));
}

#[test]
fn keys_that_only_sound_like_secrets_are_listed() {
    let sections = all_sections();
    let names = sections
        .iter()
        .flat_map(|(section, _)| &section.keys)
        .map(|key| key.name.as_str());
    let mut sounding: Vec<_> = names.filter(|name| is_secret_name(name)).collect();
    sounding.sort_unstable();
    sounding.dedup();
    assert_eq!(sounding, redact::NO_SECRETS);
}

#[test]
fn the_schema_has_exactly_the_keys_of_the_language() {
    fn count(schema: &Value) -> usize {
        let own = schema["properties"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        let inner = match schema {
            Value::Object(members) => members.values().map(count).sum(),
            Value::Array(items) => items.iter().map(count).sum(),
            _ => 0,
        };
        own + inner
    }
    // The tables of servers, of a cost, of a split and of a missing part, for
    // which there is a shorter form.
    let shorthands = 3 + 5 + 2 + 4;
    let language: usize = all_sections()
        .iter()
        .map(|(section, _)| section.keys.len())
        .sum();
    assert_eq!(count(&json_schema()), language + shorthands);
}

/// Keys of a section with a default, each as a line of a file.
fn with_defaults(section: &Section) -> Vec<String> {
    let defaults = section
        .keys
        .iter()
        .filter_map(|key| Some((&key.name, key.default.as_ref()?)));
    defaults
        .map(|(name, value)| format!("{name} = {value}"))
        .collect()
}

/// A key with the example that the schema has for it, in the shape that it has.
fn with_example(name: &str, kind: &Kind) -> Option<String> {
    let example = kind.inside(1).example().or(kind.example());
    let example = match kind {
        Kind::Or(_, of) => of.example(),
        Kind::Either(short, _) => short.example(),
        _ => example,
    };
    let value = format!("{:?}", example?);
    Some(match kind {
        Kind::List(_) => format!("{name} = [{value}]"),
        Kind::Map(of_name, _) => format!("{name} = {{ {of_name:?} = {value} }}"),
        Kind::Text(_) | Kind::OneOrList(_) | Kind::Or(..) | Kind::Either(..) => {
            format!("{name} = {value}")
        }
        _ => return None,
    })
}

#[test]
fn every_default_and_every_example_is_a_value_its_key_may_have() {
    for (section, header) in all_sections() {
        let examples = section
            .keys
            .iter()
            .filter_map(|key| with_example(&key.name, &key.kind));
        for line in with_defaults(section).into_iter().chain(examples) {
            let Err(mistakes) = read(&format!("{header}\n{line}\n")) else {
                continue;
            };
            let refused = mistakes.list.iter().find(|one| {
                matches!(
                    one.code,
                    Code::BadValue | Code::WrongType | Code::UnknownKey
                )
            });
            assert!(refused.is_none(), "{header} {line}\n{mistakes}");
        }
    }
}

#[test]
fn the_view_is_a_valid_configuration() {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/config/public-api.toml"
    ))
    .unwrap();
    let first = parse("a.toml", &text, &Environment::new()).unwrap();
    let again = toml::to_string(&first.shown()).unwrap();
    let second = parse("b.toml", &again, &Environment::new())
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(first.shown(), second.shown());
    // The view contains every default, so each route sets the bound that
    // applies to calls, too.
    let without_call_bounds = |config: &Config| -> Vec<_> {
        let mut routes: Vec<_> = config
            .routes
            .iter()
            .map(|route| Route::clone(route))
            .collect();
        routes
            .iter_mut()
            .for_each(|route| route.request.max_call_body = None);
        routes
    };
    assert_eq!(without_call_bounds(&first), without_call_bounds(&second));
    assert_eq!(first.limits, second.limits);
}
