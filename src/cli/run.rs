//! `tidegate run`: serves by a configuration file, until a signal ends it. It
//! is a thin layer over [`app::run`](crate::app::run).
//!
//! This is the command of production: a service manager starts it and sends it
//! signals. It prints nothing by itself. Access lines go to stdout, and the
//! log, the mistakes of a configuration included, to stderr.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::output::{end, fail};
use crate::{app, reload::ConfigSource};

/// Serve what a configuration file says
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Configuration file [default: ./tidegate.toml, then
    /// /etc/tidegate/tidegate.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  tidegate run                          ./tidegate.toml, or else /etc/tidegate/tidegate.toml
  tidegate run --config gateway.toml    this one

A changed file reloads, and so do SIGHUP and `tidegate reload`; a file with mistakes changes nothing.
SIGUSR2 hands the sockets to a new process of the binary: no connection is refused.
SIGTERM and SIGINT finish what is in flight, a second one stops at once.";

/// Runs the gateway, and returns its exit status.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    match file(arguments.config, "--config FILE") {
        Ok(path) => end(app::run(ConfigSource::File(path), Box::new(|_| {}))),
        Err(why) => fail(why),
    }
}

/// The file that was named, or the first of the default files that exists. `by`
/// is the way to name one.
///
/// The default files are those of `app::default_files`, in their order. A file
/// that was named is returned as it is, without a look at it.
///
/// # Errors
/// The text is a sentence that says what to do.
pub(super) fn file(named: Option<PathBuf>, by: &str) -> Result<PathBuf, String> {
    if let Some(path) = named {
        return Ok(path);
    }
    let [here, system] = app::default_files();
    for path in [&here, &system] {
        // A file that cannot be examined is taken to exist; reading it will
        // report why.
        if path.try_exists().unwrap_or(true) {
            return Ok(path.clone());
        }
    }
    Err(format!(
        "there is no configuration: neither {} nor {} exists; name one with {by}, or begin with `tidegate demo`",
        here.display(),
        system.display(),
    ))
}
