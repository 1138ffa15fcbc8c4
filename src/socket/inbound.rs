//! Reads a socket through the frame reader into its actor's context, and passes on deadlines and notifications.
//!
//! The stream of this file replaces the context's own stream (`WsStream` of `actix-web-actors`). `WsStream` would parse
//! every frame a second time, and its buffer keeps the length of the longest message as long as the socket is open:
//! measured 150 bytes a socket with the shortest tokens, and 64 KiB after a message of 64 KiB.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web_actors::ws::Message;
use bytes::Bytes;
use futures_util::Stream;
use tokio::io::Interest;

use super::SocketEvent;
use super::frame_reader::Incoming;
use super::kernel;
use super::outbox::Outbox;
use super::read_state::{InboundEnd, ReadState};
use protocol::Encoding;
use protocol::close::CloseCode;

/// How many bytes are read at once. All sockets of a thread share one buffer, so that an idle socket needs none.
const READ_BYTES: usize = 16 * 1024;
/// How many reads without a whole message one poll makes before other tasks run.
const MAX_READS_PER_POLL: u32 = 8;
/// The period of `control_frames_per_minute`.
const MINUTE: Duration = Duration::from_secs(60);
/// Whether a short read shows that the socket is empty. That needs edge-triggered polling; only Linux is tested.
const CAN_SKIP_SECOND_READ: bool = cfg!(target_os = "linux");

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// The result of one read.
enum ReadOutcome {
    /// A whole message for the actor, and the messages after it. Most reads return one, which needs no vector.
    Messages(Message, Vec<Message>),
    /// Bytes, but no whole message.
    Nothing,
    /// Nothing more is read.
    End(InboundEnd),
}

