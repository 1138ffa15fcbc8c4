//! Publishes in an open loop (each message has its own due time, independent of earlier ones) or in a closed loop
//! (the next message is sent when an earlier one has arrived, for the maximum rate).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::BenchError;
use crate::latency::Latencies;
use crate::outcome::BenchOutcome;
use crate::progress::{Goal, ProgressLine};
use crate::publisher::Recipients;
use crate::run::{ScenarioRun, Usage};
use crate::wire::{self, Stamp};

/// The maximum number of due messages in one write.
const BATCH: usize = 64;
/// The duration of the trial that finds the maximum rate.
const TRIAL: Duration = Duration::from_secs(3);
/// The approximate number of deliveries in flight in the trial: enough to keep all threads busy without long queues.
const TRIAL_DELIVERIES: usize = 1_000;
const TRIAL_PHASE: u8 = 4;

/// The messages of one phase of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// The number of the phase, 1 to 4.
    pub(crate) phase: u8,
    pub(crate) time: Duration,
    /// Messages per second; `None` for a closed loop.
    pub(crate) rate: Option<f64>,
    /// The number of messages in flight in a closed loop.
    pub(crate) in_flight: usize,
    pub(crate) message_bytes: usize,
}

/// The result of a phase.
pub(crate) struct PublishReport {
    pub(crate) publications: u64,
    /// The expected number of deliveries.
    pub(crate) expected: u64,
    /// The number of deliveries.
    pub(crate) deliveries: u64,
    pub(crate) latencies: Latencies,
    pub(crate) used: Usage,
}

