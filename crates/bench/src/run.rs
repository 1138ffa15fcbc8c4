//! One run of a scenario against one target, and the resources that it uses.

use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use crate::BenchError;
use crate::arguments::{BenchArgs, Scenario};
use crate::clients::{Clients, Pace};
use crate::memory;
use crate::outcome::BenchOutcome;
use crate::process::{self, ResourceUsage};
use crate::progress::{Goal, ProgressLine};
use crate::target::Target;

/// The pause before memory is measured, for recent work to finish.
const SETTLE: Duration = Duration::from_millis(300);

/// The state of a run, for its scenario.
pub(crate) struct ScenarioRun<'a> {
    pub(crate) arguments: &'a BenchArgs,
    pub(crate) target: Target,
    pub(crate) clients: Clients,
    /// The start of the run; times in microseconds count from it.
    pub(crate) started_at: Instant,
    pub(crate) heartbeat_interval: Duration,
    /// The namespace of the channels of clients.
    pub(crate) namespace: String,
    pub(crate) outcome: BenchOutcome,
}

/// The resources used in total or between two samples. Unknown figures are NaN.
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    /// Resources of the target's process.
    pub(crate) process: ResourceUsage,
    /// CPU of Redis, in seconds, of all servers together.
    pub(crate) redis_cpu: f64,
    /// CPU of each Redis server, in seconds.
    redis_nodes: Vec<f64>,
    /// Memory of Redis, in bytes.
    pub(crate) redis_memory: f64,
    /// Resources of the processes with the clients.
    pub(crate) generator: ResourceUsage,
    /// CPU of each thread of the generator, in seconds.
    threads: Vec<f64>,
}

/// The memory of everything, in bytes.
pub(crate) struct MemoryUsage {
    /// Memory of the target; a page that its processes share counts once.
    pub(crate) proportional: f64,
    pub(crate) kernel: f64,
    /// Memory of the processes with the clients, counted in the same way.
    pub(crate) generator: f64,
    pub(crate) redis: f64,
    /// Memory of the machine that is still available.
    pub(crate) available: f64,
}

impl Usage {
    /// CPU of the busiest Redis server, in seconds.
    pub(crate) fn busiest_redis(&self) -> f64 {
        self.redis_nodes.iter().copied().fold(f64::NAN, f64::max)
    }
}

fn differences(now: &[f64], before: &[f64]) -> Vec<f64> {
    now.iter().zip(before).map(|(now, then)| now - then).collect()
}

