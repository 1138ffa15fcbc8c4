//! Measures what it costs to receive compressed messages, beside the same messages as they are. It starts a gateway of
//! its own and reads the kernel's accounts of the process (`/proc/<pid>`), so it runs on Linux only. Figures and how they
//! were taken are in `docs/performance.md`. What sockets and deliveries cost is measured by `emagine-gateway bench`.
//!
//! `measure [MESSAGES]`, 20000 by default. `make measure` builds it and runs it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool: it may stop where it fails"
)]

mod client;
mod inflate;
mod process;

use std::time::Duration;

use tokio::task::LocalSet;

/// Longer than anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

fn main() {
    let messages = std::env::args().nth(1).map_or(20_000, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, inflate::measure(messages));
}
