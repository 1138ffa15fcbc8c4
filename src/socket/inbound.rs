//! From the socket, through the guard, to the actor.
//!
//! The actor hears these messages rather than those of its context's own stream (`actix-web-actors`' `WsStream`): that one
//! would read every frame a second time, and its buffer stays as long as the longest message so far, for as long as the
//! socket is open (150 bytes a socket with the shortest tokens, measured; 64 KiB after a message of that length).

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::vec;

use actix_web_actors::ws::{Message, ProtocolError};
use bytes::Bytes;
use futures_util::Stream;

use super::frame_reader::{FrameReader, Incoming};
use super::outbox::Outbox;
use protocol::budget::Budget;
use protocol::close::CloseCode;

/// How much is read at once, into a buffer that all sockets of a thread share: an idle one has none.
const READ_BYTES: usize = 16 * 1024;
/// How many reads without a whole message a socket may do before it lets others run.
const READS_IN_A_ROW: u32 = 8;
/// The time for which `control_frames_per_minute` counts.
const MINUTE: Duration = Duration::from_secs(60);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// The reading side of one socket, shared by its actor's context and, after that has ended, its driver.
#[derive(Debug, Clone)]
pub(super) struct Reader(Rc<RefCell<ReaderState>>);

#[derive(Debug)]
struct ReaderState {
    outbox: Outbox,
    inbound: Inbound,
    /// What the client sent together with its request.
    early: Box<[u8]>,
    /// How it ended, once it has: the guard is not asked again.
    end: Option<End>,
}

/// What becomes of the bytes that are read.
#[derive(Debug)]
struct Inbound {
    frame_reader: FrameReader,
    /// How many messages and frames between messages have been completed; wraps around.
    completed: u32,
    /// Pings and Pongs. They have a bound here whether or not the session has one for messages.
    control_frames: Budget,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The peer has sent Close (which is answered) or is gone.
    Closed,
    /// The peer broke a rule, or went beyond a bound.
    Violation(CloseCode),
}

/// What one read of the socket brought.
enum ReadOutcome {
    /// Something for the actor.
    Messages(Vec<Message>),
    /// Bytes, but nothing whole yet.
    Nothing,
    /// Nothing more will come.
    End(End),
}

impl Reader {
    pub(super) fn new(outbox: Outbox, frame_reader: FrameReader, early: Box<[u8]>) -> Self {
        let inbound = Inbound { frame_reader, completed: 0, control_frames: Budget::default() };
        Self(Rc::new(RefCell::new(ReaderState { outbox, inbound, early, end: None })))
    }

    /// The stream of messages for the actor.
    pub(super) fn to_stream(&self) -> MessageStream {
        MessageStream { reader: self.clone(), unheard: Vec::new().into_iter() }
    }

    /// When a message or frame has begun and is not complete: its number.
    pub(super) fn unfinished(&self) -> Option<u32> {
        let inbound = &self.0.borrow().inbound;
        inbound.frame_reader.is_mid_message().then_some(inbound.completed)
    }

