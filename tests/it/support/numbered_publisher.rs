//! A backend that publishes numbered messages durably and records the acknowledged ones.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redis::{Connection, ErrorKind, RedisResult, Value, cmd};

use super::http;
use super::process::SOON;

/// Longer than any healthy answer takes. After it the publisher retries over a new connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Publishes 1, 2, 3 … to each of its channels, one channel after the other, until it is paused. It repeats a number
/// under the same idempotency key until the number is acknowledged.
pub(crate) struct NumberedPublisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Options of a publisher.
#[derive(Clone)]
pub(crate) struct Publishing {
    /// The URL of Redis.
    pub(crate) url: String,
    /// The admin port of the gateway to publish through; `None` publishes over Redis.
    pub(crate) over_http: Option<SocketAddr>,
    /// The channels.
    pub(crate) channels: Vec<String>,
    /// The pause between two numbers.
    pub(crate) pace: Duration,
    /// The number of Redis replicas that must have a number before it counts as acknowledged.
    pub(crate) copies: u32,
    /// Whether one call publishes to all channels.
    pub(crate) together: bool,
    /// The size of the padding in each message, in bytes.
    pub(crate) padding: usize,
}

#[derive(Default)]
struct Progress {
    acknowledged: HashMap<String, Vec<u64>>,
    number: u64,
    mode: Mode,
    is_idle: bool,
    /// The number of retries after a missing acknowledgement.
    repeats: u64,
    last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Publish,
    Pause,
    Stop,
}

struct Shared {
    publishing: Mutex<Publishing>,
    progress: Mutex<Progress>,
    changed: Condvar,
}

impl NumberedPublisher {
    /// Starts publishing at once.
    pub(crate) fn start(publishing: Publishing) -> Self {
        let shared = Arc::new(Shared {
            publishing: Mutex::new(publishing),
            progress: Mutex::default(),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || own.publish());
        Self { shared, thread: Some(thread) }
    }

    /// The highest number acknowledged on every channel.
    pub(crate) fn count(&self) -> u64 {
        self.shared.progress.lock().unwrap().number
    }

    /// The number of retries after a missing acknowledgement.
    pub(crate) fn repeats(&self) -> u64 {
        self.shared.progress.lock().unwrap().repeats
    }

    /// Waits until `more` further numbers are acknowledged on every channel.
    #[track_caller]
    pub(crate) fn wait_more(&self, more: u64) {
        let aim = self.count() + more;
        self.wait(|progress| progress.number >= aim);
    }

    /// Stops publishing and waits until no publication is pending.
    #[track_caller]
    pub(crate) fn pause(&self) {
        self.set_mode(Mode::Pause);
        self.wait(|progress| progress.is_idle);
    }

    /// Continues publishing.
    pub(crate) fn resume(&self) {
        self.set_mode(Mode::Publish);
    }

    /// Changes the options from the next attempt on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Publishing)) {
        change(&mut self.shared.publishing.lock().unwrap());
    }

    /// The numbers acknowledged on a channel, in order.
    pub(crate) fn acknowledged(&self, channel: &str) -> Vec<u64> {
        self.shared.progress.lock().unwrap().acknowledged.get(channel).cloned().unwrap_or_default()
    }

    fn set_mode(&self, mode: Mode) {
        let mut progress = self.shared.progress.lock().unwrap();
        progress.mode = mode;
        if mode == Mode::Publish {
            progress.is_idle = false;
        }
        self.shared.changed.notify_all();
    }

    #[track_caller]
    fn wait(&self, done: impl Fn(&Progress) -> bool) {
        let progress = self.shared.progress.lock().unwrap();
        let (progress, timed_out) =
            self.shared.changed.wait_timeout_while(progress, SOON, |progress| !done(progress)).unwrap();
        assert!(
            !timed_out.timed_out(),
            "the publisher has been at number {} for {SOON:?}; its last error: {:?}",
            progress.number,
            progress.last_error
        );
    }
}

