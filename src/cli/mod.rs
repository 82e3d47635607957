//! The command line: one file for each command; here they are told apart and their ends become exit codes.
//!
//! Results go to stdout, everything else to stderr. 0 is fine, 1 a mistake or a failure, 2 a wrong command line.

mod arguments;
mod check;
mod client;
mod completions;
mod demo;
mod manual;
mod proxy;
mod reload;
mod run;
mod sample;
mod schema;

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    app::{Ended, StartError},
    config::Diagnostics,
    telemetry::is_colored,
    tls,
};

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

/// Does what the command line says.
pub fn main() -> ExitCode {
    tls::install_provider();
    match Cli::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Proxy(arguments) => proxy::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Reload(arguments) => reload::run(arguments),
        Command::Version => print(concat!("tidegate ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => manual::run(&arguments),
    }
}

/// The exit code of a gateway that has run, or of one that could not.
fn end(result: Result<Ended, StartError>) -> ExitCode {
    match result {
        Ok(Ended::Drained { .. }) => ExitCode::SUCCESS,
        Ok(Ended::AtOnce | Ended::Broken) => ExitCode::FAILURE,
        Err(StartError::Mistakes(mistakes)) => mistaken(&mistakes),
        Err(StartError::Other(why)) => fail(why),
    }
}

/// Writes a result.
fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(format!("cannot write the result ({error})")),
    }
}

/// Says why there is no result.
fn fail(why: impl Display) -> ExitCode {
    complain(format!("error: {why}"));
    ExitCode::FAILURE
}

fn mistaken(mistakes: &Diagnostics) -> ExitCode {
    tell(mistakes);
    ExitCode::FAILURE
}

/// Shows errors or warnings, if there are any.
fn tell(diagnostics: &Diagnostics) {
    if !diagnostics.list.is_empty() {
        complain(diagnostics.render(is_colored(&io::stderr())).trim_end());
    }
}

/// A line on stderr. That it may be closed is no reason to panic, as `eprintln` does.
fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
