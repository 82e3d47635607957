//! Names of routes, limits and upstreams, each given once.

use std::collections::BTreeMap;

/// Longest name; `check` accepts 128 bytes, and a number may follow.
const LONGEST: usize = 100;

/// The names of one kind of thing.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Each with the number that the next thing of this name gets.
    given: BTreeMap<String, usize>,
}

impl Names {
    /// The name that is wanted, without characters that no name has, and with a
    /// number if another thing has it.
    pub(super) fn unique(&mut self, wanted: &str) -> String {
        let is_kept = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\'' | '\\' | '`');
        let kept: String = wanted.chars().filter(is_kept).take(LONGEST).collect();
        let base = match kept.trim() {
            "" => "unnamed",
            name => name,
        };
        let mut name = base.to_owned();
        while self.given.contains_key(&name) {
            let number = self.given.entry(base.to_owned()).or_insert(2);
            name = format!("{base}-{number}");
            *number += 1;
        }
        self.given.insert(name.clone(), 2);
        name
    }
}

/// A part of the name of a table: bare if it may be.
pub(super) fn table_name(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match name.chars().all(is_bare) {
        true => name.to_owned(),
        false => super::toml::text(name),
    }
}
