//! The processes that the load generator starts: a gateway, a baseline, a Redis. They end with it, also when a signal ends
//! it, which runs no destructor.

use std::io;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

use crate::BenchError;

/// All that run. A signal is sent to the whole process, so one list holds all of its children.
static RUNNING: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());
/// What a shell adds to the number of the signal that ended a command.
const ENDED_BY_SIGNAL: i32 = 128;

/// A process of ours. Ended when dropped.
pub(crate) struct OwnProcess(Arc<Mutex<Child>>);

impl OwnProcess {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        // Locked all the while: a signal finds every process that has been started, and none is started after it.
        let mut running = locked(&RUNNING);
        let child = Arc::new(Mutex::new(command.spawn()?));
        running.push(Arc::clone(&child));
        Ok(Self(child))
    }

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

/// From here on, a signal that ends this process ends all of its children. The exit code is then the signal's number and
/// 128, as in a shell.
pub(crate) fn end_with_signals() -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let [terminate, interrupt, hangup] = {
        let _entered = runtime.enter();
        kinds.map(signal)
    };
    let (mut terminate, mut interrupt, mut hangup) = (terminate?, interrupt?, hangup?);
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

/// What the generator locks is whole between any two statements, also after a panic.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
