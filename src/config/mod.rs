//! The configuration: a TOML file in, a checked [`Config`] or all of its
//! mistakes out.
//!
//! A file passes four steps, each in its own module:
//!
//! 1. `include` reads texts, and `parse` turns them into a tree with places.
//! 2. `de` deserializes the tree into the structs of `wire`, which are the
//!    language: keys, values, defaults, and the descriptions that editors show.
//! 3. `resolve` looks at what several keys mean together and builds the types
//!    of [`policy`](crate::policy).
//! 4. `diagnostic` turns the mistakes that were collected on the way into
//!    lines, columns and pictures.
//!
//! To add a key, add a field with a doc comment to its struct in `wire`, use it
//! in `resolve`, and describe it in the reference. The schema, the check of a
//! file, the advice and the view of the running configuration follow.

mod advice;
pub mod api_keys;
mod certificates;
mod characters;
mod configuration;
mod de;
mod diagnostic;
mod environment;
mod field;
mod include;
mod json_schema;
mod language;
mod misplaced;
mod parse;
mod problem;
mod redact;
mod resolve;
mod shown;
mod source;
mod suggest;
mod syntax;
mod tree;
mod units;
mod watched;
mod wire;
mod words;
mod wrong;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

pub use self::{
    configuration::Config,
    diagnostic::{Diagnostic, Diagnostics, Place},
    environment::{Environment, of_process as process_environment},
    json_schema::json_schema,
    problem::{Code, Severity},
    source::{LONGEST_FILE, decoded},
    syntax::path::whole_path_regex,
    units::rate_text,
    watched::Watched,
};
use self::{include::Loading, tree::Table, wrong::Wrong};

/// Reads a configuration file, the files it includes, and those they name:
/// certificates, keys, a token, a password.
///
/// # Errors
/// All mistakes found in any of them; also then with the files and folders to
/// watch for a repair.
pub fn load(path: &Path, environment: &Environment) -> Result<Config, Diagnostics> {
    let mut loading = Loading::new(environment);
    let table = loading.file(path, None);
    finish(path, table, loading)
}

/// Reads a configuration from memory. `name` is the file's name in diagnostics;
/// names of other files start at its folder, or at the current one if it has
/// none.
///
/// # Errors
/// As [`load`].
///
/// # Examples
/// All mistakes are found at once, each with its place and a way to mend it:
///
/// ```
/// use tidegate::config::{Code, Environment, parse};
///
/// let text = "
/// [[routes]]
/// name = \"app\"
/// upstrem = \"app\"
///
/// [upstreams.app]
/// servers = [\"127.0.0.1:9001\"]
/// ";
/// let mistakes = parse("gate.toml", text, &Environment::new()).unwrap_err();
/// let codes: Vec<_> = mistakes.list.iter().map(|mistake| mistake.code).collect();
/// assert_eq!(codes, [Code::UnknownKey, Code::BadValue]);
/// let shown = mistakes.render(false);
/// assert!(shown.contains("gate.toml:4:1") && shown.contains("did you mean `upstream`?"));
/// assert!(shown.contains("write \"http://127.0.0.1:9001\""));
/// ```
pub fn parse(name: &str, text: &str, environment: &Environment) -> Result<Config, Diagnostics> {
    let mut loading = Loading::new(environment);
    let table = loading.text(Path::new(name), text.to_owned());
    finish(Path::new(name), table, loading)
}

/// The error for a text outside a file, as on the command line: the reason, and
/// the form that would be right.
fn wrong(text: &str, wrong: Wrong) -> String {
    format!("{text:?}: {}; {}", wrong.why, wrong.help)
}

/// A rate such as `"100/s"`.
///
/// # Errors
/// Says what is wrong, and what would be right.
///
/// # Examples
/// ```
/// use tidegate::config::{rate_text, read_rate};
///
/// assert_eq!(read_rate("60/1m").map(rate_text), Ok("60/m".to_owned()));
/// let error = read_rate("100 per minute").unwrap_err();
/// assert!(error.ends_with("did you mean \"100/m\"?"), "{error}");
/// ```
pub fn read_rate(text: &str) -> Result<crate::policy::Rate, String> {
    units::rate(text).map_err(|why| wrong(text, why))
}

/// A duration such as `"10m"`, at most a year.
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
