//! `tidegate completions`: a script with which a shell completes this command
//! line.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::output::print;

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  tidegate completions bash > /etc/bash_completion.d/tidegate
  tidegate completions zsh > \"${fpath[1]}/_tidegate\"     # then: autoload -U compinit && compinit
  tidegate completions fish > ~/.config/fish/completions/tidegate.fish";

/// Prints the script for the shell. `command` is the whole command line.
pub(super) fn run(arguments: &Arguments, mut command: Command) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "tidegate", &mut script);
    print(&String::from_utf8_lossy(&script))
}
