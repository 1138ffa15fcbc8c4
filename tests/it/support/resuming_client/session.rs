//! One session of a resuming client, from the connection to its end.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Error, Message, WebSocket};

use super::super::fault_proxy::hold;
use super::super::verdict::Heard;
use super::{Record, Shared};

/// A server that is silent for this long is considered dead: four heartbeats of the tests' gateways.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(2);
/// The read timeout, after which the client checks its flags.
const TICK: Duration = Duration::from_millis(10);

/// The fields of the gateway's frames that the client uses.
#[derive(Debug, Deserialize)]
struct Frame {
    op: u64,
    channel: Option<String>,
    position: Option<String>,
    recovered: Option<bool>,
    reason: Option<String>,
    state: Option<String>,
    message: Option<Value>,
    channels: Option<Vec<ChannelStatus>>,
    time: Option<u64>,
    after: Option<u64>,
}

/// The status of one channel in Ready.
#[derive(Debug, Deserialize)]
struct ChannelStatus {
    channel: String,
    position: Option<String>,
    recovered: Option<bool>,
    state: Option<String>,
}

const RECOVERING: &str = "recovering";

/// Connects, identifies and follows the channels until the session ends.
pub(super) fn run(client: &Shared) {
    client.cut.store(false, Ordering::SeqCst);
    let Some(socket) = connect(client) else { return };
    let number = client.sessions.fetch_add(1, Ordering::SeqCst) + 1;
    let mut session = Session { client, socket, number };
    session.identify();
    session.follow();
    client.trace("the session has ended");
}

fn connect(client: &Shared) -> Option<WebSocket<TcpStream>> {
    let stream = TcpStream::connect_timeout(&client.address, SILENCE_TIMEOUT).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(SILENCE_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(SILENCE_TIMEOUT)).ok()?;
    let url = format!("ws://{}/gateway?v=2", client.address);
    let (socket, _) = tungstenite::client(url, stream).ok()?;
    socket.get_ref().set_read_timeout(Some(TICK)).ok()?;
    Some(socket)
}

struct Session<'a> {
    client: &'a Shared,
    socket: WebSocket<TcpStream>,
    number: usize,
}

impl<'a> Session<'a> {
    fn identify(&mut self) {
        self.client.records.lock().unwrap().values_mut().for_each(|record| record.is_recovering = false);
        let options = &self.client.options;
        let own = format!("user:{}", options.user);
        let asked = options.channels.iter().filter(|channel| !options.subscribes_late || **channel == own);
        let channels: Vec<Value> = asked.map(|channel| self.channel_request(channel)).collect();
        self.send(&json!({ "op": 1, "token": options.user, "channels": channels }));
    }

    /// Builds the channel's part of op 1 and op 4.
    fn channel_request(&self, channel: &str) -> Value {
        match &self.client.records.lock().unwrap()[channel].position {
            Some(position) => json!({ "channel": channel, "since": position }),
            None => json!({ "channel": channel }),
        }
    }

    /// Sends a frame. The next read reports an error.
    fn send(&mut self, frame: &Value) {
        if frame["op"] != 11 {
            self.client.trace(&format!("sent {frame}"));
        }
        let _ = self.socket.send(Message::text(frame.to_string()));
    }

