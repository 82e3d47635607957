//! One name, one type: a reader who meets a name knows what it is, without a
//! look at the imports.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    report,
    source::{Source, production},
};

#[test]
fn a_name_stands_for_one_type() {
    let mut mistakes = Vec::new();
    for (name, places) in places() {
        if places.len() > 1 {
            let places: Vec<_> = places.into_values().collect();
            mistakes.push(format!("`{name}`: {}", places.join(", ")));
        }
    }
    report(&mistakes);
}

/// The files that declare a type, a trait or an alias of each name, by the part
/// of the source in which the name has to be the only one.
fn places() -> BTreeMap<&'static str, BTreeMap<Vec<String>, &'static str>> {
    let mut places: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for source in production().filter(|source| !is_written_language(source)) {
        for (module, scope) in &source.facts.scopes {
            for name in scope.items.iter().filter(|name| is_of_a_type(name)) {
                let place = without_protocol(module);
                let places = places.entry(name.as_str()).or_default();
                places.insert(place, source.shown.as_str());
            }
        }
    }
    places
}

/// Policies and the structs of the configuration are called what their sections
/// are, and so are the parts that run them. Each command has `Arguments`.
fn is_written_language(source: &Source) -> bool {
    matches!(source.area(), "policy" | "cli") || source.shown.starts_with("src/config/wire/")
}

fn is_of_a_type(name: &str) -> bool {
    name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase)
}

/// HTTP/1 and HTTP/2 lie beside each other, and have the same parts under the
/// same names.
fn without_protocol(module: &[String]) -> Vec<String> {
    let protocols = BTreeSet::from(["http1", "http2"]);
    let protocol = module
        .iter()
        .position(|part| protocols.contains(part.as_str()));
    match protocol {
        Some(at) => module[..at].to_vec(),
        None => module.to_vec(),
    }
}
