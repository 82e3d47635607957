//! Types that say again what a type of `policy` says.
//!
//! The configuration resolves into the types of `policy`, and what runs takes
//! them as they are. A twin is a type elsewhere with at least seven tenths of
//! the same fields or variants: it has to be translated into, and a new key has
//! to be written into both.

use crate::{
    reading::Type,
    source::{Source, production},
};

/// Percent of the members of either that both have.
const ALIKE: usize = 70;

/// `policy::Retry` and its twin.
pub struct Twin {
    pub policy: &'static str,
    pub name: &'static str,
    pub file: &'static str,
    pub line: usize,
}

/// Each type outside of `policy` beside the type of `policy` that it is most
/// like. The structs of the configuration's language are none: they are what is
/// written, with keys as names and text as values.
pub fn twins() -> Vec<Twin> {
    let policies = || types().filter(|(source, _)| source.area() == "policy");
    let others = types().filter(|(source, _)| !matches!(source.area(), "policy" | "config"));
    let mut found = Vec::new();
    for (source, other) in others {
        let alike = policies()
            .filter(|(_, policy)| policy.is_enum == other.is_enum)
            .map(|(_, policy)| (policy, likeness(policy, other)))
            .max_by_key(|(_, likeness)| *likeness);
        if let Some((policy, likeness)) = alike
            && likeness >= ALIKE
        {
            found.push(Twin {
                policy: &policy.name,
                name: &other.name,
                file: &source.shown,
                line: other.line,
            });
        }
    }
    found
}

/// Percent of the members of the policy that the other has as well. One common
/// member says nothing, and a type of twice as many or more is something else
/// that happens to hold them.
fn likeness(policy: &Type, other: &Type) -> usize {
    let common = policy.members.intersection(&other.members).count();
    let is_larger = other.members.len() >= 2 * policy.members.len();
    if common < 2 || is_larger {
        return 0;
    }
    common * 100 / policy.members.len()
}

fn types() -> impl Iterator<Item = (&'static Source, &'static Type)> {
    production().flat_map(|source| source.facts.types.iter().map(move |one| (source, one)))
}