    fn follow(&mut self) {
        let mut last_frame = Instant::now();
        while !self.client.stop.load(Ordering::SeqCst) && !self.client.cut.load(Ordering::SeqCst) {
            if self.client.sleeps.load(Ordering::SeqCst) {
                hold(TICK);
                last_frame = Instant::now();
                continue;
            }
            if self.client.rejoins.load(Ordering::SeqCst) {
                self.unsubscribe_others();
                self.client.rejoins.store(false, Ordering::SeqCst);
            }
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    last_frame = Instant::now();
                    self.client.trace(&text);
                    self.handle(&text);
                }
                Ok(Message::Close(close)) => return self.closed(close.map(|close| close.code.into())),
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if last_frame.elapsed() > SILENCE_TIMEOUT {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    fn closed(&mut self, code: Option<u16>) {
        self.client.trace(&format!("closed with {code:?}"));
        // Sends the answering Close.
        let _ = self.socket.flush();
        if let Some(4001 | 4003 | 4005 | 4006 | 4010) = code {
            self.client.record_violation(format!("closed with {code:?}"));
        }
    }

    fn handle(&mut self, text: &str) {
        let Ok(frame) = serde_json::from_str::<Frame>(text) else {
            return self.client.record_violation(format!("unreadable frame: {text}"));
        };
        match frame {
            Frame { op: 0 | 11, .. } => {}
            Frame { op: 2, channels: Some(channels), .. } => self.ready(channels),
            Frame { op: 3, channel: Some(channel), message: Some(message), position, .. } => {
                self.message(&channel, &message, position);
            }
            Frame { op: 6, channel: Some(channel), position: Some(position), recovered, state, .. }
                if state.as_deref() == Some("subscribed") =>
            {
                self.confirmed(&channel, position, recovered);
            }
            Frame { op: 6, channel: Some(channel), position, state, .. }
                if state.as_deref() == Some(RECOVERING) =>
            {
                self.recovering(&channel, position.as_deref());
            }
            Frame { op: 6, channel: Some(channel), state, .. }
                if state.as_deref() == Some("unsubscribed") =>
            {
                self.subscribe(&channel);
            }
            Frame { op: 7, after: Some(_), .. } => {
                // An SDK would wait for this time. The tests reconnect at once to save time.
            }
            Frame { op: 8, channel: Some(channel), reason: Some(reason), .. } => {
                self.update(&channel, |record| {
                    record.heard.push(Heard::Gap);
                    record.gap_reasons.push(reason);
                });
            }
            Frame { op: 10, time, .. } => self.send(&json!({ "op": 11, "time": time })),
            _ => self.client.record_violation(format!("unexpected frame: {text}")),
        }
    }

    fn ready(&mut self, channels: Vec<ChannelStatus>) {
        for ChannelStatus { channel, position, recovered, state } in channels {
            match (state.as_deref(), position) {
                (Some(RECOVERING), position) => self.recovering(&channel, position.as_deref()),
                (None, Some(position)) => self.confirmed(&channel, position, recovered),
                other => self.client.record_violation(format!("Ready reports {channel} as {other:?}")),
            }
        }
        if self.client.options.subscribes_late {
            self.others().for_each(|channel| self.subscribe(channel));
        }
    }

    /// The channels other than the user's own.
    fn others(&self) -> impl Iterator<Item = &'a String> + use<'a> {
        let options = &self.client.options;
        let own = format!("user:{}", options.user);
        options.channels.iter().filter(move |channel| **channel != own)
    }

    fn subscribe(&mut self, channel: &str) {
        let Value::Object(mut request) = self.channel_request(channel) else { return };
        request.insert("op".to_owned(), 4.into());
        self.send(&Value::Object(request));
    }

    fn unsubscribe_others(&mut self) {
        for channel in self.others() {
            self.update(channel, |record| record.session = 0);
            self.send(&json!({ "op": 5, "channel": channel }));
        }
    }

    /// Handles `recovering`: the history cannot be read yet. The position is kept, and another op 6 follows.
    fn recovering(&mut self, channel: &str, position: Option<&str>) {
        let mut expected = None;
        self.update(channel, |record| {
            record.is_recovering = true;
            record.recovering_count += 1;
            expected = Some(record.position.clone());
        });
        if expected.as_ref().is_some_and(|expected| expected.as_deref() != position) {
            let violation = format!("{channel} recovers from {position:?}, not from {expected:?}");
            self.client.record_violation(violation);
        }
    }

    /// Handles a confirmation: all messages after the position follow.
    fn confirmed(&mut self, channel: &str, position: String, recovered: Option<bool>) {
        let session = self.number;
        self.update(channel, |record| {
            if record.position.is_some() && recovered != Some(true) {
                record.heard.push(Heard::NotRecovered);
            }
            record.position = Some(position);
            record.session = session;
            record.is_recovering = false;
        });
    }

    fn message(&mut self, channel: &str, message: &Value, position: Option<String>) {
        let is_plain = self.client.options.plain.iter().any(|plain| plain == channel);
        let Some(number) = message["n"].as_u64().filter(|_| position.is_none() == is_plain) else {
            return self.client.record_violation(format!(
                "a message on {channel} is not numbered, or has a position where it should not: {message}"
            ));
        };
        let mut is_early = false;
        self.update(channel, |record| {
            is_early = record.is_recovering && !is_plain;
            record.heard.push(Heard::Number(number));
            record.position = position.or_else(|| record.position.take());
        });
        if is_early {
            self.client.record_violation(format!("{number} arrived on {channel} while it was recovering"));
        }
    }

    /// Updates the record of a channel; ignores channels that the client does not follow.
    fn update(&self, channel: &str, note: impl FnOnce(&mut Record)) {
        if let Some(record) = self.client.records.lock().unwrap().get_mut(channel) {
            note(record);
        }
    }
}
