//! `tidegate reload`: asks a running gateway to read its configuration again,
//! and prints the changes.
//!
//! The file of the gateway says where its admin listener is and which token it
//! wants. The gateway reads the file itself: this command sends nothing of it.
//!
//! The file is searched for and read as `tidegate run` does, but only for the
//! address and the token of the admin listener. With `--admin` the file is
//! optional, and the gateway says which mistakes it has. Without, a file with
//! mistakes names no address: the gateway, which refuses the same file, is not
//! asked.
//!
//! The response is JSON (`admin`), and this command turns it into text. A
//! gateway of another version may send other fields: one that is absent is left
//! out or replaced by a neutral word, and none makes the command fail.
//!
//! # Exit status
//!
//! 0 if the gateway has reloaded or found nothing changed, 1 in all other
//! cases: mistakes in the file, no gateway at the address, a refused token, or
//! a configuration that the gateway refuses.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use http::StatusCode;
use serde_json::Value;

use super::{
    client::{self, Address, Unanswered},
    output::{complain, fail, print, tell},
    run,
};
use crate::{config::Diagnostics, reload::ConfigSource};

/// Ask a running gateway to reload, and tell what changed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The file that the gateway runs: it says where its admin listener is, and
    /// the token [default: ./tidegate.toml, then /etc/tidegate/tidegate.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its admin listener, where the file does not say it
    #[arg(long, value_name = "URL", value_parser = Address::parse)]
    admin: Option<Address>,
}

const EXAMPLES: &str = "\
Examples:
  tidegate reload
  tidegate reload --config gateway.toml
  tidegate reload --admin http://127.0.0.1:9901

Exit status: 0 reloaded or unchanged, 1 if the file has mistakes, or if the gateway refused the configuration or does not answer.";

/// The address and the token of a call.
///
/// Not `Debug`, as the token is a secret.
struct Target {
    /// The admin listener.
    address: Address,
    /// The token of the admin listener, if it has one.
    token: Option<String>,
}

/// Asks for the reload, and prints its outcome.
///
/// Blocks until the gateway has reloaded, bounded by the timeouts of `client`.
/// The changes go to stdout, all reports to stderr.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    let target = match target(arguments) {
        Ok(target) => target,
        Err(Missing::Mistakes(mistakes)) => {
            tell(&mistakes);
            return fail(
                "not reloaded: the file has mistakes; a gateway that runs keeps its previous configuration",
            );
        }
        Err(Missing::Other(why)) => return fail(why),
    };
    match client::post(&target.address, "/reload", target.token.as_deref()) {
        Ok((StatusCode::OK, answer)) => print(&told(&answer)),
        Ok((StatusCode::UNPROCESSABLE_ENTITY, answer)) => {
            complain(
                answer["error"]
                    .as_str()
                    .unwrap_or("the gateway gave no reason")
                    .trim_end(),
            );
            fail("not reloaded; the previous configuration stays in use")
        }
        Ok((status, answer)) => {
            let detail = answer["detail"].as_str().unwrap_or("no reason given");
            fail(format!("{} answered {status}: {detail}", target.address))
        }
        Err(Unanswered::Unreachable(why)) => fail(format!(
            "no gateway answers at {}: {why}; --admin URL names another place",
            target.address
        )),
        Err(Unanswered::Broken(why)) => fail(format!("{}: {why}", target.address)),
    }
}

/// Why the address is unknown.
enum Missing {
    /// The file has mistakes.
    Mistakes(Diagnostics),
    /// There is no file, or it has no admin listener with a known port. The
    /// text is a sentence.
    Other(String),
}