impl Drop for NumberedPublisher {
    fn drop(&mut self) {
        self.set_mode(Mode::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn publish(&self) {
        let mut connection = None;
        for number in 1.. {
            let Publishing { channels, together, pace, .. } = self.publishing.lock().unwrap().clone();
            let calls: Vec<&[String]> = if together { vec![&channels] } else { channels.chunks(1).collect() };
            for call in calls {
                while let Err(error) = self.attempt(&mut connection, call, number) {
                    let mut progress = self.progress.lock().unwrap();
                    if progress.mode == Mode::Stop {
                        return;
                    }
                    progress.last_error = Some(error);
                    progress.repeats += 1;
                    drop(progress);
                    connection = None;
                    pause(RETRY_DELAY);
                }
                let mut progress = self.progress.lock().unwrap();
                for channel in call {
                    progress.acknowledged.entry(channel.clone()).or_default().push(number);
                }
            }
            let mut progress = self.progress.lock().unwrap();
            progress.number = number;
            progress.last_error = None;
            if self.wait_while_paused(progress) == Mode::Stop {
                return;
            }
            pause(pace);
        }
    }

    /// Waits between two numbers while the publisher is paused.
    fn wait_while_paused(&self, mut progress: MutexGuard<'_, Progress>) -> Mode {
        loop {
            // Set again after each change: the test may have resumed and paused while this thread did not run.
            progress.is_idle = progress.mode == Mode::Pause;
            self.changed.notify_all();
            if !progress.is_idle {
                return progress.mode;
            }
            progress = self.changed.wait(progress).unwrap();
        }
    }

    fn attempt(
        &self,
        connection: &mut Option<(String, Connection)>,
        channels: &[String],
        number: u64,
    ) -> Result<(), String> {
        let publishing = self.publishing.lock().unwrap().clone();
        let message = format!(r#"{{"n":{number},"padding":"{}"}}"#, "x".repeat(publishing.padding));
        let key = format!("number-{number}");
        match publishing.over_http {
            Some(admin) => over_http(admin, &channels[0], &message, &key),
            None => over_redis(connection, &publishing, channels, &message, &key)
                .map_err(|error| error.to_string()),
        }
    }
}

fn over_redis(
    connection: &mut Option<(String, Connection)>,
    publishing: &Publishing,
    channels: &[String],
    message: &str,
    key: &str,
) -> RedisResult<()> {
    if connection.as_ref().is_none_or(|(url, _)| *url != publishing.url) {
        *connection = Some((publishing.url.clone(), connect(&publishing.url)?));
    }
    let (_, connection) = connection.as_mut().expect("the connection was set above");
    let channels: Vec<String> = channels.iter().map(|channel| format!("gateway:{channel}")).collect();
    let mut call = cmd("FCALL");
    call.arg("gateway_publish").arg(channels.len()).arg(&channels).arg(message).arg(key);
    call.query::<Value>(connection)?;
    if publishing.copies > 0 {
        let timeout_ms = ANSWER_TIMEOUT.as_millis() / 2;
        let copies: u32 = cmd("WAIT").arg(publishing.copies).arg(timeout_ms).query(connection)?;
        if copies < publishing.copies {
            return Err((ErrorKind::Io, "too few copies").into());
        }
    }
    Ok(())
}

fn over_http(admin: SocketAddr, channel: &str, message: &str, key: &str) -> Result<(), String> {
    let body =
        format!(r#"{{"channel":"{channel}","message":{message},"durable":true,"idempotency_key":"{key}"}}"#);
    let answer = http::request(admin, "POST /v1/publish HTTP/1.1\nconnection: close", &body);
    if answer.status == 200 { Ok(()) } else { Err(answer.body) }
}

#[allow(clippy::disallowed_methods, reason = "a test's own connection may block")]
fn connect(url: &str) -> RedisResult<Connection> {
    let connection = redis::Client::open(url)?.get_connection_with_timeout(ANSWER_TIMEOUT)?;
    connection.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    connection.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(connection)
}

#[allow(clippy::disallowed_methods, reason = "a test's thread has no sockets to serve")]
fn pause(time: Duration) {
    thread::sleep(time);
}
