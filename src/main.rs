//! The `tidegate` command. All of it is in [`tidegate::cli`]; here is what only a binary can choose.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidegate::cli::main()
}