/// The admin listener that the arguments or the file name.
///
/// `--admin` wins over the file. Without it, the file must exist and be free of
/// mistakes.
///
/// # Errors
/// The address is unknown: see the variants of `Missing`. A port 0 in the file
/// is an error, because only the gateway knows the port that the system has
/// chosen.
fn target(arguments: Arguments) -> Result<Target, Missing> {
    let config = run::file(arguments.config, "--config FILE")
        .map_err(Missing::Other)
        .and_then(|path| ConfigSource::File(path).load().map_err(Missing::Mistakes));
    if let Some(address) = arguments.admin {
        // The file is of use only for its token then: the gateway will say what
        // is wrong with it.
        let token = config.ok().and_then(|config| config.admin?.token);
        return Ok(Target {
            address,
            token: token.map(|token| token.0),
        });
    }
    let off = "the configuration has `bind = \"off\"` in `[admin]`; SIGHUP reloads too";
    let admin = config?
        .admin
        .ok_or_else(|| Missing::Other(off.to_owned()))?;
    if admin.bind.port() == 0 {
        let unknown = "the admin listener's port is chosen by the system; name it with --admin URL";
        return Err(Missing::Other(unknown.to_owned()));
    }
    Ok(Target {
        address: Address::of(admin.bind).map_err(Missing::Other)?,
        token: admin.token.map(|token| token.0),
    })
}

/// The changes, with a line for each kind of item, as in the log of the
/// gateway.
///
/// The first line is the outcome. The kinds `limits`, `upstreams` and `routes`
/// are listed only if the response has changes, each with `none` if it has no
/// item.
fn told(answer: &Value) -> String {
    let mut text = format!("{}\n", answer["outcome"].as_str().unwrap_or("reloaded"));
    let sections = texts(&answer["sections"]);
    if !sections.is_empty() {
        text += &format!("  changed: {}\n", sections.join(", "));
    }
    let kinds = if answer["changes"].is_object() {
        &["limits", "identities", "upstreams", "routes"][..]
    } else {
        &[]
    };
    for kind in kinds {
        let mut changes = Vec::new();
        for word in ["kept", "changed", "new", "gone"] {
            changes.extend(change(answer, kind, word));
        }
        // Most gateways have none.
        if changes.is_empty() && *kind == "identities" {
            continue;
        }
        text += &format!(
            "  {kind}: {}\n",
            if changes.is_empty() {
                "none".to_owned()
            } else {
                changes.join(", ")
            }
        );
    }
    for note in texts(&answer["notes"]) {
        text += &format!("  note: {note}\n");
    }
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        text += &format!("  warning: {}\n", one_line(warning));
    }
    text
}

/// The strings in an array; none if it is something else.
fn texts(array: &Value) -> Vec<&str> {
    let elements = array.as_array().into_iter().flatten();
    elements.filter_map(Value::as_str).collect()
}

/// A warning in one line.
///
/// The form is `file:line: message; help`, without the line if there is none.
fn one_line(warning: &Value) -> String {
    let file = warning["file"].as_str().unwrap_or_default();
    let line = match warning["line"].as_u64() {
        Some(line) => format!(":{line}"),
        None => String::new(),
    };
    let message = warning["message"].as_str().unwrap_or_default();
    let help = warning["help"].as_str().unwrap_or_default();
    format!("{file}{line}: {message}; {help}")
}

/// The items of a kind to which `word` happened; `None` if there are none.
/// Items that are kept are only counted.
fn change(answer: &Value, kind: &str, word: &str) -> Option<String> {
    let names = texts(&answer["changes"][kind][word]);
    match names.len() {
        0 => None,
        count if word == "kept" => Some(format!("{count} kept")),
        count => Some(format!("{count} {word} ({})", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changed_is_named_and_what_was_kept_is_counted() {
        let answer = json!({
            "outcome": "reloaded",
            "sections": ["log", "limits"],
            "changes": {
                "limits": { "kept": ["a", "b"], "changed": ["c"], "new": [], "gone": ["d"] },
                "identities": { "kept": [], "changed": ["i"], "new": ["j"], "gone": [] },
                "upstreams": { "kept": ["u"], "changed": [], "new": [], "gone": [] },
                "routes": {},
            },
            "notes": ["workers need a restart"],
            "warnings": [{ "file": "a.toml", "line": 3, "message": "no route names `c`", "help": "name it" }],
        });
        assert_eq!(
            told(&answer),
            "reloaded\n  changed: log, limits\n  limits: 2 kept, 1 changed (c), 1 gone (d)\n  identities: 1 changed (i), 1 new (j)\n  upstreams: 1 kept\n  routes: none\n  \
             note: workers need a restart\n  warning: a.toml:3: no route names `c`; name it\n"
        );
    }
}