impl ScenarioRun<'_> {
    /// The load that the arguments describe.
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

    /// Publishes as the arguments say, and records the figures.
    pub(crate) fn publish_and_record(
        &mut self,
        mut recipients: impl FnMut(u64) -> Recipients,
    ) -> Result<(), BenchError> {
        let mut load = self.load(1);
        if let Some(share) = self.arguments.capacity_share {
            let default = (TRIAL_DELIVERIES / recipients(0).members.len().max(1)).clamp(1, BATCH);
            let in_flight = self.arguments.in_flight.unwrap_or(default);
            let trial = Load { phase: TRIAL_PHASE, time: TRIAL, rate: None, in_flight, ..load };
            let published = self.publish(trial, &mut recipients)?;
            let capacity = published.publications as f64 / published.used.seconds;
            self.outcome.compare("capacity_per_second", "maximum rate found, messages per second", capacity);
            load.rate = Some((capacity * share).max(0.1));
        }
        let published = self.publish(load, recipients)?;
        if self.arguments.redis_cluster.is_some() {
            published.record_busiest(&mut self.outcome);
        }
        published.record(&mut self.outcome);
        Ok(())
    }

    /// Publishes, waits until all messages have arrived or no more arrive, and counts the deliveries.
    pub(crate) fn publish(
        &mut self,
        load: Load,
        mut recipients: impl FnMut(u64) -> Recipients,
    ) -> Result<PublishReport, BenchError> {
        self.publish_each(load, |number| (recipients(number), load))
    }

    /// Publishes messages that may have another phase and size than `load`. Returns the deliveries and latencies of the
    /// phase of `load`.
    pub(crate) fn publish_each(
        &mut self,
        load: Load,
        mut message: impl FnMut(u64) -> (Recipients, Load),
    ) -> Result<PublishReport, BenchError> {
        let progress = ProgressLine::start(self, "publishing", Goal::Time(load.time));
        let (delivered, before) = (self.clients.counts.delivered(), self.usage());
        let (mut publications, mut expected) = (0, 0);
        let add = |run: &mut Self, at_us: u64| {
            let (recipients, load) = message(publications);
            let message = wire::message(Stamp { at_us, phase: load.phase }, load.message_bytes);
            run.target.publisher.add(&recipients, &message, run.arguments.durable);
            publications += 1;
            expected += recipients.members.len() as u64;
            delivered + expected
        };
        match load.rate {
            Some(rate) => self.publish_at_rate(load.time, rate, add)?,
            None => self.publish_in_closed_loop(load, add)?,
        }
        // Missing messages are reported with the deliveries.
        let _ = self.clients.counts.wait_for_deliveries(delivered + expected);
        let used = self.used_since(&before);
        drop(progress);
        self.target.publisher.check()?;
        let (deliveries, latencies) = (self.deliveries(load.phase), self.clients.latencies(load.phase));
        Ok(PublishReport { publications, expected, deliveries, latencies, used })
    }

    /// Has the first `typists` clients send signals in turn. The baseline writes each signal to all sockets. For each
    /// signal, `also` may publish messages; it returns their number.
    pub(crate) fn send_signals(
        &mut self,
        load: Load,
        typists: usize,
        channel: &str,
        mut also: impl FnMut(&mut Self, u64) -> u64,
    ) -> Result<PublishReport, BenchError> {
        let progress = ProgressLine::start(self, "sending signals", Goal::Time(load.time));
        let (before, sockets) = (self.usage(), self.arguments.sockets);
        let delivered = self.clients.counts.delivered();
        let (mut publications, mut expected, mut messages) = (0, 0, 0);
        let add = |run: &mut Self, at_us: u64| {
            let typist = publications as usize % typists;
            let signal = wire::message(Stamp { at_us, phase: load.phase }, load.message_bytes);
            if run.target.is_baseline {
                let user = crate::scenario::user(typist);
                let frame = format!(r#"{{"op":18,"channel":"{channel}","user":"{user}","signal":{signal}}}"#);
                run.target.publisher.add_order(0..sockets, &frame);
                expected += sockets as u64;
            } else {
                let text = format!(r#"{{"op":18,"channel":"{channel}","signal":{signal}}}"#);
                run.clients.send_frame(typist, wire::client_frame(&text));
                expected += sockets as u64 - 1;
            }
            publications += 1;
            messages += also(run, at_us);
            delivered + expected + messages
        };
        self.publish_at_rate(load.time, load.rate.unwrap_or(1.0), add)?;
        self.clients.counts.wait_until_quiet(delivered + expected + messages);
        let used = self.used_since(&before);
        drop(progress);
        let (deliveries, latencies) = (self.deliveries(load.phase), self.clients.latencies(load.phase));
        Ok(PublishReport { publications, expected, deliveries, latencies, used })
    }

    /// Publishes a message in addition to others.
    pub(crate) fn publish_one(&mut self, recipients: &Recipients, load: Load, at_us: u64) {
        let message = wire::message(Stamp { at_us, phase: load.phase }, load.message_bytes);
        self.target.publisher.add(recipients, &message, false);
    }

    /// `add` adds the next message, with this due time.
    pub(crate) fn publish_at_rate<Added>(
        &mut self,
        time: Duration,
        rate: f64,
        mut add: impl FnMut(&mut Self, u64) -> Added,
    ) -> Result<(), BenchError> {
        let start_us = self.now_us();
        let count = (time.as_secs_f64() * rate).round().max(1.0) as u64;
        let due_us = |number: u64| start_us + (number as f64 * 1e6 / rate) as u64;
        let mut sent = 0;
        while sent < count {
            let now_us = self.now_us();
            let wait_us = due_us(sent).saturating_sub(now_us);
            if wait_us > 0 {
                std::thread::park_timeout(Duration::from_micros(wait_us));
                continue;
            }
            for at_us in (sent..count).take(BATCH).map(due_us).take_while(|at_us| *at_us <= now_us) {
                self.outcome.late.record(at_us, now_us - at_us);
                add(self, at_us);
                sent += 1;
            }
            self.target.publisher.flush()?;
        }
        Ok(())
    }

    /// `add` adds the next message, which is due now; returns the total of deliveries when the message has arrived.
    fn publish_in_closed_loop(
        &mut self,
        load: Load,
        mut add: impl FnMut(&mut Self, u64) -> u64,
    ) -> Result<(), BenchError> {
        let (started_at, mut in_flight) = (Instant::now(), VecDeque::new());
        while started_at.elapsed() < load.time {
            let now_us = self.now_us();
            in_flight.push_back(add(self, now_us));
            self.target.publisher.flush()?;
            if in_flight.len() >= load.in_flight
                && let Some(first) = in_flight.pop_front()
                && !self.clients.counts.wait_for_deliveries(first)
            {
                let missing = first.saturating_sub(self.clients.counts.delivered());
                return Err(BenchError::Run(format!("{missing} deliveries are missing")));
            }
        }
        Ok(())
    }
}

impl PublishReport {
    /// Records what the busiest Redis server can carry: the capacity of all of them together.
    fn record_busiest(&self, outcome: &mut BenchOutcome) {
        let cpu = self.used.busiest_redis();
        let publications = self.publications as f64;
        outcome.compare(
            "publications_per_cpu_second",
            "publications per CPU second of the busiest Redis",
            publications / cpu,
        );
        outcome.plain(
            "busiest_redis_cpu_us_per_publication",
            "CPU of the busiest Redis per publication, µs",
            cpu * 1e6 / publications,
        );
    }

    /// Records the figures of every scenario with deliveries.
    pub(crate) fn record(self, outcome: &mut BenchOutcome) {
        let Self { publications, expected, deliveries, latencies, used } = self;
        let count = deliveries as f64;
        let (process, redis) = (used.process, used.redis_cpu * 1e6 / publications as f64);
        outcome.plain("publications", "publications", publications as f64);
        outcome.deliveries(deliveries, expected);
        outcome.compare("deliveries_per_second", "deliveries per second", count / used.seconds);
        outcome.latencies("latency", "latency", latencies);
        outcome.compare("cpu_us_per_delivery", "CPU per delivery, µs", process.cpu * 1e6 / count);
        outcome.cpu_parts("delivery", process, count);
        outcome.plain("redis_cpu_us_per_publication", "Redis CPU per publication, µs", redis);
    }
}
