//! The clients of the load generator, all of them, on threads of their own: what they are told, and what they count.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use mio::{Poll, Waker};

use crate::BenchError;
use crate::latency::Latencies;
use crate::process;
use crate::worker::{Recorder, Share, WAKE, Worker};

/// A run has at most so many parts, the one that is not counted (0) included: a part's number is one digit.
pub(crate) const PHASES: usize = 5;

/// Who connects where, and how.
pub(crate) struct Plan {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// One client each.
    pub(crate) identities: Vec<Identity>,
    /// Whether they speak version 2.
    pub(crate) is_v2: bool,
    /// Whether they negotiate permessage-deflate.
    pub(crate) is_deflated: bool,
    /// Whether they keep the place of the last message on `all`, and give it when they come back.
    pub(crate) keeps_places: bool,
    /// Whether one that is lost or refused tries again.
    pub(crate) comes_back: bool,
    /// Clients from this one on have the smallest receive buffer.
    pub(crate) narrow_from: usize,
    /// Clients from this one on have a thread of their own, that reads nothing else.
    pub(crate) apart_from: usize,
}

/// Who a client is.
pub(crate) struct Identity {
    /// Its token.
    pub(crate) token: String,
    /// What it subscribes to with Identify (version 2).
    pub(crate) channels: Vec<String>,
}

/// How fast clients connect.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many in a second, whether or not the ones before are Ready.
    Rate(f64),
    /// As fast as it goes, so many of them at a time; each is due when it is begun.
    InFlight(usize),
    /// All of them are due now, and so many at a time are begun.
    AtOnce(usize),
}

/// What the clients of one thread are told.
pub(crate) enum Order {
    /// These connect.
    Connect(Range<usize>, Pace),
    /// All sockets are cut.
    Cut,
    /// These read no more.
    Stall(Range<usize>),
    /// These are cut for good.
    Leave(Range<usize>),
    /// What has been recorded so far is wanted.
    Report(mpsc::Sender<Recorder>),
    /// It is over.
    Stop,
}

/// What all threads count together.
#[derive(Default)]
pub(crate) struct Counts {
    /// Clients that are Ready now.
    pub(crate) ready: AtomicUsize,
    /// Connections that were refused, or lost without our doing.
    pub(crate) lost: AtomicUsize,
    /// Of those that came back with a place, how many were told that nothing is missing.
    pub(crate) recovered: AtomicUsize,
    /// … and how many that something may be.
    pub(crate) not_recovered: AtomicUsize,
    /// Heartbeats answered.
    pub(crate) heartbeats: AtomicU64,
    /// Messages received, by phase.
    pub(crate) deliveries: [AtomicU64; PHASES],
    /// The last reason why a connection was lost.
    pub(crate) reason: Mutex<Option<String>>,
    /// How many deliveries the publisher waits for, and its thread.
    awaited: AtomicU64,
    waiting: OnceLock<Thread>,
}

impl Counts {
    /// Messages received in all phases.
    pub(crate) fn delivered(&self) -> u64 {
        self.deliveries.iter().map(|phase| phase.load(SeqCst)).sum()
    }

    /// Wakes whoever waits for so many deliveries. Called by each thread after each batch.
    pub(crate) fn notify(&self) {
        if let Some(waiting) = self.waiting.get()
            && self.delivered() >= self.awaited.load(SeqCst)
        {
            waiting.unpark();
        }
    }

    /// Waits until so many messages have come; false when the deadline has passed first. Only ever called by one thread.
    pub(crate) fn wait_for_deliveries(&self, count: u64, deadline: Instant) -> bool {
        self.awaited.store(count, SeqCst);
        self.waiting.get_or_init(std::thread::current);
        while self.delivered() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::park_timeout(left);
        }
        self.awaited.store(u64::MAX, SeqCst);
        true
    }
}

/// All clients.
pub(crate) struct Swarm {
    /// What they count.
    pub(crate) counts: Arc<Counts>,
    comes_back: bool,
    threads: Vec<Threaded>,
}

