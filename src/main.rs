//! The binary `emagine-gateway`: see [`emagine_gateway::cli`].

use std::process::ExitCode;

use clap::Parser as _;
use emagine_gateway::cli::Cli;

/// Tens of thousands of small, long-lived allocations on a few threads: measured in docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().execute()
}
