//! What this process knows for control, shared by its link and its handles.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, watch};

use super::super::super::control::{Applier, CommandLog, RedisClock, new_replica_name};
use super::super::super::revocations::Revocations;
use super::questions::{ANNOUNCEMENT, Questions};
use super::queued::QueuedCommand;

/// The most commands that were read and not yet applied.
const MAX_QUEUED: usize = 64;

/// The commands and the revocations of this process.
pub(in crate::broker) struct ControlState {
    pub(in crate::broker) replica: String,
    pub(in crate::broker) applier: Arc<Applier>,
    pub(in crate::broker) revocations: Revocations,
    /// When this process was started.
    pub(super) started: Instant,
    pub(super) log: Mutex<CommandLog>,
    pub(super) clock: Mutex<RedisClock>,
    pub(super) queue: mpsc::Sender<QueuedCommand>,
    pub(super) queued: AsyncMutex<mpsc::Receiver<QueuedCommand>>,
    pub(super) questions: Questions,
    /// Notified when Redis announces a command.
    announced: Notify,
    /// Whether one of these announcements was of a question.
    is_question_announced: AtomicBool,
    /// Whether this link hears announcements; `None`: not known yet.
    is_subscribed: watch::Sender<Option<bool>>,
    /// Whether this link has read all revocations, or may not read them.
    is_loaded: AtomicBool,
    failure: Mutex<Option<String>>,
    /// When the link was last known to be healthy; at first, when the process was started.
    healthy: Mutex<Instant>,
}

impl Default for ControlState {
    fn default() -> Self {
        let started = Instant::now();
        let (queue, queued) = mpsc::channel(MAX_QUEUED);
        Self {
            replica: new_replica_name(),
            applier: Arc::default(),
            revocations: Revocations::default(),
            started,
            log: Mutex::default(),
            clock: Mutex::new(RedisClock::new(started)),
            queue,
            queued: AsyncMutex::new(queued),
            questions: Questions::default(),
            announced: Notify::new(),
            is_question_announced: AtomicBool::new(false),
            is_subscribed: watch::Sender::new(None),
            is_loaded: AtomicBool::new(false),
            failure: Mutex::default(),
            healthy: Mutex::new(started),
        }
    }
}

impl ControlState {
    /// A link begins.
    pub(in super::super) fn connected(&self) {
        self.is_loaded.store(false, Ordering::Release);
        self.is_subscribed.send_replace(None);
    }

    /// Whether the link hears announcements of commands from now on. Otherwise the stream is read at intervals.
    pub(in super::super) fn set_subscribed(&self, is_subscribed: bool) {
        self.is_subscribed.send_replace(Some(is_subscribed));
    }

    /// Waits until the link has subscribed. Returns whether it hears announcements.
    pub(super) async fn subscribed(&self) -> bool {
        // The sender is in `self`, so the channel stays open.
        let answer = self.is_subscribed.subscribe().wait_for(Option::is_some).await.map(|found| *found);
        answer.ok().flatten().unwrap_or(false)
    }

    /// Redis announced a command or a question. Anybody may publish such a payload: it only makes this replica read.
    pub(in super::super) fn announce(&self, payload: &[u8]) {
        if payload == ANNOUNCEMENT {
            self.is_question_announced.store(true, Ordering::Release);
        }
        self.announced.notify_one();
    }

    /// Returns when Redis announces a command or a question; `true`: also a question.
    pub(super) async fn announced(&self) -> bool {
        self.announced.notified().await;
        self.is_question_announced.swap(false, Ordering::AcqRel)
    }

    /// Whether this link has read all revocations. Without the right to read them, no link could.
    pub(in super::super) fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    pub(super) fn set_loaded(&self) {
        self.is_loaded.store(true, Ordering::Release);
    }

    /// Why commands are not followed, if they are not. Logs a new reason.
    pub(super) fn set_failure(&self, failure: Option<String>) {
        let mut known = self.failure.lock();
        if *known == failure {
            return;
        }
        match &failure {
            Some(reason) => log::warn!("redis: {}", not_followed(reason)),
            None => log::info!("redis: commands are followed"),
        }
        *known = failure;
    }

    /// The note for the operator.
    pub(in super::super) fn note(&self) -> Option<String> {
        self.failure.lock().as_deref().map(not_followed)
    }

    /// The link is healthy.
    pub(in super::super) fn note_healthy(&self) {
        *self.healthy.lock() = Instant::now();
    }

    /// The time since the link was last known to be healthy.
    pub(in super::super) fn since_healthy(&self) -> Duration {
        self.healthy.lock().elapsed()
    }
}

fn not_followed(reason: &str) -> String {
    format!("control: commands and revocations do not reach this replica: {reason}")
}
