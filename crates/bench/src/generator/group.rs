//! All generator processes, as seen by the process that starts them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::Range;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, mpsc};

use super::messages::{self, GeneratorOrder, GeneratorReport, GeneratorShare};
use crate::BenchError;
use crate::children::ChildProcess;
use crate::clients::{COUNTS, ClientCounts, Pace};
use crate::latency::Latencies;

/// The generator processes. They end when the group is dropped.
pub(crate) struct GeneratorGroup {
    generators: Vec<Generator>,
    latencies: mpsc::Receiver<Latencies>,
}

struct Generator {
    child: ChildProcess,
    orders: ChildStdin,
    /// The ids of its threads with clients.
    threads: Vec<u32>,
}

impl GeneratorGroup {
    /// Starts a process for each share, and adds up their counts in `counts`.
    pub(crate) fn start(shares: &[GeneratorShare], counts: &Arc<ClientCounts>) -> Result<Self, BenchError> {
        // All start at the same time.
        let spawned: Vec<_> = shares.iter().map(spawn).collect::<Result<_, _>>()?;
        let (sender, latencies) = mpsc::channel();
        let mut generators = Vec::new();
        for (child, orders, mut reports) in spawned {
            let Some(GeneratorReport::Started(threads)) = next(&mut reports) else {
                return Err(BenchError::Server("a generator process did not start".to_owned()));
            };
            let (counts, sender) = (Arc::clone(counts), sender.clone());
            std::thread::Builder::new()
                .name("bench-counts".to_owned())
                .spawn(move || add_up(reports, &counts, &sender))?;
            generators.push(Generator { child, orders, threads });
        }
        Ok(Self { generators, latencies })
    }

    /// Connects these clients; the processes share the pace.
    pub(crate) fn connect(&self, range: &Range<usize>, pace: Pace) {
        let count = self.generators.len();
        let pace = match pace {
            Pace::Rate(rate) => Pace::Rate(rate / count as f64),
            Pace::InFlight(most) => Pace::InFlight(most.div_ceil(count)),
            Pace::AtOnce(most) => Pace::AtOnce(most.div_ceil(count)),
        };
        self.send(&GeneratorOrder::Connect(range.clone(), pace));
    }

    pub(crate) fn disconnect(&self) {
        self.send(&GeneratorOrder::Disconnect);
    }

    /// The latencies that all processes recorded in a phase.
    pub(crate) fn latencies(&self, phase: u8) -> Latencies {
        self.send(&GeneratorOrder::Latencies(phase));
        let mut merged = Latencies::default();
        self.latencies.iter().take(self.generators.len()).for_each(|report| merged.merge(&report));
        merged
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        self.generators.iter().map(|generator| generator.child.0).collect()
    }

    /// The ids of all threads with clients, each with that of its process.
    pub(crate) fn threads(&self) -> Vec<(u32, u32)> {
        let threads = self
            .generators
            .iter()
            .flat_map(|Generator { child, threads, .. }| threads.iter().map(|id| (child.0, *id)));
        threads.collect()
    }

    fn send(&self, order: &GeneratorOrder) {
        for Generator { orders, .. } in &self.generators {
            // Fails if the process has ended, which its missing counts show.
            let mut orders = orders;
            let _ = orders.write_all(format!("{}\n", messages::line(order)).as_bytes());
        }
    }
}

/// Starts a generator process with the arguments of this process.
fn spawn(share: &GeneratorShare) -> Result<(ChildProcess, ChildStdin, BufReader<ChildStdout>), BenchError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).arg("--generator").stdin(Stdio::piped()).stdout(Stdio::piped());
    let (child, (orders, reports, _)) = ChildProcess::start(&mut command)?;
    let (Some(mut orders), Some(reports)) = (orders, reports) else {
        return Err(BenchError::Server("a generator process has no pipes".to_owned()));
    };
    orders.write_all(format!("{}\n", messages::line(share)).as_bytes())?;
    Ok((child, orders, BufReader::new(reports)))
}

fn next(reports: &mut BufReader<ChildStdout>) -> Option<GeneratorReport> {
    let mut line = String::new();
    reports.read_line(&mut line).ok()?;
    messages::read(&line)
}

/// Adds the counts of one process to those of all, until the process ends.
fn add_up(mut reports: BufReader<ChildStdout>, counts: &ClientCounts, latencies: &mpsc::Sender<Latencies>) {
    let mut last = [0; COUNTS];
    while let Some(report) = next(&mut reports) {
        match report {
            GeneratorReport::Started(_) => {}
            GeneratorReport::Counts(now, reason) => {
                counts.add(&now, &last);
                last = now;
                if !reason.is_empty() {
                    *counts.reason.lock() = Some(reason);
                }
                counts.notify();
            }
            GeneratorReport::Latencies(report) => {
                // Nobody receives it if the run has ended.
                let _ = latencies.send(report);
            }
        }
    }
    // The clients of an ended process are not connected.
    let mut ended = last;
    ended[0] = 0;
    counts.add(&ended, &last);
    *counts.reason.lock() = Some("a generator process ended".to_owned());
}
