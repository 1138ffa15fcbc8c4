//! Measures what the gateway's work costs. Each part starts a Redis and a gateway of its own and reads the kernel's
//! accounts of the processes (`/proc/<pid>`), so it runs on Linux only. Figures and how they were taken are in
//! `docs/performance.md`.
//!
//! - `measure [SOCKETS [MESSAGES [deflate]]]`, 1000 and 200 by default: what a socket and a delivery cost, beside the
//!   floor. With `deflate` every client negotiates permessage-deflate, and messages go out compressed.
//! - `measure stalled [SOCKETS [SECONDS]]`, 1000 and 60 by default: what others notice, and what the process holds,
//!   while one reader in a hundred is stalled.
//! - `measure inflate [MESSAGES]`, 20000 by default: what it costs to receive compressed messages.
//!
//! `make measure` builds it and runs them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool: it may stop where it fails"
)]

mod client;
mod fanout;
mod inflate;
mod process;
mod stalled;

use std::time::Duration;

use tokio::task::LocalSet;

/// Longer than anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let part = arguments.first().map_or("", String::as_str);
    let number = |index: usize, default| arguments.get(index).map_or(default, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = |work: std::pin::Pin<Box<dyn Future<Output = ()>>>| LocalSet::new().block_on(&runtime, work);
    match part {
        "floor" => fanout::floor(number(1, 0)),
        "stalled" => run(Box::pin(stalled::measure(number(1, 1_000), number(2, 60) as u64))),
        "inflate" => run(Box::pin(inflate::measure(number(1, 20_000)))),
        _ => {
            let is_deflated = arguments.get(2).is_some_and(|argument| argument == "deflate");
            run(Box::pin(fanout::measure(number(0, 1_000), number(1, 200), is_deflated)));
        }
    }
}
