//! The command line, with a file for each command.
//!
//! Results go to stdout, everything else to stderr. The exit code is 0 for
//! success, 1 for a mistake or a failure, and 2 for a wrong command line.

mod arguments;
mod check;
mod client;
mod completions;
mod demo;
mod manual;
mod output;
mod proxy;
mod reload;
mod run;
mod sample;
mod schema;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::output::print;
use crate::tls;

/// A rate-limiting HTTP gateway: exact limits, bounded queues, honest refusals.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tidegate demo                                            try it, without a file
  tidegate proxy --to http://localhost:3000 --rate 100/s   limit a local service
  tidegate check tidegate.toml                             find every mistake
  tidegate run --config tidegate.toml                      serve";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Check(check::Arguments),
    Demo(demo::Arguments),
    Proxy(proxy::Arguments),
    Schema(schema::Arguments),
    Reload(reload::Arguments),
    /// Print the version
    Version,
    Completions(completions::Arguments),
    Man(manual::Arguments),
}

/// Runs the command of the command line. Returns when it has ended.
pub fn main() -> ExitCode {
    tls::install_provider();
    match Cli::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Proxy(arguments) => proxy::run(&arguments, Cli::command()),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Reload(arguments) => reload::run(arguments),
        Command::Version => print(concat!("tidegate ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Completions(arguments) => completions::run(&arguments, Cli::command()),
        Command::Man(arguments) => manual::run(&arguments, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
