//! A TCP proxy that breaks on command: between the gateway and Redis, or between a client and the gateway.
//!
//! Nothing in it is left to chance. What it does to each direction is told to it at run time, or is drawn
//! beforehand from a seed by [`plan`](plan::random).

mod connection;
pub(crate) mod plan;
mod pump;
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::watch;

use super::deadline::eventually;
use super::process::SOON;

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They go on as they come.
    Pass,
    /// Each goes on after this time; their order and rate stay.
    Delay(Duration),
    /// So many go on in a second.
    Throttle(usize),
    /// None goes on. So many are taken in and wait; then the sender's own buffers fill.
    Stall(usize),
    /// All are taken in and lost, the end of the connection too. A connection that has lost any is reset as soon
    /// as it is to carry bytes again, since no real link loses bytes in the middle.
    BlackHole,
    /// The connection is reset at once.
    Reset,
    /// After so many more bytes of this connection it is closed, both ways.
    CutAfter(usize),
}

/// Which bytes are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From who connected to the proxy.
    ToServer,
    /// From who listens behind it.
    ToClient,
}

pub(crate) const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// A proxy on a free port, on a thread of its own. Dropping it resets what it carries.
pub(crate) struct FaultProxy {
    /// Where to connect to.
    pub(crate) address: SocketAddr,
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

/// What the proxy's connections look at.
struct Control {
    target: Mutex<SocketAddr>,
    faults: [watch::Sender<Fault>; 2],
    /// Grows by one when all connections that are open now are to be reset.
    reset: watch::Sender<u64>,
    stop: watch::Sender<bool>,
    refuses: AtomicBool,
    accepted: AtomicUsize,
    open: AtomicUsize,
    broken: AtomicUsize,
    forwarded: [AtomicUsize; 2],
}

impl FaultProxy {
    /// Starts one in front of `target`; everything passes.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let control = Arc::new(Control {
            target: Mutex::new(target),
            faults: BOTH.map(|_| watch::Sender::new(Fault::Pass)),
            reset: watch::Sender::new(0),
            stop: watch::Sender::new(false),
            refuses: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            broken: AtomicUsize::new(0),
            forwarded: BOTH.map(|_| AtomicUsize::new(0)),
        });
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&control);
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let mut stop = shared.stop.subscribe();
                tokio::select! {
                    () = connection::accept(listener, &shared) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            });
        });
        Self { address, control, thread: Some(thread) }
    }

    /// From now on this happens to the bytes of a direction, on open connections and on new ones.
    pub(crate) fn set(&self, direction: Direction, fault: Fault) {
        self.control.faults[direction as usize].send_replace(fault);
    }

    /// As [`set`](Self::set), for both directions.
    pub(crate) fn set_both(&self, fault: Fault) {
        BOTH.into_iter().for_each(|direction| self.set(direction, fault));
    }

    /// Everything passes again and new connections are taken.
    pub(crate) fn heal(&self) {
        self.refuse(false);
        self.set_both(Fault::Pass);
    }

    /// Whether new connections are reset as soon as they come.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.control.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Resets the connections that are open now, and only these.
    pub(crate) fn reset_open(&self) {
        self.control.reset.send_modify(|generation| *generation += 1);
    }

    /// New connections go there.
    pub(crate) fn redirect(&self, target: SocketAddr) {
        *self.control.target.lock().unwrap() = target;
    }

    /// Does what a plan says, step by step, and heals at its end.
    pub(crate) fn run(&self, plan: &[plan::Step]) {
        for step in plan {
            match step.action {
                plan::Action::Set(direction, fault) => self.set(direction, fault),
                plan::Action::ResetOpen => self.reset_open(),
            }
            hold(step.lasts);
            self.heal();
        }
    }

    /// How many connections have come so far, refused ones included.
    pub(crate) fn accepted(&self) -> usize {
        self.control.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.control.open.load(Ordering::SeqCst)
    }

    /// How many connections it has ended itself.
    pub(crate) fn broken(&self) -> usize {
        self.control.broken.load(Ordering::SeqCst)
    }

    /// How many bytes have gone on in a direction.
    pub(crate) fn forwarded(&self, direction: Direction) -> usize {
        self.control.forwarded[direction as usize].load(Ordering::SeqCst)
    }

    /// Waits until it has ended a connection more than the `before` of [`broken`](Self::broken).
    #[track_caller]
    pub(crate) fn wait_broken(&self, before: usize) {
        eventually(SOON, || (self.broken() > before).then_some(()));
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.control.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How long a fault lasts. It decides how much it hits, never whether the test passes.
#[allow(clippy::disallowed_methods, reason = "a test's thread has no sockets to serve")]
pub(crate) fn hold(time: Duration) {
    thread::sleep(time);
}
