//! The output of commands and their exit statuses.
//!
//! A reader that has closed stdout, as `head` does, is no failure; stderr that
//! is closed is ignored.
//!
//! Commands write through these functions and never with `println!`, which
//! panics when the reader has gone. Each of them that ends a command returns
//! its exit status, so that a command cannot report a failure and end with
//! success.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use crate::{
    app::{Ended, StartError},
    config::Diagnostics,
    telemetry::is_colored,
};

/// The exit status of a gateway that has ended. Reports a failed start.
///
/// A drain that had to cut requests is a success: the gateway has ended as it
/// was told to. The second signal and the end of a worker are failures.
pub(super) fn end(result: Result<Ended, StartError>) -> ExitCode {
    match result {
        Ok(Ended::Drained { .. }) => ExitCode::SUCCESS,
        Ok(Ended::AtOnce | Ended::Broken) => ExitCode::FAILURE,
        Err(StartError::Mistakes(mistakes)) => mistaken(&mistakes),
        Err(StartError::Other(why)) => fail(why),
    }
}

/// Writes a result to stdout, and returns the exit status of the command.
pub(super) fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(format!("cannot write the result ({error})")),
    }
}

/// Reports a failure, and returns its exit status.
pub(super) fn fail(why: impl Display) -> ExitCode {
    complain(format!("error: {why}"));
    ExitCode::FAILURE
}

/// Shows the mistakes of a configuration, and returns their exit status.
pub(super) fn mistaken(mistakes: &Diagnostics) -> ExitCode {
    tell(mistakes);
    ExitCode::FAILURE
}

/// Shows errors or warnings, if there are any: in colour on a terminal.
///
/// Colours follow the same rules as the log on stderr
/// (`telemetry::is_colored`).
pub(super) fn tell(diagnostics: &Diagnostics) {
    if !diagnostics.list.is_empty() {
        complain(diagnostics.render(is_colored(&io::stderr())).trim_end());
    }
}

/// Writes a line to stderr. Unlike `eprintln`, it does not panic if stderr is
/// closed.
pub(super) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
