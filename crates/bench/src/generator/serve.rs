//! A generator process: has a share of the clients, reads orders from standard input until its end, and reports counts
//! on standard output.

use std::io::BufRead as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::messages::{self, GeneratorOrder, GeneratorReport, GeneratorShare};
use crate::clients::{ClientCounts, Clients};
use crate::other_server::Protocol;
use crate::output::print;
use crate::{BenchArgs, BenchError, Environment, client_plan, since_1970};

/// How often changed counts are reported. Deliveries are reported at once, because the publisher waits for them.
const REPORT_INTERVAL: Duration = Duration::from_millis(50);

/// Runs a generator process.
pub(crate) fn serve(environment: &Environment, arguments: &BenchArgs) -> Result<ExitCode, BenchError> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut lines = std::io::stdin().lock().lines().map_while(Result::ok);
    let unreadable = || BenchError::Run("a generator process could not read its orders".to_owned());
    let share: GeneratorShare = lines.next().as_deref().and_then(messages::read).ok_or_else(unreadable)?;
    let started_at = start_of_run(share.started_at_us);
    let threads = arguments.threads.min(share.clients.len());
    let plan = client_plan(environment, arguments, &share, (Protocol::Gateway, false))?;
    let clients = Clients::start(plan, threads, started_at)?;
    let threads = clients.threads().into_iter().map(|(_, thread)| thread).collect();
    report(&GeneratorReport::Started(threads));
    let counts = Arc::clone(&clients.counts);
    std::thread::Builder::new().name("bench-report".to_owned()).spawn(move || report_counts(&counts))?;
    for line in lines {
        match messages::read(&line).ok_or_else(unreadable)? {
            GeneratorOrder::Connect(range, pace) => clients.connect(range, pace),
            GeneratorOrder::Disconnect => clients.disconnect(),
            GeneratorOrder::Latencies(phase) => report(&GeneratorReport::Latencies(clients.latencies(phase))),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The start of the run by the clock of this process. All processes share the machine's clock of the day.
fn start_of_run(started_at_us: u64) -> Instant {
    let elapsed = since_1970().saturating_sub(Duration::from_micros(started_at_us));
    Instant::now().checked_sub(elapsed).unwrap_or_else(Instant::now)
}

fn report_counts(counts: &ClientCounts) {
    let mut reported = counts.all();
    loop {
        counts.wait_for_delivery(&reported, REPORT_INTERVAL);
        let now = counts.all();
        if now != reported {
            let reason = counts.reason.lock().clone().unwrap_or_default();
            report(&GeneratorReport::Counts(now, reason));
            reported = now;
        }
    }
}

fn report(report: &GeneratorReport) {
    // If this fails, the reader has ended, and standard input ends as well.
    let _ = print(&messages::line(report));
}
