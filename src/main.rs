//! The binary `emagine-gateway`. [`emagine_gateway::cli`] has the commands.

use std::process::ExitCode;

use clap::Parser as _;
use emagine_gateway::cli::Cli;

/// Chosen for tens of thousands of small, long-lived allocations on a few threads. docs/performance.md has the figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(unix)]
    return_freed_memory_at_once();
    Cli::parse().execute()
}

/// Has the allocator return freed pages to the system at once. By default it does so when the same thread frees memory
/// again later, and a thread whose sockets have left does not.
///
/// The allocator reads this option from the environment before `main`, and setting it by a call needs unsafe code. So
/// the program executes itself again, in the same process, unless the option is set.
#[cfg(unix)]
fn return_freed_memory_at_once() {
    use std::env::{args_os, current_exe, var_os};
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
    if var_os(PURGE_DELAY).is_some() {
        return;
    }
    let Ok(program) = current_exe() else { return };
    let mut arguments = args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only if it fails. The program then runs as it is and keeps more memory.
    let _failed = command.args(arguments).env(PURGE_DELAY, "0").exec();
}
