//! Runs the links: on a thread of their own, or on the thread of the only hub.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};

use super::link_error::LinkError;
use super::links::RedisLinks;
use super::{control, link, shards};
use crate::backoff::Backoff;

/// The thread that runs the links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkThread {
    /// A thread of their own, so that a busy worker never delays them.
    Own,
    /// The thread that attaches the first hub, inside its `LocalSet`. For a process with one hub: no message crosses
    /// threads there.
    FirstHub,
}

/// Starts the links; called once.
type StartLinks = Box<dyn FnOnce() + Send>;

/// Links that wait for the first hub; none if they have been started.
pub(super) struct PendingLinks(Mutex<Option<StartLinks>>);

impl PendingLinks {
    /// A hub is attached on this thread. Starts the links if they wait for it.
    pub(super) fn hub_attached(&self) {
        let start = self.0.lock().take();
        if let Some(start) = start {
            start();
        }
    }
}

/// Starts the links, or prepares them for the first hub. `address` names Redis in messages while no endpoint is known.
pub(super) fn start(
    links: Arc<RedisLinks>,
    backoff: Backoff,
    address: String,
    thread: LinkThread,
) -> io::Result<PendingLinks> {
    if thread == LinkThread::FirstHub {
        let start: StartLinks = Box::new(move || drop(spawn_local(run(links, backoff, address))));
        return Ok(PendingLinks(Mutex::new(Some(start))));
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("broker-link".into()).spawn(move || {
        // A task, because the future of `block_on` is polled whenever any task is woken. It ends, or its panic is logged.
        let _ = LocalSet::new().block_on(&runtime, async { spawn_local(run(links, backoff, address)).await });
        // A pending name resolution must not delay the end of the thread.
        runtime.shutdown_background();
    })?;
    Ok(PendingLinks(Mutex::new(None)))
}

/// Serves until the broker is stopped.
async fn run(links: Arc<RedisLinks>, backoff: Backoff, address: String) {
    let serve = async {
        tokio::select! {
            () = run_links(&links, backoff, &address) => {}
            never = links.process.thread_check.run() => match never {},
            never = control::apply(&links) => match never {},
        }
    };
    if AssertUnwindSafe(serve).catch_unwind().await.is_err() {
        // The link does not connect again after this panic, so the broker never becomes ready.
        log::error!("redis at {address}: the link's thread panicked; restart this process");
        links.disconnected(&LinkError::Panicked);
    }
}

/// Keeps the links up until the broker is stopped.
async fn run_links(links: &RedisLinks, backoff: Backoff, address: &str) {
    let only = links.routes().only().cloned();
    match only {
        Some(link) => link::run(link, backoff, address).await,
        None => shards::run(links, backoff, address).await,
    }
}
