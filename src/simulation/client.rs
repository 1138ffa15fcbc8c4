//! A correct client of protocol version 2, and its session.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::rc::Rc;

use bytes::Bytes;
use serde::Deserialize;

use super::checker::Checker;
use super::inbox::{ClientSends, SessionSends};
use crate::hub::messages::SessionEvent;
use crate::hub::registry::FrameSink;
use protocol::SessionId;
use protocol::conversation::Conversation;
use protocol::position::Position;

/// One client. Channels are indexes of `NAMES`.
pub(super) struct SimulatedClient {
    pub(super) checkers: Vec<Checker>,
    /// Whether the client wants to be subscribed, by channel.
    pub(super) wants: Vec<bool>,
    /// Whether an unsubscription is unconfirmed, by channel.
    pub(super) is_leaving: Vec<bool>,
    /// Whether a subscription was refused and is retried later, by channel.
    pub(super) is_refused: Vec<bool>,
    pub(super) sends: ClientSends,
    pub(super) session: Option<SimulatedSession>,
    /// How many of the last messages the client asks for with each subscription; 0: it does not ask.
    pub(super) last: u32,
}

/// One socket, with both ends of the session.
pub(super) struct SimulatedSession {
    pub(super) name: SessionId,
    pub(super) replica: usize,
    pub(super) hub: usize,
    pub(super) conversation: Conversation,
    pub(super) sends: SessionSends,
    pub(super) socket: Socket,
    /// Messages from the client to the session.
    pub(super) inbound: VecDeque<String>,
    /// Events from the hub to the session.
    pub(super) mailbox: VecDeque<SessionEvent>,
}

/// The queue of frames from a session to its client. Cloning shares it.
#[derive(Clone)]
pub(super) struct Socket(Rc<SocketQueue>);

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Socket")
    }
}

struct SocketQueue {
    frames: RefCell<VecDeque<SentFrame>>,
    published: Rc<Cell<u64>>,
    is_closed: Cell<bool>,
}

/// A queued frame.
pub(super) struct SentFrame {
    pub(super) frame: Bytes,
    /// The number of publications when the frame was sent.
    pub(super) published: u64,
}

impl Socket {
    pub(super) fn new(published: Rc<Cell<u64>>) -> Self {
        let (frames, is_closed) = (RefCell::default(), Cell::new(false));
        Self(Rc::new(SocketQueue { frames, published, is_closed }))
    }

    pub(super) fn next(&self) -> Option<SentFrame> {
        self.0.frames.borrow_mut().pop_front()
    }

    pub(super) fn has_frames(&self) -> bool {
        !self.0.frames.borrow().is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed.get()
    }

    pub(super) fn close(&self) {
        self.0.is_closed.set(true);
    }
}

impl FrameSink for Socket {
    fn send(&self, frame: Bytes) -> bool {
        // No frame follows a Close.
        if !self.is_closed() {
            self.0.frames.borrow_mut().push_back(SentFrame { frame, published: self.0.published.get() });
        }
        !self.is_closed()
    }

    fn close_too_slow(&self) {
        self.close();
    }

    fn is_closed(&self) -> bool {
        Self::is_closed(self)
    }
}

/// The fields of a frame that a client reads.
#[derive(Debug, Deserialize)]
pub(super) struct FrameFields<'a> {
    pub(super) op: u8,
    #[serde(borrow)]
    pub(super) channel: Option<&'a str>,
    pub(super) position: Option<&'a str>,
    pub(super) message: Option<u64>,
    pub(super) signal: Option<&'a str>,
    pub(super) state: Option<&'a str>,
    pub(super) recovered: Option<bool>,
    pub(super) last: Option<u32>,
    pub(super) reason: Option<&'a str>,
    pub(super) id: Option<&'a str>,
    #[serde(default)]
    pub(super) channels: Vec<ReadyChannel<'a>>,
}

/// A channel in Ready.
#[derive(Debug, Deserialize)]
pub(super) struct ReadyChannel<'a> {
    pub(super) channel: &'a str,
    pub(super) position: Option<&'a str>,
    pub(super) state: Option<&'a str>,
    pub(super) recovered: Option<bool>,
    pub(super) last: Option<u32>,
}

/// The JSON of a short unmasked text frame.
pub(super) fn payload(frame: &[u8]) -> &[u8] {
    if frame[1] < 126 { &frame[2..] } else { &frame[4..] }
}

/// The fields of a subscription request.
fn request(channel: &str, since: Option<Position>, last: u32) -> String {
    let mut text = format!(r#""channel":"{channel}""#);
    if let Some(since) = since {
        write!(text, r#","since":"{since}""#).unwrap();
    }
    if last > 0 {
        write!(text, r#","last":{last}"#).unwrap();
    }
    text
}

impl SimulatedClient {
    pub(super) fn new(channels: usize, last: u32) -> Self {
        Self {
            checkers: (0..channels).map(|_| Checker::default()).collect(),
            wants: vec![true; channels],
            is_leaving: vec![false; channels],
            is_refused: vec![false; channels],
            sends: ClientSends::default(),
            session: None,
            last,
        }
    }

    /// Another client replaces this one. It knows no position and no message.
    pub(super) fn replace(&mut self) {
        self.checkers.iter_mut().for_each(|checker| *checker = Checker::default());
    }

    pub(super) fn identify(&self, names: &[String]) -> String {
        let channels: Vec<_> = (0..names.len())
            .filter(|channel| self.wants[*channel])
            .map(|channel| {
                format!("{{{}}}", request(&names[channel], self.checkers[channel].position, self.last))
            })
            .collect();
        format!(r#"{{"op":1,"token":"t","channels":[{}]}}"#, channels.join(","))
    }

    pub(super) fn subscribe(&self, channel: usize, name: &str) -> String {
        format!(r#"{{"op":4,{}}}"#, request(name, self.checkers[channel].position, self.last))
    }

    pub(super) fn unsubscribe(name: &str) -> String {
        format!(r#"{{"op":5,{}}}"#, request(name, None, 0))
    }
}
