//! The output of commands and their exit codes.

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

/// Reports a failed start, and returns the exit code of the gateway.
pub(super) fn end(result: Result<Ended, StartError>) -> ExitCode {
    match result {
        Ok(Ended::Drained { .. }) => ExitCode::SUCCESS,
        Ok(Ended::AtOnce | Ended::Broken) => ExitCode::FAILURE,
        Err(StartError::Mistakes(mistakes)) => mistaken(&mistakes),
        Err(StartError::Other(why)) => fail(why),
    }
}

/// Writes a result to stdout.
pub(super) fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(format!("cannot write the result ({error})")),
    }
}

/// Reports a failure.
pub(super) fn fail(why: impl Display) -> ExitCode {
    complain(format!("error: {why}"));
    ExitCode::FAILURE
}

/// Shows the mistakes of a configuration.
pub(super) fn mistaken(mistakes: &Diagnostics) -> ExitCode {
    tell(mistakes);
    ExitCode::FAILURE
}

/// Shows errors or warnings, if there are any.
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
