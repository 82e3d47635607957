//! `tidegate man`: manual pages, made from the same words as `--help`.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::{Cli, fail, print};

/// Print a manual page
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The command it is about [default: tidegate itself]
    command: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  tidegate man > tidegate.1
  tidegate man run > tidegate-run.1
  tidegate man proxy | man -l -";

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let mut all = Cli::command();
    all.build();
    let command = match &arguments.command {
        None => Some(all),
        Some(name) => all.find_subcommand(name).cloned(),
    };
    let Some(command) = command else {
        let name = arguments.command.as_deref().unwrap_or_default();
        return fail(format!("there is no command `{name}`; `tidegate --help` lists all"));
    };
    let mut page = Vec::new();
    match Man::new(command).render(&mut page) {
        Ok(()) => print(&String::from_utf8_lossy(&page)),
        Err(error) => fail(format!("cannot make the page ({error})")),
    }
}
