//! Publishing at a rate (an open loop: each message is due at its own time, whatever became of those before) or as fast
//! as messages arrive (a closed loop, for the most that is possible).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::BenchError;
use crate::latency::Latencies;
use crate::outcome::Outcome;
use crate::progress::{Goal, Progress};
use crate::publisher::Recipients;
use crate::run::{IDLE_TIMEOUT, Run, Used};
use crate::wire::{self, Stamp};

/// At most so many due messages go out in one write.
const BATCH: usize = 64;
/// How long the trial takes that finds the possible rate.
const TRIAL: Duration = Duration::from_secs(3);
/// About so many deliveries are in flight in the trial: enough to keep everything busy, too few to wait for each other long.
const TRIAL_DELIVERIES: usize = 1_000;
const TRIAL_PHASE: u8 = 4;

/// What one phase of a run publishes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// The phase's number, 1 to 4.
    pub(crate) phase: u8,
    pub(crate) time: Duration,
    /// Messages in a second; `None`: a closed loop.
    pub(crate) rate: Option<f64>,
    /// How many messages are in flight in a closed loop.
    pub(crate) in_flight: usize,
    pub(crate) message_bytes: usize,
}

/// What came of a phase.
pub(crate) struct Published {
    pub(crate) publications: u64,
    /// How many deliveries there should have been …
    pub(crate) expected: u64,
    /// … and how many there were.
    pub(crate) deliveries: u64,
    pub(crate) latencies: Latencies,
    pub(crate) used: Used,
}

/// What has been published.
#[derive(Default)]
struct Sent {
    publications: u64,
    expected: u64,
}

