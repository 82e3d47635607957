//! Promises of the configuration, by family.

mod absent;
mod acme;
mod advice;
mod bans;
mod cors;
mod costs;
mod examples;
mod files;
mod foreign;
mod health;
mod identities;
mod in_flight;
mod language;
mod limits;
mod listeners;
mod log;
mod mistakes;
mod networks;
mod patterns;
mod recovery;
mod reference;
mod refusals;
mod rendered;
mod secrets;
mod stores;
mod times;
mod tls;
mod tokens;
mod traces;
mod upstreams;
mod values;
mod variables;
mod warnings;

use super::{Code, Config, Diagnostics, Environment, parse};

/// A valid upstream, to be combined with other tables.
const APP: &str = "[upstreams.app]\nservers = [\"http://127.0.0.1:9000\"]\n";

fn read(text: &str) -> Result<Config, Diagnostics> {
    parse("test.toml", text, &Environment::new())
}

/// Reads a configuration with the upstream `app` and the route `app`, to which
/// `route` adds keys. `top` goes first.
fn config_with(top: &str, route: &str) -> Result<Config, Diagnostics> {
    read(&format!(
        "{top}\n{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\n{route}"
    ))
}

/// Line and code of each diagnostic.
fn places(result: Result<Config, Diagnostics>) -> Vec<(usize, Code)> {
    let list = result.expect_err("mistakes").list;
    list.into_iter()
        .map(|one| (one.place.map_or(0, |place| place.line), one.code))
        .collect()
}

/// The only diagnostic: its code, and its message with its help.
fn only(result: Result<Config, Diagnostics>) -> (Code, String) {
    let diagnostics = result.expect_err("one mistake");
    assert_eq!(diagnostics.list.len(), 1, "{diagnostics}");
    let one = &diagnostics.list[0];
    (
        one.code,
        format!(
            "{} | {}",
            one.message,
            one.help.as_deref().unwrap_or_default()
        ),
    )
}