/// Reads and drops messages after the actor has ended. Ready when the peer has answered Close, disconnected or broken a
/// rule.
pub(super) fn poll_close_answer(outbox: &Outbox, cx: &mut Context<'_>) -> Poll<()> {
    let mut state = outbox.reading().borrow_mut();
    for _ in 0..MAX_READS_PER_POLL {
        match poll_outcome(outbox, &mut state, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(ReadOutcome::End(_)) => return Poll::Ready(()),
            Poll::Ready(ReadOutcome::Messages(..) | ReadOutcome::Nothing) => {}
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Reads and drops bytes. Ready when the peer has closed its side. With unread bytes the kernel would reset the
/// connection, and the peer might lose the Close frame.
pub(super) fn poll_peer_eof(outbox: &Outbox, cx: &mut Context<'_>) -> Poll<()> {
    for _ in 0..MAX_READS_PER_POLL {
        match poll_read(outbox, cx, |bytes| bytes.is_empty()) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(true) => return Poll::Ready(()),
            Poll::Ready(false) => {}
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn poll_outcome(outbox: &Outbox, state: &mut ReadState, cx: &mut Context<'_>) -> Poll<ReadOutcome> {
    if let Some(end) = state.end {
        return Poll::Ready(ReadOutcome::End(end));
    }
    let ReadBatch { first, more, end } = match state.take_initial() {
        Some(initial) => {
            outbox.options().traffic.count_received(initial.len());
            state.read_all(outbox, &initial)
        }
        None => match poll_read(outbox, cx, |bytes| state.read_all(outbox, bytes)) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(batch) => batch,
        },
    };
    state.end = end;
    Poll::Ready(match (first, end) {
        // Messages before the end are delivered first.
        (Some(first), _) => ReadOutcome::Messages(first, more),
        (None, None) => ReadOutcome::Nothing,
        (None, Some(end)) => ReadOutcome::End(end),
    })
}

/// Reads some bytes and passes them to `consume`; no bytes if the stream has ended or failed.
fn poll_read<R>(outbox: &Outbox, cx: &mut Context<'_>, consume: impl FnOnce(&[u8]) -> R) -> Poll<R> {
    loop {
        match outbox.stream().poll_read_ready(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => return Poll::Ready(consume(&[])),
            Poll::Ready(Ok(())) => {}
        }
        match READ_BUFFER.with_borrow_mut(|buffer| try_read(outbox, buffer)) {
            Ok(length) => {
                outbox.options().traffic.count_received(length);
                return Poll::Ready(READ_BUFFER.with_borrow(|buffer| consume(&buffer[..length])));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Poll::Ready(consume(&[])),
        }
    }
}

/// Reads once. Fails with `WouldBlock` if nothing has arrived. A read that does not fill the buffer has emptied the
/// socket. Then the socket counts as not ready, so that no second read is needed to learn that: the kernel reports the
/// next arrival.
fn try_read(outbox: &Outbox, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = None;
    let attempted = outbox.stream().try_io(Interest::READABLE, || {
        let length = kernel::read(outbox.stream(), buffer)?;
        read = Some(length);
        let is_drained = CAN_SKIP_SECOND_READ && 0 < length && length < buffer.len();
        if is_drained { Err(ErrorKind::WouldBlock.into()) } else { Ok(length) }
    });
    read.map_or(attempted, Ok)
}

/// The whole messages of a piece of input, and the end if it is in that piece.
struct ReadBatch {
    first: Option<Message>,
    more: Vec<Message>,
    end: Option<InboundEnd>,
}

impl ReadState {
    /// Passes bytes to the frame reader. Answers Ping and Close.
    fn read_all(&mut self, outbox: &Outbox, mut bytes: &[u8]) -> ReadBatch {
        if outbox.encoding() == Encoding::EventStream && !bytes.is_empty() {
            let end = Some(InboundEnd::Violation(CloseCode::ProtocolError));
            return ReadBatch { first: None, more: Vec::new(), end };
        }
        let (mut first, mut more) = (None, Vec::new());
        // An empty read means that the peer has closed its side, with or without a Close frame.
        let mut end = bytes.is_empty().then_some(InboundEnd::Closed);
        while end.is_none() {
            match self.read(outbox, &mut bytes) {
                Ok(None) => break,
                Ok(Some(incoming)) => match handle(incoming, outbox) {
                    Ok(message) if first.is_none() => first = Some(message),
                    Ok(message) => more.push(message),
                    Err(ended) => end = Some(ended),
                },
                Err(code) => end = Some(InboundEnd::Violation(code)),
            }
        }
        ReadBatch { first, more, end }
    }

    /// Reads the next whole message or control frame, and checks the rate of control frames.
    fn read(&mut self, outbox: &Outbox, bytes: &mut &[u8]) -> Result<Option<Incoming>, CloseCode> {
        let read = self.frame_reader.read(bytes)?;
        // A control frame between fragments does not complete their message.
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

/// Converts a message or control frame for the actor. Answers Ping and Close.
fn handle(incoming: Incoming, outbox: &Outbox) -> Result<Message, InboundEnd> {
    Ok(match incoming {
        // The frame reader has checked the text; the conversion checks it again.
        Incoming::Text(payload) => {
            Message::Text(payload.try_into().map_err(|_| InboundEnd::Violation(CloseCode::InvalidUtf8))?)
        }
        Incoming::Binary(payload) => Message::Binary(payload),
        Incoming::Pong(_) => Message::Pong(Bytes::new()),
        Incoming::Ping(payload) => {
            outbox.answer_ping(&payload);
            Message::Ping(Bytes::new())
        }
        Incoming::Close(code) => {
            outbox.answer_close(code);
            return Err(InboundEnd::Closed);
        }
    })
}

/// The stream of messages, deadlines and notifications for the actor. One stream for all makes a wake-up of the task one
/// poll. It reads the socket only after the actor has received all messages of the last read. So a client that sends
/// faster than its actor works fills only its own TCP window.
#[derive(Debug)]
pub(super) struct SocketEvents(Outbox);

impl SocketEvents {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self(outbox)
    }
}

impl Stream for SocketEvents {
    type Item = SocketEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let outbox = &self.0;
        if outbox.take_notified() {
            return Poll::Ready(Some(SocketEvent::Notified));
        }
        let mut state = outbox.reading().borrow_mut();
        if let Some(message) = state.next_message() {
            return Poll::Ready(Some(SocketEvent::Message(message)));
        }
        // After the messages that are read, which may postpone the deadline. The actor checks for unread ones.
        if outbox.take_deadline() {
            return Poll::Ready(Some(SocketEvent::DeadlinePassed));
        }
        for _ in 0..MAX_READS_PER_POLL {
            match poll_outcome(outbox, &mut state, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(ReadOutcome::Nothing) => {}
                Poll::Ready(ReadOutcome::Messages(first, more)) => {
                    state.keep(more);
                    return Poll::Ready(Some(SocketEvent::Message(first)));
                }
                Poll::Ready(ReadOutcome::End(end)) => {
                    if let InboundEnd::Violation(code) = end {
                        outbox.close(code);
                    }
                    return Poll::Ready(None);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
