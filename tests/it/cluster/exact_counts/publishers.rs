//! The backends: they publish 1, 2, 3 … to each channel, over the cluster or over HTTP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::run::Layout;
use crate::support::cluster::{AGREEMENT_TIMEOUT, ClusterClient};
use crate::support::fault_proxy::hold;
use crate::support::http;

const RETRY_DELAY: Duration = Duration::from_millis(20);
/// The size of the padding in each message, in bytes.
const PADDING: usize = 64;

/// A number that was acknowledged to its backend.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acknowledged {
    pub(super) number: u64,
    /// The time before it was sent.
    pub(super) sent: Instant,
}

/// How a backend publishes.
pub(super) enum Transport {
    /// `gateway_publish` at the owner of the channel's slot; repeated until it is acknowledged and replicated.
    Durable(ClusterClient),
    /// `POST /v1/publish` at the gateways in turn; repeated until it is acknowledged.
    Http(Vec<SocketAddr>),
    /// PUBLISH or SPUBLISH, once.
    Plain(ClusterClient),
}

/// A backend on its own thread, with channels of its own.
pub(super) struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    layout: Layout,
    channels: Vec<String>,
    pace: Duration,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    acknowledged: HashMap<String, Vec<Acknowledged>>,
    /// The highest number sent to every channel.
    number: u64,
    /// The number of Redis replicas that must have a message.
    copies: u32,
    is_paused: bool,
    is_idle: bool,
    is_stopped: bool,
    repeats: u64,
    last_error: Option<String>,
}

impl Publisher {
    /// Starts publishing at once, one number every `pace` to each channel.
    pub(super) fn start(layout: Layout, transport: Transport, channels: Vec<String>, pace: Duration) -> Self {
        let progress = Mutex::new(Progress { copies: 1, ..Progress::default() });
        let shared = Arc::new(Shared { layout, channels, pace, progress, changed: Condvar::new() });
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || own.run(transport));
        Self { shared, thread: Some(thread) }
    }

    /// The channels.
    pub(super) fn channels(&self) -> &[String] {
        &self.shared.channels
    }

    /// The numbers acknowledged on a channel, in order.
    pub(super) fn acknowledged(&self, channel: &str) -> Vec<Acknowledged> {
        self.shared.progress.lock().unwrap().acknowledged.get(channel).cloned().unwrap_or_default()
    }

    /// The number of retries after a missing acknowledgement, or of failed plain publications.
    pub(super) fn repeats(&self) -> u64 {
        self.shared.progress.lock().unwrap().repeats
    }

    /// Sets the number of Redis replicas that must have a message.
    pub(super) fn set_copies(&self, copies: u32) {
        self.shared.progress.lock().unwrap().copies = copies;
    }

    /// The highest number sent to every channel.
    pub(super) fn sent(&self) -> u64 {
        self.shared.progress.lock().unwrap().number
    }

    /// Waits until this number is sent to every channel.
    #[track_caller]
    pub(super) fn wait_sent(&self, number: u64) {
        self.wait(|progress| progress.number >= number);
    }

    /// Stops publishing and waits until no publication is pending.
    #[track_caller]
    pub(super) fn pause(&self) {
        self.shared.progress.lock().unwrap().is_paused = true;
        self.wait(|progress| progress.is_idle);
    }

    /// Continues publishing.
    pub(super) fn resume(&self) {
        let mut progress = self.shared.progress.lock().unwrap();
        (progress.is_paused, progress.is_idle) = (false, false);
        self.shared.changed.notify_all();
    }

    #[track_caller]
    fn wait(&self, done: impl Fn(&Progress) -> bool) {
        let progress = self.shared.progress.lock().unwrap();
        let (progress, waited) = self
            .shared
            .changed
            .wait_timeout_while(progress, AGREEMENT_TIMEOUT, |progress| !done(progress))
            .unwrap();
        let (number, last_error) = (progress.number, progress.last_error.clone());
        // A panic with the lock would poison it for the publisher's thread.
        drop(progress);
        let channels = &self.shared.channels;
        assert!(
            !waited.timed_out(),
            "the publisher on {channels:?} is still at number {number}; its last error: {last_error:?}"
        );
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.progress.lock().unwrap().is_stopped = true;
        self.resume();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, mut transport: Transport) {
        let mut due = Instant::now();
        for number in 1.. {
            for channel in &self.channels {
                self.publish(&mut transport, channel, number);
                if self.progress.lock().unwrap().is_stopped {
                    return;
                }
            }
            let mut progress = self.progress.lock().unwrap();
            progress.number = number;
            if self.wait_while_paused(progress) {
                return;
            }
            // A backend that could not publish for a while does not publish faster afterwards.
            due = (due + self.pace).max(Instant::now());
            hold(due - Instant::now());
        }
    }

    /// Publishes one number. Repeats a durable one until it is acknowledged.
    fn publish(&self, transport: &mut Transport, channel: &str, number: u64) {
        loop {
            let copies = self.progress.lock().unwrap().copies;
            let sent = Instant::now();
            let result = transport.attempt(self.layout, channel, number, copies);
            let mut progress = self.progress.lock().unwrap();
            let Err(error) = result else {
                let acknowledged = progress.acknowledged.entry(channel.to_owned()).or_default();
                return acknowledged.push(Acknowledged { number, sent });
            };
            progress.last_error = Some(error);
            progress.repeats += 1;
            if matches!(transport, Transport::Plain(_)) || progress.is_stopped {
                return;
            }
            drop(progress);
            hold(RETRY_DELAY);
        }
    }

    /// Waits between two numbers while the publisher is paused. Returns whether it shall end.
    fn wait_while_paused(&self, mut progress: MutexGuard<'_, Progress>) -> bool {
        loop {
            progress.is_idle = progress.is_paused;
            self.changed.notify_all();
            if !progress.is_idle || progress.is_stopped {
                return progress.is_stopped;
            }
            progress = self.changed.wait(progress).unwrap();
        }
    }
}

impl Transport {
    fn attempt(&mut self, layout: Layout, channel: &str, number: u64, copies: u32) -> Result<(), String> {
        let message = format!(r#"{{"n":{number},"padding":"{}"}}"#, "x".repeat(PADDING));
        let idempotency_key = format!("number-{number}");
        let key = layout.key(channel);
        let result = match (self, layout) {
            (Self::Durable(client), _) => client.publish_durably(&key, &message, &idempotency_key, copies),
            (Self::Plain(client), Layout::OneSlot) => client.publish(&key, &message).map(drop),
            (Self::Plain(client), Layout::Slots) => client.spublish(&key, &message).map(drop),
            (Self::Http(gateways), _) => {
                gateways.rotate_left(1);
                return over_http(gateways[0], channel, &message, &idempotency_key);
            }
        };
        result.map_err(|error| error.to_string())
    }
}

fn over_http(admin: SocketAddr, channel: &str, message: &str, key: &str) -> Result<(), String> {
    let body =
        format!(r#"{{"channel":"{channel}","message":{message},"durable":true,"idempotency_key":"{key}"}}"#);
    let answer = http::request(admin, "POST /v1/publish HTTP/1.1\nconnection: close", &body);
    if answer.status == 200 { Ok(()) } else { Err(answer.body) }
}