struct Threaded {
    orders: mpsc::Sender<Order>,
    waker: Waker,
    id: u32,
    thread: Option<JoinHandle<()>>,
}

impl Swarm {
    /// Starts the threads; nobody connects yet. Times are counted from `begun`.
    pub(crate) fn start(plan: Plan, threads: usize, begun: Instant) -> Result<Self, BenchError> {
        let (plan, counts) = (Arc::new(plan), Arc::<Counts>::default());
        let mut started = Vec::new();
        for (number, share) in shares(plan.identities.len(), plan.apart_from, threads).enumerate() {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let (sender, orders) = mpsc::channel();
            let (plan, counts) = (Arc::clone(&plan), Arc::clone(&counts));
            let (tell, told) = mpsc::channel();
            let thread = std::thread::Builder::new().name(format!("bench-{number}")).spawn(move || {
                // Nobody is left to hear it when this fails.
                let _ = tell.send(process::this_thread().unwrap_or_default());
                Worker::new(poll, orders, plan, counts, begun, share).run();
            })?;
            let id = told.recv().unwrap_or_default();
            started.push(Threaded { orders: sender, waker, id, thread: Some(thread) });
        }
        Ok(Self { counts, comes_back: plan.comes_back, threads: started })
    }

    /// Tells every thread.
    pub(crate) fn tell(&self, order: impl Fn() -> Order) {
        for thread in &self.threads {
            // A thread that has ended has reported why.
            let _ = thread.orders.send(order());
            let _ = thread.waker.wake();
        }
    }

    /// What all threads have recorded so far.
    pub(crate) fn report(&self) -> Recorder {
        let (sender, reports) = mpsc::channel();
        self.tell(|| Order::Report(sender.clone()));
        drop(sender);
        let mut merged = Recorder::default();
        for report in reports {
            merged.merge(&report);
        }
        merged
    }

    /// The latencies of one phase.
    pub(crate) fn latencies(&self, phase: u8) -> Latencies {
        let mut report = self.report();
        std::mem::take(&mut report.phases[usize::from(phase)])
    }

    /// The kernel's numbers of the threads.
    pub(crate) fn thread_ids(&self) -> Vec<u32> {
        self.threads.iter().map(|thread| thread.id).collect()
    }

    /// Waits until so many are Ready, as long as any more become so.
    pub(crate) fn wait_until_ready(&self, count: usize, patience: Duration) -> Result<(), BenchError> {
        let mut last = (0, Instant::now());
        let lost = self.counts.lost.load(SeqCst);
        loop {
            let ready = self.counts.ready.load(SeqCst);
            if ready >= count {
                return Ok(());
            }
            // As long as any arrive the others are waited for.
            if ready != last.0 {
                last = (ready, Instant::now());
            }
            // Who was refused does not come back by itself, so there is nothing to wait for.
            let is_hopeless = !self.comes_back && self.counts.lost.load(SeqCst) > lost;
            if last.1.elapsed() > if is_hopeless { patience / 30 } else { patience } {
                let reason = self.counts.reason.lock().ok().and_then(|reason| reason.clone());
                let reason =
                    reason.map_or_else(String::new, |reason| format!(" (the last one lost: {reason})"));
                return Err(BenchError::Run(format!("only {ready} of {count} sockets are ready{reason}")));
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// What each thread has of all clients.
fn shares(clients: usize, apart_from: usize, threads: usize) -> impl Iterator<Item = Share> {
    let end = apart_from.min(clients);
    let together = (0..threads).map(move |first| Share { first, step: threads, end });
    let apart = (end < clients).then_some(Share { first: end, step: 1, end: clients });
    together.chain(apart)
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.tell(|| Order::Stop);
        for thread in &mut self.threads {
            if let Some(thread) = thread.thread.take() {
                // A panic there has been printed.
                let _ = thread.join();
            }
        }
    }
}