impl ScenarioRun<'_> {
    /// The resources used since the start.
    pub(crate) fn usage(&self) -> Usage {
        let redis = self.target.redis_usage();
        let redis_nodes: Vec<f64> = redis.iter().map(|[cpu, _]| *cpu).collect();
        let (redis_cpu, redis_memory) = if redis.is_empty() {
            (f64::NAN, f64::NAN)
        } else {
            (redis_nodes.iter().sum(), redis.iter().map(|[_, memory]| memory).sum())
        };
        let own = process::this_thread().map(|thread| (std::process::id(), thread));
        let threads = self.clients.threads().into_iter().chain(own);
        let threads =
            threads.map(|(process, id)| process::thread_cpu(process, id).unwrap_or(f64::NAN)).collect();
        let (seconds, process) = (self.started_at.elapsed().as_secs_f64(), self.target.process_usage());
        let generator = ResourceUsage::of_all(&self.clients.processes());
        Usage { seconds, process, redis_cpu, redis_nodes, redis_memory, generator, threads }
    }

    /// The memory of everything now.
    pub(crate) fn memory(&self) -> MemoryUsage {
        let Usage { redis_memory, .. } = self.usage();
        MemoryUsage {
            proportional: memory::proportional(&self.target.processes()),
            kernel: memory::kernel(),
            generator: memory::proportional(&self.clients.processes()),
            redis: redis_memory,
            available: memory::available(),
        }
    }

    /// The resources used since an earlier sample; records the load of the generator's threads.
    pub(crate) fn used_since(&mut self, before: &Usage) -> Usage {
        let now = self.usage();
        let seconds = now.seconds - before.seconds;
        let threads = differences(&now.threads, &before.threads);
        let busy = threads.iter().map(|cpu| cpu / seconds);
        self.outcome.busiest = busy.fold(self.outcome.busiest, f64::max);
        Usage {
            seconds,
            process: now.process.since(before.process),
            redis_cpu: now.redis_cpu - before.redis_cpu,
            redis_nodes: differences(&now.redis_nodes, &before.redis_nodes),
            redis_memory: now.redis_memory - before.redis_memory,
            generator: now.generator.since(before.generator),
            threads,
        }
    }

    /// Connects all measured clients; records the cost per client and returns the total.
    pub(crate) fn connect_all(&mut self, pace: Pace) -> Result<Usage, BenchError> {
        if !self.target.is_baseline {
            // A first connection to each replica creates threads, hubs and their first allocations before the
            // measurement.
            self.connect_range(0..self.target.servers.len(), Pace::InFlight(1))?;
            self.clients.disconnect();
            std::thread::park_timeout(SETTLE);
        }
        let memory_before = self.arguments.replicas.map(|_| self.memory());
        let before = self.usage();
        self.connect_range(0..self.arguments.sockets, pace)?;
        let used = self.used_since(&before);
        std::thread::park_timeout(SETTLE);
        let sockets = self.arguments.sockets as f64;
        let memory = (self.target.process_usage().resident - before.process.resident) / sockets;
        let cpu = used.process.cpu * 1e6 / sockets;
        self.outcome.compare("rss_bytes_per_connection", "RSS per connection, bytes", memory);
        self.outcome.compare("cpu_us_per_connect", "CPU per connect and Identify, µs", cpu);
        if self.arguments.scenario == Scenario::Connect {
            self.outcome.cpu_parts("connect", used.process, sockets);
        }
        if let Some(before) = memory_before {
            self.record_memory(&before, &used);
        }
        Ok(used)
    }

    /// Records the memory and CPU outside of the gateways, per connection.
    fn record_memory(&mut self, before: &MemoryUsage, used: &Usage) {
        let (now, sockets) = (self.memory(), self.arguments.sockets as f64);
        let outcome = &mut self.outcome;
        let kernel = now.kernel - before.kernel;
        for (key, label, bytes) in [
            ("pss", "PSS", now.proportional - before.proportional),
            ("kernel", "kernel memory (both ends)", kernel),
            ("generator", "generator memory (without its token)", now.generator - before.generator),
            ("redis", "Redis memory", now.redis - before.redis),
            ("machine", "memory of the machine", before.available - now.available),
        ] {
            let (key, label) =
                (format!("{key}_bytes_per_connection"), format!("{label} per connection, bytes"));
            outcome.plain(&key, &label, bytes / sockets);
        }
        for (key, label, bytes) in [
            ("pss", "PSS of all gateways, MiB", now.proportional),
            ("kernel", "kernel memory of all sockets, MiB", kernel),
            ("generator", "PSS of all generators, MiB", now.generator),
            ("redis", "memory of Redis, MiB", now.redis),
        ] {
            outcome.plain(&format!("{key}_mib"), label, bytes / f64::from(1 << 20));
        }
        let empty = before.proportional / self.target.servers.len() as f64;
        outcome.plain("pss_bytes_per_empty_replica", "PSS of a replica before its clients, bytes", empty);
        let cpu = used.generator.cpu * 1e6 / sockets;
        outcome.plain("generator_cpu_us_per_connect", "CPU of the generator per connect, µs", cpu);
    }

    /// Connects these clients and waits until they and all earlier ones are Ready.
    pub(crate) fn connect_range(&self, range: Range<usize>, pace: Pace) -> Result<(), BenchError> {
        let ready = range.end;
        self.clients.connect(range, pace);
        let _progress = ProgressLine::start(self, "connecting", Goal::Ready(ready));
        self.clients.wait_until_ready(ready)
    }

    pub(crate) fn deliveries(&self, phase: u8) -> u64 {
        self.clients.counts.deliveries[usize::from(phase)].load(SeqCst)
    }

    pub(crate) fn heartbeats(&self) -> u64 {
        self.clients.counts.heartbeats.load(SeqCst)
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.started_at.elapsed().as_micros() as u64
    }
}
