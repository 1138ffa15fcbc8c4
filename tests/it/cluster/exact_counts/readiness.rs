//! What `/readyz` of a gateway said at each moment.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::fault_proxy::hold;
use crate::support::http;

/// Half of the accuracy that the verdict assumes.
const INTERVAL: Duration = Duration::from_millis(50);

/// Asks a gateway all the time, on its own thread.
pub(super) struct ReadinessWatch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    admin: SocketAddr,
    /// Each change of the answer, with the time after the question.
    changes: Mutex<Vec<(Instant, bool, String)>>,
    stop: AtomicBool,
}

impl ReadinessWatch {
    pub(super) fn start(admin: SocketAddr) -> Self {
        let shared = Arc::new(Shared { admin, changes: Mutex::default(), stop: AtomicBool::new(false) });
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || own.run());
        Self { shared, thread: Some(thread) }
    }

    /// Whether the gateway said that it is not ready, at some moment between these times.
    pub(super) fn was_unready(&self, from: Instant, to: Instant) -> bool {
        let changes = self.shared.changes.lock().unwrap();
        let before = changes.iter().rev().find(|(at, ..)| *at <= from);
        let within = changes.iter().filter(|(at, ..)| *at > from && *at <= to);
        before.into_iter().chain(within).any(|(_, is_ready, _)| !is_ready)
    }

    /// Since when the gateway had said at this time that it is ready; `at` itself if it had not.
    pub(super) fn ready_since(&self, at: Instant) -> Instant {
        let changes = self.shared.changes.lock().unwrap();
        let last = changes.iter().rev().find(|(changed, ..)| *changed <= at);
        last.filter(|(_, is_ready, _)| *is_ready).map_or(at, |(changed, ..)| *changed)
    }

    /// All changes since `start`, for the message of a failure.
    pub(super) fn describe(&self, start: Instant) -> String {
        let changes = self.shared.changes.lock().unwrap();
        let line = |(at, ready, body): &(Instant, bool, String)| {
            format!("    {:?} ready={ready} {body}\n", at.saturating_duration_since(start))
        };
        changes.iter().map(line).collect()
    }
}

impl Shared {
    fn run(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            let answer = http::request(self.admin, "GET /readyz HTTP/1.1\nconnection: close", "");
            let (at, is_ready) = (Instant::now(), answer.status == 200);
            let mut changes = self.changes.lock().unwrap();
            if changes.last().is_none_or(|(_, last, _)| *last != is_ready) {
                changes.push((at, is_ready, answer.body));
            }
            drop(changes);
            hold(INTERVAL);
        }
    }
}

impl Drop for ReadinessWatch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
