//! `tidegate check`: finds all mistakes of a file before a gateway serves by
//! it.
//!
//! It reads and checks the file as a start does, and then builds all parts and
//! drops them again. No socket is bound and no server is called.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    output::{fail, mistaken, print, tell},
    run,
};
use crate::{
    app,
    config::{Config, Diagnostics, LONGEST_FILE, decoded},
    reload::ConfigSource,
};

/// Check a configuration file and tell every mistake in it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Configuration file, or `-` for stdin [default: ./tidegate.toml, then
    /// /etc/tidegate/tidegate.toml]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Warnings are errors
    #[arg(long)]
    strict: bool,
    /// For people on stderr, or for programs on stdout
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  tidegate check
  tidegate check tidegate.toml --strict
  tidegate check - < tidegate.toml
  tidegate check --format json | jq -r '.[] | \"\\(.file):\\(.line): \\(.message)\"'

An error makes the file unusable. A warning is for something that is allowed but is probably a mistake, such as a limit that no route names.

Exit status: 0 without an error, 1 with one (with --strict: or with a warning), 2 for a wrong command line.";

/// The file name for stdin.
const STDIN: &str = "-";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Source lines, carets and what would be right
    Human,
    /// An array with an object for each mistake
    Json,
}

/// Why a check fails.
enum CheckError {
    /// The file has mistakes; with `--strict`, or warnings.
    Mistakes(Diagnostics),
    /// Each value is valid, but the gateway cannot be built on this machine.
    /// The text is a sentence.
    Impossible(String),
}

/// Checks, and prints the result in the format that is asked for.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let Input { name, source } = match input(arguments) {
        Ok(input) => input,
        Err(why) => return fail(why),
    };
    let checked = check(&source, arguments.strict);
    match arguments.format {
        Format::Json => {
            let printed = print(&format!("{:#}\n", list(&checked, &name)));
            if checked.is_ok() {
                printed
            } else {
                ExitCode::FAILURE
            }
        }
        Format::Human => match checked {
            Ok(config) => {
                tell(&config.warnings);
                print(&format!("{}: ok: {}\n", name.display(), summary(&config)))
            }
            Err(CheckError::Mistakes(mistakes)) => mistaken(&mistakes),
            Err(CheckError::Impossible(why)) => fail(format!("{}: {why}", name.display())),
        },
    }
}

/// A configuration to check.
struct Input {
    /// Its file, or a word for the standard input.
    name: PathBuf,
    /// Its text, or its file.
    source: ConfigSource,
}

/// Finds the configuration to check. A file is read later, with the files that
/// it includes.
///
/// # Errors
/// The text is a sentence that says why there is nothing to check.
fn input(arguments: &Arguments) -> Result<Input, String> {
    if arguments.file.as_deref() == Some(Path::new(STDIN)) {
        let mut bytes = Vec::new();
        let read = io::stdin()
            .lock()
            .take(LONGEST_FILE + 1)
            .read_to_end(&mut bytes);
        read.map_err(|error| format!("cannot read stdin ({error})"))?;
        if bytes.len() as u64 > LONGEST_FILE {
            return Err("stdin is longer than a configuration can be (16MiB)".to_owned());
        }
        let text = decoded(bytes).map_err(|why| format!("stdin {why}"))?;
        return Ok(Input {
            name: "stdin".into(),
            source: ConfigSource::Text {
                name: "stdin",
                text,
            },
        });
    }
    let file = run::file(arguments.file.clone(), "`tidegate check FILE`")?;
    Ok(Input {
        name: file.clone(),
        source: ConfigSource::File(file),
    })
}

/// Loads and builds the configuration.
///
/// Builds after loading, since some mistakes show only then. Sockets and names
/// are not tried, as a check may run on another machine or beside the gateway.
///
/// # Errors
/// It cannot serve; with `strict`, also if it has warnings.
fn check(source: &ConfigSource, strict: bool) -> Result<Config, CheckError> {
    let config = source.load().map_err(CheckError::Mistakes)?;
    let config = app::try_build(config).map_err(CheckError::Impossible)?;
    if strict && !config.warnings.list.is_empty() {
        return Err(CheckError::Mistakes(
            Arc::unwrap_or_clone(config.warnings).strict(),
        ));
    }
    Ok(config)
}

/// The result for programs: an array with an object for each mistake.
fn list(checked: &Result<Config, CheckError>, name: &Path) -> Value {
    match checked {
        Ok(config) => config.warnings.to_json(),
        Err(CheckError::Mistakes(mistakes)) => mistakes.to_json(),
        Err(CheckError::Impossible(why)) => {
            let file = name.to_string_lossy();
            json!([{ "severity": "error", "code": "impossible", "file": file, "line": null, "message": why }])
        }
    }
}

/// The size of a configuration in words, as in `3 routes, 1 limit, 2
/// upstreams`.
fn summary(config: &Config) -> String {
    let counted = [
        (config.routes.len(), "route"),
        (config.limits.len(), "limit"),
        (config.upstreams.len(), "upstream"),
    ];
    let mut parts = Vec::new();
    for (count, thing) in counted {
        parts.push(format!(
            "{count} {thing}{}",
            if count == 1 { "" } else { "s" }
        ));
    }
    parts.join(", ")
}
