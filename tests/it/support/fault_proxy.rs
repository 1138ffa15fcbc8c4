//! A TCP proxy that injects faults between the gateway and Redis, or between a client and the gateway.
//!
//! The proxy is deterministic. Tests set the fault of each direction at run time, or draw a sequence of faults from a
//! seed with [`plan::random`].

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

/// The fault applied to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No fault.
    Pass,
    /// Forwards each byte after this time; order and rate are kept.
    Delay(Duration),
    /// Forwards at most this many bytes per second.
    Throttle(usize),
    /// Forwards nothing. Buffers this many bytes; then the sender's own buffers fill.
    Stall(usize),
    /// Reads and drops everything, including the end of the connection. A connection that has lost bytes is reset once
    /// it would forward again, because no real link loses bytes in the middle.
    BlackHole,
    /// Resets the connection at once.
    Reset,
    /// Closes both directions of the connection after this many more bytes.
    CutAfter(usize),
}

/// A direction of the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the side that connected to the proxy.
    ToServer,
    /// From the server that the proxy connects to.
    ToClient,
}

pub(crate) const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// A proxy on a free port, with its own thread. Dropping it resets its connections.
pub(crate) struct FaultProxy {
    /// The address that the proxy listens on.
    pub(crate) address: SocketAddr,
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

/// The state shared with the proxy's connections.
struct Control {
    target: Mutex<SocketAddr>,
    faults: [watch::Sender<Fault>; 2],
    /// Incremented to reset all connections that are open at that time.
    reset: watch::Sender<u64>,
    stop: watch::Sender<bool>,
    refuses: AtomicBool,
    accepted: AtomicUsize,
    open: AtomicUsize,
    broken: AtomicUsize,
    forwarded: [AtomicUsize; 2],
}

impl FaultProxy {
    /// Starts a proxy in front of `target`, without a fault.
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

    /// Sets the fault of one direction for open and new connections.
    pub(crate) fn set(&self, direction: Direction, fault: Fault) {
        self.control.faults[direction as usize].send_replace(fault);
    }

    /// Sets the fault of both directions.
    pub(crate) fn set_both(&self, fault: Fault) {
        BOTH.into_iter().for_each(|direction| self.set(direction, fault));
    }

    /// Removes all faults and accepts new connections.
    pub(crate) fn heal(&self) {
        self.refuse(false);
        self.set_both(Fault::Pass);
    }

    /// Sets whether new connections are reset as soon as they are accepted.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.control.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Resets only the connections that are open now.
    pub(crate) fn reset_open(&self) {
        self.control.reset.send_modify(|generation| *generation += 1);
    }

    /// Sends new connections to `target`.
    pub(crate) fn redirect(&self, target: SocketAddr) {
        *self.control.target.lock().unwrap() = target;
    }

    /// Runs a plan step by step and heals after each step.
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

    /// The number of connections accepted so far, including those that were reset at once.
    pub(crate) fn accepted(&self) -> usize {
        self.control.accepted.load(Ordering::SeqCst)
    }

    /// The number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.control.open.load(Ordering::SeqCst)
    }

    /// The number of connections that the proxy has ended itself.
    pub(crate) fn broken(&self) -> usize {
        self.control.broken.load(Ordering::SeqCst)
    }

    /// The number of bytes forwarded in a direction.
    pub(crate) fn forwarded(&self, direction: Direction) -> usize {
        self.control.forwarded[direction as usize].load(Ordering::SeqCst)
    }

    /// Waits until [`broken`](Self::broken) exceeds `before`.
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

/// Sleeps while a fault lasts. The duration decides how much traffic the fault affects, never whether the test passes.
#[allow(clippy::disallowed_methods, reason = "a test's thread has no sockets to serve")]
pub(crate) fn hold(time: Duration) {
    thread::sleep(time);
}
