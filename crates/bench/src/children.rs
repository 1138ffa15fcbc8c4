//! The processes that the load generator starts: a gateway, a floor, a Redis. They end with it, also when it is told to
//! end by a signal, which runs no destructor.

use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

use crate::BenchError;

/// All that run. A signal comes to the process as a whole, so this is the whole process' list.
static RUNNING: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());
/// What a shell adds to the number of the signal that ended a command.
const ENDED_BY_SIGNAL: i32 = 128;

/// A process of ours. Ended when dropped.
pub(crate) struct OwnProcess(Arc<Mutex<Child>>);

impl OwnProcess {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> std::io::Result<Self> {
        // Held all the while: a signal finds every process that has been started, and none is started after it.
        let mut running = locked(&RUNNING);
        let child = Arc::new(Mutex::new(command.spawn()?));
        running.push(Arc::clone(&child));
        Ok(Self(child))
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        locked(&self.0).id()
    }

    /// Takes one of its standard streams.
    pub(crate) fn take<T>(&self, stream: impl FnOnce(&mut Child) -> Option<T>) -> Option<T> {
        stream(&mut locked(&self.0))
    }
}

impl Drop for OwnProcess {
    fn drop(&mut self) {
        locked(&RUNNING).retain(|child| !Arc::ptr_eq(child, &self.0));
        end(&self.0);
    }
}

/// From here on a signal to end takes all of them along. Its number and 128 are the exit code then, as a shell has it.
pub(crate) fn end_with_signals() -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let signals = || -> std::io::Result<_> {
        let _entered = runtime.enter();
        let [terminate, interrupt, hangup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok((terminate?, interrupt?, hangup?))
    };
    let (mut terminate, mut interrupt, mut hangup) = signals()?;
    std::thread::Builder::new().name("bench-signals".to_owned()).spawn(move || {
        let kind = runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = hangup.recv() => SignalKind::hangup(),
            }
        });
        let running = locked(&RUNNING);
        running.iter().for_each(end);
        std::process::exit(ENDED_BY_SIGNAL + kind.as_raw_value());
    })?;
    Ok(())
}

fn end(child: &Arc<Mutex<Child>>) {
    let mut child = locked(child);
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// What is locked here is whole between any two statements.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
