//! Measures the cost of receiving compressed messages, compared with the same messages uncompressed.
//!
//! `measure [MESSAGES]` starts its own gateway and reads the CPU time and memory of that process from `/proc/<pid>`, so
//! it runs on Linux only. MESSAGES is 20000 by default. `make measure` builds and runs it. `docs/performance.md` has
//! the figures. `emagine-gateway bench` measures sockets and deliveries.
//!
//! - `client`: opens sockets and reads frames.
//! - `inflate`: the measurements.
//! - `process`: starts the gateway and reads its CPU time and memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool may panic when it fails"
)]

mod client;
mod inflate;
mod process;

use std::time::Duration;

use tokio::task::LocalSet;

/// The most time that one step may take.
const DEADLINE: Duration = Duration::from_secs(60);

fn main() {
    let messages = std::env::args().nth(1).map_or(20_000, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, inflate::measure(messages));
}
