//! The configuration: a TOML file in, a checked [`crate::policy::Config`] or all of its mistakes out. A leaf.
//!
//! A file passes four steps, each in its own module: `include` reads texts and `parse` turns them into a tree with
//! places; `check` holds the tree against the tables of `schema`; `resolve` looks at what several keys mean together
//! and builds the types of [`policy`](crate::policy). Mistakes are collected on the way and told together at the end.

mod advice;
mod certificates;
mod check;
mod configuration;
mod diagnostic;
mod environment;
mod foreign;
mod guess;
mod include;
mod json_schema;
mod misplaced;
mod parse;
mod problem;
mod redact;
mod resolve;
mod schema;
mod shown;
mod slips;
mod source;
mod suggest;
mod syntax;
mod tree;
mod units;
mod watched;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

pub use self::{
    configuration::{Config, Environment},
    diagnostic::{Diagnostic, Diagnostics, Place},
    environment::of_process as process_environment,
    json_schema::json_schema,
    problem::{Code, Severity},
    source::{LONGEST_FILE, decoded},
    syntax::path::whole_path_regex,
    units::rate_text,
    watched::Watched,
};
use self::{include::Loading, tree::Table};

/// Reads a configuration file, the files it includes, and those they name: certificates, keys, a token, a password.
///
/// # Errors
/// All mistakes found in any of them; also then with the files and folders to watch for a repair.
pub fn load(path: &Path, environment: &Environment) -> Result<Config, Diagnostics> {
    let mut loading = Loading::new(environment);
    let table = loading.file(path, None);
    finish(path, table, loading)
}

/// Reads a configuration from memory. `name` stands in diagnostics; relative files start at the current folder when it
/// has no folder.
///
/// # Errors
/// As [`load`].
pub fn parse(name: &str, text: &str, environment: &Environment) -> Result<Config, Diagnostics> {
    let mut loading = Loading::new(environment);
    let table = loading.text(Path::new(name), text.to_owned());
    finish(Path::new(name), table, loading)
}

/// A duration or rate as the language writes it, outside a file: why it is none, and what would be right.
fn wrong(text: &str, wrong: problem::Wrong) -> String {
    format!("{text:?}: {}; {}", wrong.why, wrong.help)
}

/// A rate such as `"100/s"`.
///
/// # Errors
/// Says what is wrong, and what would be right.
pub fn read_rate(text: &str) -> Result<crate::policy::Rate, String> {
    units::rate(text).map_err(|why| wrong(text, why))
}

/// A duration such as `"10m"`.
///
/// # Errors
/// Says what is wrong, and what would be right.
pub fn read_duration(text: &str) -> Result<std::time::Duration, String> {
    units::duration(text).map_err(|why| wrong(text, why))
}

fn finish(path: &Path, table: Table, mut loading: Loading<'_>) -> Result<Config, Diagnostics> {
    let config = resolve::config(path, table, &mut loading);
    match config {
        Some(mut config) if !loading.problems.has_errors() => {
            let mut warnings = Diagnostics::new(loading.problems, loading.sources);
            config.watched = std::mem::take(&mut warnings.watched);
            config.warnings = Arc::new(warnings);
            Ok(config)
        }
        _ => Err(Diagnostics::new(loading.problems, loading.sources)),
    }
}
