//! Passes commands to the handler of this process.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use parking_lot::RwLock;
use tokio::time::timeout;

use super::{ControlAnswer, ControlCommand, ControlHandler};

/// The handler of this process, once it is set.
#[derive(Default)]
pub(in crate::broker) struct Applier(RwLock<Option<Arc<dyn ControlHandler>>>);

impl Applier {
    pub(in crate::broker) fn set(&self, handler: Arc<dyn ControlHandler>) {
        *self.0.write() = Some(handler);
    }

    /// Has the handler apply a command. Without a handler there are no sessions. `None`: the handler panicked.
    pub(in crate::broker) async fn apply(
        &self,
        command: ControlCommand,
        issued: Instant,
    ) -> Option<ControlAnswer> {
        let handler = self.0.read().clone();
        let Some(handler) = handler else { return Some(ControlAnswer::default()) };
        let applied = AssertUnwindSafe(async { handler.apply(command, issued).await }).catch_unwind().await;
        if applied.is_err() {
            log::error!("control: a command was not applied, because its handler panicked");
        }
        applied.ok()
    }

    /// Has the handler apply a command now, before those that wait. `None`: it panicked, or has not answered within
    /// `limit`.
    pub(in crate::broker) async fn apply_now(
        self: &Arc<Self>,
        command: ControlCommand,
        limit: Duration,
    ) -> Option<ControlAnswer> {
        let (applier, issued) = (Arc::clone(self), Instant::now());
        // A task of its own, because a handler must not be interrupted.
        let applied = tokio::spawn(async move { applier.apply(command, issued).await });
        timeout(limit, applied).await.ok()?.ok()?
    }
}
