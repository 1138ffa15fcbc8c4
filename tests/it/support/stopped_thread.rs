//! Stops one thread of a gateway, as a system call that never returns does.
#![cfg(target_os = "linux")]

use std::marker::PhantomData;

use nix::sys::ptrace::{Options, detach, interrupt, seize};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::deadline::eventually;
use super::gateway::TestGateway;
use super::process::SOON;

/// The name of the worker threads. The first ones started serve sockets, the last one serves the admin port.
pub(crate) const WORKER: &str = "actix-rt|system";
/// The name of the thread that runs the Redis link.
pub(crate) const LINK: &str = "broker-link";

/// A thread that stays stopped until this is dropped. Only the thread that stopped it may resume it, so this type is
/// not `Send`.
pub(crate) struct StoppedThread(Pid, PhantomData<*const ()>);

impl StoppedThread {
    /// Stops the gateway's first thread of this name.
    #[track_caller]
    pub(crate) fn of(gateway: &TestGateway, name: &str) -> Self {
        // Two workers and the admin port's thread. A thread gets its name shortly after it starts.
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
