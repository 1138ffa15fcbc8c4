//! A client that sends numbered messages until each is acknowledged, over any number of connections.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::support::deadline::eventually;
use crate::support::fault_proxy::hold;

/// The messages that are sent without waiting for an answer.
const WINDOW: u64 = 4;
/// Longer than the gateway takes to answer. After it, the client connects again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
const RETRY_DELAY: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(60);

/// Sends 1, 2, 3 … in windows, and repeats a window until all its numbers are acknowledged.
pub(super) struct NumberedSender {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    user: String,
    address: Mutex<SocketAddr>,
    acknowledged: AtomicU64,
    connections: AtomicU64,
    stop: AtomicBool,
}

impl NumberedSender {
    pub(super) fn start(user: &str, address: SocketAddr) -> Self {
        let state = Arc::new(State {
            user: user.to_owned(),
            address: Mutex::new(address),
            acknowledged: AtomicU64::default(),
            connections: AtomicU64::default(),
            stop: AtomicBool::default(),
        });
        let own = Arc::clone(&state);
        Self { state, thread: Some(std::thread::spawn(move || own.run())) }
    }

    /// Every number up to this one is acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.state.acknowledged.load(Ordering::SeqCst)
    }

    pub(super) fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Waits until this many more numbers are acknowledged.
    #[track_caller]
    pub(super) fn wait(&self, more: u64) {
        let until = self.acknowledged() + more;
        eventually(DEADLINE, || (self.acknowledged() >= until).then_some(()));
    }

    /// Ends the client after its current window; returns the last acknowledged number.
    pub(super) fn finish(mut self) -> u64 {
        self.state.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.acknowledged()
    }
}

impl Drop for NumberedSender {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
    }
}

impl State {
    fn run(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            // A broken connection is expected.
            let _ = self.connect_and_send();
            hold(RETRY_DELAY);
        }
    }

    fn connect_and_send(&self) -> tungstenite::Result<()> {
        let address = *self.address.lock().unwrap();
        let stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_nodelay(true)?;
        let connected = tungstenite::client(format!("ws://{address}/gateway?v=2"), stream);
        let (mut socket, _) = connected.map_err(|_| tungstenite::Error::ConnectionClosed)?;
        socket.send(Message::text(format!(r#"{{"op":1,"token":"{}"}}"#, self.user)))?;
        while read(&mut socket)?["op"] != 2 {}
        self.connections.fetch_add(1, Ordering::SeqCst);
        while !self.stop.load(Ordering::SeqCst) {
            let first = self.acknowledged.load(Ordering::SeqCst) + 1;
            let is_complete = send_window(&mut socket, first)?;
            if is_complete {
                self.acknowledged.store(first + WINDOW - 1, Ordering::SeqCst);
            } else {
                hold(RETRY_DELAY);
            }
        }
        Ok(())
    }
}

/// Sends a window. Returns whether all its numbers are acknowledged.
fn send_window(socket: &mut WebSocket<TcpStream>, first: u64) -> tungstenite::Result<bool> {
    for number in first..first + WINDOW {
        let text = format!(r#"{{"op":16,"id":"{number}","channel":"room:7","message":{number}}}"#);
        socket.send(Message::text(text))?;
    }
    let (mut answers, mut acknowledged) = (0, 0);
    while answers < WINDOW {
        let frame = read(socket)?;
        match (frame["op"].as_u64(), frame["code"].as_str()) {
            (Some(17), _) => acknowledged += 1,
            (Some(9), Some("unavailable" | "busy")) => {}
            (Some(9), _) => panic!("{frame}"),
            // Heartbeats, and states of channels.
            _ => continue,
        }
        answers += 1;
    }
    Ok(acknowledged == WINDOW)
}

fn read(socket: &mut WebSocket<TcpStream>) -> tungstenite::Result<Value> {
    loop {
        match socket.read()? {
            Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
            Message::Close(_) => return Err(tungstenite::Error::ConnectionClosed),
            _ => {}
        }
    }
}
