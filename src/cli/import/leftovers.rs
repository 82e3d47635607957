//! Notes about the directives of locations that have become nothing.

use std::collections::BTreeSet;

use super::{
    actions,
    locations::{Kind, Location},
    notes::{Note, Outcome},
    reading, reasons,
    toml::Block,
};

/// Notes about named locations that nothing leads to which is carried over.
pub(super) fn unused(locations: &[Location<'_>], server: &str) -> Option<Block> {
    let used: BTreeSet<&str> = locations
        .iter()
        .filter_map(|location| Some(reading::fallback(location)?.1))
        .collect();
    let is_unused = |location: &&Location<'_>| {
        location.kind == Kind::Named && !used.contains(location.pattern.as_str())
    };
    let note = |location: &Location<'_>| {
        let why = "only other directives lead to it, which are not carried over";
        Note::new(location.directive, Outcome::Lost, why)
    };
    let notes: Vec<_> = locations.iter().filter(is_unused).map(note).collect();
    let title = format!("named locations of the server of {server}");
    (!notes.is_empty()).then(|| Block::of_notes(&title, notes))
}

/// Notes about the directives of a location that have become nothing.
pub(super) fn of_location(location: &Location<'_>, notes: &mut Vec<Note>) {
    let has = |is_one: &dyn Fn(&str) -> bool| {
        let names = location.others.iter().map(|other| other.name.as_str());
        names.into_iter().any(is_one)
    };
    let (returns, passes) = (
        has(&|name| name == "return"),
        has(&|name| name.ends_with("_pass")),
    );
    let told: BTreeSet<_> = notes.iter().map(Note::place).collect();
    for other in &location.others {
        match other.name.as_str() {
            "location" | "return" | "limit_except" | "rewrite" => {}
            "proxy_pass" | "grpc_pass" if !returns => {}
            "proxy_pass" | "grpc_pass" => {
                let why = "`return` comes before it";
                notes.push(Note::new(other, Outcome::Needless, why));
            }
            "internal" => {
                let why = "the location is for NGINX itself; clients get 404 as there";
                notes.push(Note::new(other, Outcome::Needless, why));
            }
            "root" | "index" | "autoindex" if !passes => {
                let why = "files are served by a service";
                notes.push(Note::new(other, Outcome::Lost, why));
            }
            "set" => notes.push(reasons::of_set(other)),
            // The reading has said what becomes of them.
            name if told.contains(&other.place) || actions::is_content(name) => {}
            _ => notes.push(reasons::note(other)),
        }
    }
}
