//! The clients of the load generator, all of them, on threads of their own.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Poll, Waker};

use super::super::Failure;
use super::counts::{Counts, Recorder};
use super::latency::Latencies;
use super::plan::{Order, Plan};
use super::process;
use super::worker::{Share, WAKE, Worker};

/// All clients.
pub(super) struct Swarm {
    /// What they count.
    pub(super) counts: Arc<Counts>,
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
    pub(super) fn start(plan: Plan, threads: usize, begun: Instant) -> Result<Self, Failure> {
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
    pub(super) fn tell(&self, order: impl Fn() -> Order) {
        for thread in &self.threads {
            // A thread that has ended has reported why.
            let _ = thread.orders.send(order());
            let _ = thread.waker.wake();
        }
    }

    /// What all threads have recorded so far.
    pub(super) fn report(&self) -> Recorder {
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
    pub(super) fn latencies(&self, phase: u8) -> Latencies {
        let mut report = self.report();
        std::mem::take(&mut report.phases[usize::from(phase)])
    }

    /// The kernel's numbers of the threads.
    pub(super) fn thread_ids(&self) -> Vec<u32> {
        self.threads.iter().map(|thread| thread.id).collect()
    }

    /// Waits until so many are Ready, as long as any more become so.
    pub(super) fn wait_until_ready(&self, count: usize, patience: Duration) -> Result<(), Failure> {
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
                return Err(Failure::Other(format!("only {ready} of {count} sockets are ready{reason}")));
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
