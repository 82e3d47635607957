//! `tidegate check`: all mistakes of a file, before a gateway sees it. Nothing is bound and nobody is called.

use std::{path::PathBuf, process::ExitCode, time::SystemTime};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{fail, mistaken, print};
use crate::{
    app,
    config::{Config, Diagnostics},
    reload::Source,
};

/// Check a configuration file and tell every mistake in it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Configuration file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// For people on stderr, or for programs on stdout
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  tidegate check tidegate.toml
  tidegate check tidegate.toml --format json | jq -r '.[] | \"\\(.file):\\(.line): \\(.message)\"'

Exit status: 0 without a mistake, 1 with one, 2 for a wrong command line.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Source lines, carets and what would be right
    Human,
    /// An array with an object for each mistake
    Json,
}

/// What is wrong with a file.
enum Wrong {
    Mistakes(Diagnostics),
    /// Each value is sound, and yet it cannot be built.
    Impossible(String),
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let checked = check(&arguments.file);
    match arguments.format {
        Format::Json => {
            let printed = print(&format!("{:#}\n", list(&checked, arguments)));
            if checked.is_ok() { printed } else { ExitCode::FAILURE }
        }
        Format::Human => match checked {
            Ok(config) => {
                config.warnings(SystemTime::now()).iter().for_each(|warning| eprintln!("warning: {warning}"));
                print(&format!("{}: ok: {}\n", arguments.file.display(), summary(&config)))
            }
            Err(Wrong::Mistakes(mistakes)) => mistaken(&mistakes),
            Err(Wrong::Impossible(why)) => fail(format!("{}: {why}", arguments.file.display())),
        },
    }
}

fn check(file: &std::path::Path) -> Result<Config, Wrong> {
    let config = Source::File(file.to_owned()).load().map_err(Wrong::Mistakes)?;
    app::try_build(config).map_err(Wrong::Impossible)
}

fn list(checked: &Result<Config, Wrong>, arguments: &Arguments) -> Value {
    match checked {
        Ok(config) => {
            let file = arguments.file.to_string_lossy();
            let warning = |why: &String| json!({ "severity": "warning", "code": "expiry", "file": file, "line": null, "message": why });
            config.warnings(SystemTime::now()).iter().map(warning).collect()
        }
        Err(Wrong::Mistakes(mistakes)) => mistakes.to_json(),
        Err(Wrong::Impossible(why)) => {
            let file = arguments.file.to_string_lossy();
            json!([{ "severity": "error", "code": "impossible", "file": file, "line": null, "message": why }])
        }
    }
}

fn summary(config: &Config) -> String {
    let counted =
        [(config.routes.len(), "route"), (config.limits.len(), "limit"), (config.upstreams.len(), "upstream")];
    counted.map(|(count, thing)| format!("{count} {thing}{}", if count == 1 { "" } else { "s" })).join(", ")
}
