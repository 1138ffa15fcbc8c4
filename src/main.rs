//! The binary `emagine-gateway`. [`emagine_gateway::cli`] has the commands.

use std::process::ExitCode;

use clap::Parser as _;
use emagine_gateway::cli::Cli;

/// Chosen for tens of thousands of small, long-lived allocations on a few threads. docs/performance.md has the figures.
#[global_allocator]
static ALLOCATOR: allocator::MiMalloc = allocator::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().execute()
}