    /// Reads on after the actor has gone, and drops what comes, until the peer has answered our Close or is
    /// gone.
    pub(super) fn poll_answer(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        for _ in 0..READS_IN_A_ROW {
            match state.poll_outcome(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(ReadOutcome::End(_)) => return Poll::Ready(()),
                Poll::Ready(ReadOutcome::Messages(_) | ReadOutcome::Nothing) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Drops whatever comes until the peer has closed its side. Unread bytes would make the kernel reset the
    /// connection, and with it the Close frame that is on its way.
    pub(super) fn poll_silence(&self, cx: &mut Context<'_>) -> Poll<()> {
        let state = self.0.borrow();
        for _ in 0..READS_IN_A_ROW {
            match state.poll_read(cx, |bytes| bytes.is_empty()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(true) => return Poll::Ready(()),
                Poll::Ready(false) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl ReaderState {
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<ReadOutcome> {
        if let Some(end) = self.end {
            return Poll::Ready(ReadOutcome::End(end));
        }
        let early = std::mem::take(&mut self.early);
        let batch = if early.is_empty() {
            let Self { outbox, inbound, .. } = self;
            match poll_read(outbox, cx, |bytes| inbound.read_all(outbox, bytes)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(batch) => batch,
            }
        } else {
            self.outbox.options().traffic.count_received(early.len());
            self.inbound.read_all(&self.outbox, &early)
        };
        let ReadBatch { messages, end } = batch;
        self.end = end;
        Poll::Ready(match end {
            // The actor hears the whole messages before it hears the end.
            _ if !messages.is_empty() => ReadOutcome::Messages(messages),
            None => ReadOutcome::Nothing,
            Some(end) => ReadOutcome::End(end),
        })
    }

    fn poll_read<R>(&self, cx: &mut Context<'_>, take: impl FnOnce(&[u8]) -> R) -> Poll<R> {
        poll_read(&self.outbox, cx, take)
    }
}

/// Hands some bytes of the socket to `take`; none when it has ended or failed.
fn poll_read<R>(outbox: &Outbox, cx: &mut Context<'_>, take: impl FnOnce(&[u8]) -> R) -> Poll<R> {
    loop {
        match outbox.stream().poll_read_ready(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => return Poll::Ready(take(&[])),
            Poll::Ready(Ok(())) => {}
        }
        let read = SCRATCH.with_borrow_mut(|scratch| match outbox.stream().try_read(scratch) {
            Ok(length) => Some(Ok(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error)),
        });
        match read {
            None => {}
            Some(Err(_)) => return Poll::Ready(take(&[])),
            Some(Ok(length)) => {
                outbox.options().traffic.count_received(length);
                return Poll::Ready(SCRATCH.with_borrow(|scratch| take(&scratch[..length])));
            }
        }
    }
}

/// What is complete after a piece of input.
struct ReadBatch {
    messages: Vec<Message>,
    end: Option<End>,
}

impl Inbound {
    /// Feeds bytes to the guard. Answers Ping and Close on the way.
    fn read_all(&mut self, outbox: &Outbox, mut bytes: &[u8]) -> ReadBatch {
        let mut messages = Vec::new();
        // No bytes at all: the peer has closed its side, with or without a word.
        let mut end = bytes.is_empty().then_some(End::Closed);
        while end.is_none() {
            match self.read(outbox, &mut bytes) {
                Ok(None) => break,
                Ok(Some(incoming)) => match take(incoming, outbox) {
                    Ok(message) => messages.push(message),
                    Err(ended) => end = Some(ended),
                },
                Err(code) => end = Some(End::Violation(code)),
            }
        }
        ReadBatch { messages, end }
    }

    /// The next whole thing that the client sent, if it is in bounds.
    fn read(&mut self, outbox: &Outbox, bytes: &mut &[u8]) -> Result<Option<Incoming>, CloseCode> {
        let read = self.frame_reader.read(bytes)?;
        // A control frame inside a fragmented message completes nothing.
        if read.is_some() && !self.frame_reader.is_mid_message() {
            self.completed = self.completed.wrapping_add(1);
        }
        let is_counted = matches!(read, Some(Incoming::Ping(_) | Incoming::Pong(_)));
        let per_minute = outbox.options().control_frames_per_minute;
        if is_counted && !self.control_frames.try_acquire(per_minute, MINUTE, Instant::now()) {
            return Err(CloseCode::RateLimited);
        }
        Ok(read)
    }
}

/// What the actor hears of something whole. Answers Ping and Close.
fn take(incoming: Incoming, outbox: &Outbox) -> Result<Message, End> {
    Ok(match incoming {
        // The guard has looked at the text; its type here wants to see for itself.
        Incoming::Text(payload) => {
            Message::Text(payload.try_into().map_err(|_| End::Violation(CloseCode::InvalidUtf8))?)
        }
        Incoming::Binary(payload) => Message::Binary(payload),
        Incoming::Pong(_) => Message::Pong(Bytes::new()),
        Incoming::Ping(payload) => {
            outbox.answer_ping(&payload);
            Message::Ping(Bytes::new())
        }
        Incoming::Close(code) => {
            outbox.answer_close(code);
            return Err(End::Closed);
        }
    })
}

/// The stream of messages for the actor. It looks at the socket again only when the actor has heard all that the last look
/// brought, so that a client that sends faster than its actor works fills nothing but its own window.
#[derive(Debug)]
pub(super) struct MessageStream {
    reader: Reader,
    unheard: vec::IntoIter<Message>,
}

impl Stream for MessageStream {
    type Item = Result<Message, ProtocolError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(message) = self.unheard.next() {
            return Poll::Ready(Some(Ok(message)));
        }
        let reader = self.reader.clone();
        let mut state = reader.0.borrow_mut();
        for _ in 0..READS_IN_A_ROW {
            match state.poll_outcome(cx) {
                Poll::Pending => {
                    // A silent socket keeps no memory.
                    self.unheard = Vec::new().into_iter();
                    return Poll::Pending;
                }
                Poll::Ready(ReadOutcome::Nothing) => {}
                Poll::Ready(ReadOutcome::Messages(messages)) => {
                    self.unheard = messages.into_iter();
                    return Poll::Ready(self.unheard.next().map(Ok));
                }
                Poll::Ready(ReadOutcome::End(end)) => {
                    if let End::Violation(code) = end {
                        state.outbox.close(code);
                    }
                    return Poll::Ready(None);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
