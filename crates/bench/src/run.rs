//! One run of a scenario against one target: its clients, its clock, and what it costs.

use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use crate::BenchError;
use crate::arguments::BenchArgs;
use crate::clients::{Clients, Order, Pace};
use crate::outcome::Outcome;
use crate::process::{self, Account};
use crate::progress::{Goal, Progress};
use crate::redis::Usage;
use crate::target::Target;

/// A run is given up when nothing changes for so long.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many clients connect at a time by default.
const CONNECTING: usize = 64;
/// Time for recent work to end before memory is measured.
const SETTLE: Duration = Duration::from_millis(300);

/// Everything a scenario needs.
pub(crate) struct Run<'a> {
    pub(crate) arguments: &'a BenchArgs,
    pub(crate) target: &'a mut Target,
    pub(crate) clients: Clients,
    /// The zero of the generator's clock.
    pub(crate) begun: Instant,
    /// Clients that are counted; stalled readers and watchers come on top.
    pub(crate) sockets: usize,
    pub(crate) heartbeat_interval: Duration,
    /// The namespace of channels that clients may subscribe to.
    pub(crate) namespace: String,
    pub(crate) outcome: Outcome,
}

/// What was used between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    pub(crate) seconds: f64,
    /// The target's CPU, in seconds; not a number where it is not known.
    pub(crate) cpu: f64,
    /// The part of it in its own code, counted in hundredths.
    pub(crate) user: f64,
    /// The part of it in the kernel, counted in hundredths.
    pub(crate) system: f64,
    /// The Redis' CPU, in seconds.
    pub(crate) redis: f64,
    /// By how much the Redis' memory grew, in bytes.
    pub(crate) redis_memory: f64,
}

/// The counters of one moment.
pub(crate) struct Meter {
    at: Instant,
    account: Option<Account>,
    redis: Option<Usage>,
    threads: Vec<f64>,
}

impl Run<'_> {
    pub(crate) fn meter(&self) -> Meter {
        let redis = self.target.redis_usage();
        let threads = self.clients.thread_ids().chain(process::this_thread());
        let threads = threads.map(|id| process::thread_cpu(id).unwrap_or(f64::NAN)).collect();
        Meter { at: Instant::now(), account: self.target.account(), redis, threads }
    }

    /// What was used since then; notes how busy the generator was.
    pub(crate) fn since(&mut self, meter: &Meter) -> Used {
        let now = self.meter();
        let seconds = now.at.duration_since(meter.at).as_secs_f64();
        let accounts = meter.account.zip(now.account);
        let target =
            |of: fn(&Account) -> f64| accounts.map_or(f64::NAN, |(before, after)| of(&after) - of(&before));
        let usages = meter.redis.zip(now.redis);
        let redis =
            |of: fn(&Usage) -> f64| usages.map_or(f64::NAN, |(before, after)| of(&after) - of(&before));
        let busy = meter.threads.iter().zip(&now.threads).map(|(then, now)| (now - then) / seconds);
        self.outcome.busiest = busy.fold(self.outcome.busiest, f64::max);
        Used {
            seconds,
            cpu: target(|account| account.cpu),
            user: target(|account| account.user),
            system: target(|account| account.system),
            redis: redis(|usage| usage.cpu),
            redis_memory: redis(|usage| usage.memory),
        }
    }

    /// The target's resident memory, in bytes; not a number where it is not known.
    pub(crate) fn resident(&self) -> f64 {
        self.target.account().map_or(f64::NAN, |account| account.resident)
    }

    /// Connects all clients that are counted; notes what they cost.
    pub(crate) fn connect_all(&mut self) -> Result<(), BenchError> {
        let (used, resident) = self.connect(Pace::InFlight(CONNECTING))?;
        let sockets = self.sockets as f64;
        self.outcome.note_memory(resident / sockets);
        self.outcome.note_connect_cpu(used.cpu * 1e6 / sockets);
        Ok(())
    }

    /// Connects all clients that are counted. Returns what that used, and by how much the target's memory grew.
    pub(crate) fn connect(&mut self, pace: Pace) -> Result<(Used, f64), BenchError> {
        if !self.target.is_baseline {
            // Threads, hubs and their first allocations exist before the measurement begins.
            self.connect_these(0..1, Pace::InFlight(1), 1)?;
            self.clients.send(|| Order::Cut);
            std::thread::park_timeout(SETTLE);
        }
        let (resident, meter) = (self.resident(), self.meter());
        self.connect_these(0..self.sockets, pace, self.sockets)?;
        let used = self.since(&meter);
        std::thread::park_timeout(SETTLE);
        Ok((used, self.resident() - resident))
    }

    /// Connects these clients, and waits until `ready` of all are Ready.
    pub(crate) fn connect_these(
        &self,
        range: Range<usize>,
        pace: Pace,
        ready: usize,
    ) -> Result<(), BenchError> {
        self.clients.send(|| Order::Connect(range.clone(), pace));
        let label = format!("{}: connecting", self.name());
        let _progress = Progress::start(label, Goal::Ready(ready), &self.clients.counts);
        self.clients.wait_until_ready(ready, IDLE_TIMEOUT)
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.target.is_baseline { "baseline" } else { "gateway" }
    }

    pub(crate) fn deliveries(&self, phase: u8) -> u64 {
        self.clients.counts.deliveries[usize::from(phase)].load(SeqCst)
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }
}
