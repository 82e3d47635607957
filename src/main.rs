//! The `tidegate` command. All of it is in [`tidegate::cli`]; here is what only
//! a binary can choose.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Large tables are touched here and there, and the allocator asks for huge
    // pages: each touch would cost 2 MiB. A kernel that has none has nothing to
    // switch off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    tidegate::cli::main()
}
