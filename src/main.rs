//! The `tidegate` command: arguments, load, run, exit code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let path = std::env::args().nth(3).unwrap_or_else(|| "tidegate.toml".into());
    match tidegate::app::run(tidegate::reload::Source::File(path.into()), Box::new(|_| {})) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