impl Run<'_> {
    /// The load that the arguments ask for.
    pub(crate) fn load(&self, phase: u8) -> Load {
        let arguments = self.arguments;
        Load {
            phase,
            time: Duration::from_secs_f64(arguments.seconds),
            rate: arguments.rate(),
            in_flight: arguments.in_flight.unwrap_or(1),
            message_bytes: arguments.message_bytes(),
        }
    }

    /// Publishes as the arguments say, and notes what came of it.
    pub(crate) fn publish_and_note(
        &mut self,
        mut recipients: impl FnMut(u64) -> Recipients,
    ) -> Result<(), BenchError> {
        let mut load = self.load(1);
        if let Some(share) = self.arguments.capacity_share {
            let usual = (TRIAL_DELIVERIES / recipients(0).members.len().max(1)).clamp(1, BATCH);
            let in_flight = self.arguments.in_flight.unwrap_or(usual);
            let trial = Load { phase: TRIAL_PHASE, time: TRIAL, rate: None, in_flight, ..load };
            let published = self.publish(trial, &mut recipients)?;
            let capacity = published.publications as f64 / published.used.seconds;
            self.outcome.compare("capacity_per_second", "messages in a second that are possible", capacity);
            load.rate = Some((capacity * share).max(0.1));
        }
        self.publish(load, recipients)?.note(&mut self.outcome);
        Ok(())
    }

    /// Publishes, waits until everything has arrived (or nothing more comes), and counts.
    pub(crate) fn publish(
        &mut self,
        load: Load,
        mut recipients: impl FnMut(u64) -> Recipients,
    ) -> Result<Published, BenchError> {
        self.publish_each(load, |number| (recipients(number), load))
    }

    /// The same, where a message may have another phase and length than `load` says, by its number. Deliveries and
    /// latencies are those of `load`.
    pub(crate) fn publish_each(
        &mut self,
        load: Load,
        mut message: impl FnMut(u64) -> (Recipients, Load),
    ) -> Result<Published, BenchError> {
        let label = format!("{}: publishing", self.name());
        let progress = Progress::start(label, Goal::Time(load.time), &self.clients.counts);
        let before = self.clients.counts.delivered();
        let meter = self.meter();
        let Sent { publications, expected } = match load.rate {
            Some(rate) => self.at_a_rate(load, rate, &mut message)?,
            None => self.in_a_closed_loop(load, before, &mut message)?,
        };
        self.wait_for(before + expected);
        let used = self.since(&meter);
        drop(progress);
        self.target.publisher.check()?;
        let (deliveries, latencies) = (self.deliveries(load.phase), self.clients.latencies(load.phase));
        Ok(Published { publications, expected, deliveries, latencies, used })
    }

    /// Waits until so many have come, or none for a while.
    fn wait_for(&self, count: u64) {
        let counts = &self.clients.counts;
        loop {
            let delivered = counts.delivered();
            if counts.wait_for_deliveries(count, IDLE_TIMEOUT / 3) || counts.delivered() == delivered {
                return;
            }
        }
    }

    fn at_a_rate(
        &mut self,
        load: Load,
        rate: f64,
        message: &mut impl FnMut(u64) -> (Recipients, Load),
    ) -> Result<Sent, BenchError> {
        let (start_us, mut sent) = (self.now_us(), Sent::default());
        let count = (load.time.as_secs_f64() * rate).round().max(1.0) as u64;
        let due_us = |number: u64| start_us + (number as f64 * 1e6 / rate) as u64;
        while sent.publications < count {
            let now_us = self.now_us();
            let wait_us = due_us(sent.publications).saturating_sub(now_us);
            if wait_us > 0 {
                std::thread::park_timeout(Duration::from_micros(wait_us));
                continue;
            }
            for number in (sent.publications..count).take(BATCH) {
                let at_us = due_us(number);
                if at_us > now_us {
                    break;
                }
                self.outcome.late.record(at_us, now_us - at_us);
                self.add(message(number), at_us, &mut sent);
            }
            self.target.publisher.flush()?;
        }
        Ok(sent)
    }

    fn in_a_closed_loop(
        &mut self,
        load: Load,
        before: u64,
        message: &mut impl FnMut(u64) -> (Recipients, Load),
    ) -> Result<Sent, BenchError> {
        let (begun, mut sent) = (Instant::now(), Sent::default());
        // For each message in flight: the count of deliveries once it has arrived.
        let mut in_flight = VecDeque::new();
        while begun.elapsed() < load.time {
            let at_us = self.now_us();
            self.add(message(sent.publications), at_us, &mut sent);
            self.target.publisher.flush()?;
            in_flight.push_back(before + sent.expected);
            if in_flight.len() >= load.in_flight
                && let Some(first) = in_flight.pop_front()
                && !self.clients.counts.wait_for_deliveries(first, IDLE_TIMEOUT)
            {
                let missing = first.saturating_sub(self.clients.counts.delivered());
                let seconds = IDLE_TIMEOUT.as_secs();
                return Err(BenchError::Run(format!("{missing} deliveries have not come after {seconds} s")));
            }
        }
        Ok(sent)
    }

    fn add(&mut self, (recipients, load): (Recipients, Load), at_us: u64, sent: &mut Sent) {
        let message = wire::message(Stamp { at_us, phase: load.phase }, load.message_bytes);
        self.target.publisher.add(&recipients, &message, false);
        sent.publications += 1;
        sent.expected += recipients.members.len() as u64;
    }
}

impl Published {
    /// Notes the figures that every scenario with deliveries has.
    pub(crate) fn note(self, outcome: &mut Outcome) {
        let Self { publications, expected, deliveries, latencies, used } = self;
        let count = deliveries as f64;
        outcome.plain("publications", "publications", publications as f64);
        outcome.deliveries(deliveries, expected);
        outcome.compare("deliveries_per_second", "deliveries in a second", count / used.seconds);
        outcome.latencies("latency", "latency", latencies);
        outcome.compare("cpu_us_per_delivery", "CPU for each delivery, µs", used.cpu * 1e6 / count);
        outcome.plain("cpu_user_us_per_delivery", "  of that in user space", used.user * 1e6 / count);
        outcome.plain("cpu_system_us_per_delivery", "  of that in the kernel", used.system * 1e6 / count);
        outcome.plain(
            "redis_cpu_us_per_publication",
            "Redis' CPU for each publication, µs",
            used.redis * 1e6 / publications as f64,
        );
    }
}
