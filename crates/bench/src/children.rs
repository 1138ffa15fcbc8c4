//! The processes that the load generator starts: a gateway, a baseline, a Redis. They end with it, also when a signal ends
//! it, which runs no destructor.

use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::BenchError;

/// All that run. A signal is sent to the whole process, so one list holds all of its children.
static RUNNING: Mutex<Vec<Child>> = Mutex::new(Vec::new());
/// What a shell adds to the number of the signal that ended a command.
const ENDED_BY_SIGNAL: i32 = 128;

/// A process of ours, by its id. Ended when dropped.
pub(crate) struct ChildProcess(pub(crate) u32);

/// The ends of its pipes.
pub(crate) type StdioPipes = (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>);

impl ChildProcess {
    pub(crate) fn start(command: &mut Command) -> io::Result<(Self, StdioPipes)> {
        // Locked all the while: a signal finds every process that has been started, and none is started after it.
        let mut running = locked(&RUNNING);
        let mut child = command.spawn()?;
        let (id, pipes) = (child.id(), (child.stdin.take(), child.stdout.take(), child.stderr.take()));
        running.push(child);
        Ok((Self(id), pipes))
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        locked(&RUNNING).extract_if(.., |child| child.id() == self.0).for_each(end);
    }
}

/// From here on, a signal that ends this process ends all of its children. The exit code is then the signal's number and
/// 128, as in a shell.
pub(crate) fn end_children_on_signals() -> Result<(), BenchError> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new().name("bench-signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Locked until the end.
            let mut running = locked(&RUNNING);
            running.drain(..).for_each(end);
            std::process::exit(ENDED_BY_SIGNAL + signal);
        }
    })?;
    Ok(())
}

fn end(mut child: Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// What the generator locks is whole between any two statements, also after a panic.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
