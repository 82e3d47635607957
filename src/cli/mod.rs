//! The command line, with a file for each command.
//!
//! Results go to stdout, everything else to stderr, so that a result can be
//! piped. The exit status is 0 for success, 1 for a mistake or a failure, and 2
//! for a wrong command line (as clap has it).
//!
//! * `run`, `demo`, `proxy`: a gateway, by a file, for trying it out, or by
//!   arguments.
//! * `check`, `schema`, `import`: help with a configuration.
//! * `reload`: talks to a gateway that runs, through its admin listener
//!   (`client`).
//! * `completions`, `manual`: help with the command line itself.
//!
//! The doc comments of arguments and commands are the texts of `--help`, and
//! the transcripts in `tests/cli` show them as users see them.

mod arguments;
mod check;
mod client;
mod completions;
mod demo;
mod import;
mod key;
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
  tidegate import nginx.conf -o tidegate.toml              come from NGINX
  tidegate run --config tidegate.toml                      serve";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Check(check::Arguments),
    Demo(demo::Arguments),
    Proxy(proxy::Arguments),
    Schema(schema::Arguments),
    Import(import::Arguments),
    Reload(reload::Arguments),
    Key(key::Arguments),
    /// Print the version
    Version,
    Completions(completions::Arguments),
    Man(manual::Arguments),
}

/// Runs the command of the command line, and returns its exit status when it
/// has ended. A wrong command line ends the process with status 2.
pub fn main() -> ExitCode {
    tls::install_provider();
    match Cli::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Proxy(arguments) => proxy::run(&arguments, Cli::command()),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Reload(arguments) => reload::run(arguments),
        Command::Key(arguments) => key::run(&arguments),
        Command::Version => print(concat!("tidegate ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Completions(arguments) => completions::run(&arguments, Cli::command()),
        Command::Man(arguments) => manual::run(&arguments, Cli::command()),
    }
}

/// The file that a source of `tidegate import` becomes.
///
/// # Errors
/// Says why the source cannot be read or translated.
#[cfg(fuzzing)]
pub fn imported(source: &[u8]) -> Result<String, String> {
    import::imported(source)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
