//! The child processes of the load generator: gateway, baseline and Redis. They end with the load generator, also
//! when a signal ends it, although a signal runs no destructors.

use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::BenchError;

/// All running children. A signal concerns the whole process, so there is one list.
static RUNNING: Mutex<Vec<Child>> = Mutex::new(Vec::new());
/// The exit code of a process ended by a signal is this number and the signal's, as in shells.
const ENDED_BY_SIGNAL: i32 = 128;
/// How often a child that shall end is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// A child process, by its id. Ended when dropped.
pub(crate) struct ChildProcess(pub(crate) u32);

/// Standard input, output and error of a child, as far as they are pipes.
pub(crate) type StdioPipes = (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>);

impl ChildProcess {
    pub(crate) fn start(command: &mut Command) -> io::Result<(Self, StdioPipes)> {
        // Locked until the child is listed, so the signal handler ends every child.
        let mut running = RUNNING.lock();
        let mut child = command.spawn()?;
        let (id, pipes) = (child.id(), (child.stdin.take(), child.stdout.take(), child.stderr.take()));
        running.push(child);
        Ok((Self(id), pipes))
    }

    /// Waits until the child has ended by itself; whether it did, with exit code 0.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let started_at = Instant::now();
        loop {
            let ended = RUNNING.lock().iter_mut().find(|child| child.id() == self.0).map(Child::try_wait);
            match ended {
                Some(Ok(None)) if started_at.elapsed() < timeout => std::thread::park_timeout(CHECK_INTERVAL),
                Some(Ok(Some(status))) => return status.success(),
                _ => return false,
            }
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        RUNNING.lock().extract_if(.., |child| child.id() == self.0).for_each(end);
    }
}

/// Kills these children without waiting for their end, so that none of them reacts to the end of another.
pub(crate) fn kill_together(processes: &[u32]) {
    for child in RUNNING.lock().iter_mut().filter(|child| processes.contains(&child.id())) {
        // Fails if the child has already ended.
        let _ = child.kill();
    }
}

/// Ends all children when a signal ends this process.
pub(crate) fn end_children_on_signals() -> Result<(), BenchError> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new().name("bench-signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Locked until the process ends, so no further child starts.
            let mut running = RUNNING.lock();
            running.drain(..).for_each(end);
            std::process::exit(ENDED_BY_SIGNAL + signal);
        }
    })?;
    Ok(())
}

fn end(mut child: Child) {
    // Fails if the child has already ended.
    let _ = child.kill();
    let _ = child.wait();
}
