//! Stops a thread of a gateway, as a system call that never returns would.
#![cfg(target_os = "linux")]

use std::marker::PhantomData;

use nix::sys::ptrace::{Options, detach, interrupt, seize};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::deadline::eventually;
use super::gateway::TestGateway;
use super::process::SOON;

/// The threads that serve have this name; the first ones that were started serve sockets, the last one the admin port.
pub(crate) const WORKER: &str = "actix-rt|system";
/// The thread of the link to Redis.
pub(crate) const LINK: &str = "broker-link";

/// Stopped until this is dropped. The kernel lets only the thread that stopped it resume it.
pub(crate) struct StoppedThread(Pid, PhantomData<*const ()>);

impl StoppedThread {
    /// Stops the gateway's first thread of this name.
    #[track_caller]
    pub(crate) fn of(gateway: &TestGateway, name: &str) -> Self {
        // Two workers and the admin port's. A thread has its name a moment after it was started.
        let count = if name == WORKER { 3 } else { 1 };
        let id = eventually(SOON, || {
            let threads = gateway.threads(name);
            threads.iter().min().copied().filter(|_| threads.len() >= count)
        });
        let thread = Pid::from_raw(id);
        seize(thread, Options::empty()).unwrap();
        interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Self(thread, PhantomData)
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        let _ = detach(self.0, None);
    }
}
