//! What a socket remembers of its reading. It is part of the outbox's allocation, so that a socket needs only one.

use std::vec;

use actix_web_actors::ws::Message;

use super::frame_reader::FrameReader;
use protocol::budget::Budget;
use protocol::close::CloseCode;

/// The reading side of one socket.
#[derive(Debug)]
pub(super) struct ReadState {
    pub(super) frame_reader: FrameReader,
    /// The number of completed messages, and of control frames between messages. Wraps around.
    pub(super) completed: u32,
    /// Set when nothing more is read. The frame reader is not called after that.
    pub(super) end: Option<InboundEnd>,
    /// The rate of Pings and Pongs, which do not count as messages of the session.
    pub(super) control_frames: Budget,
    /// `None` between reads. Boxed, because most sockets have none most of the time.
    pub(super) buffered: Option<Box<Buffered>>,
}

/// What is read and not yet delivered.
#[derive(Debug)]
pub(super) enum Buffered {
    /// Bytes that arrived together with the upgrade request, before the first read.
    Initial(Box<[u8]>),
    /// Messages that the actor has not received.
    Messages(vec::IntoIter<Message>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InboundEnd {
    /// The peer sent Close, which has been answered, or disconnected.
    Closed,
    /// The peer broke a rule or exceeded a bound.
    Violation(CloseCode),
}

impl ReadState {
    /// The state before the first read. `initial`: bytes that arrived together with the upgrade request.
    pub(super) fn new(frame_reader: FrameReader, initial: Box<[u8]>) -> Self {
        let buffered = (!initial.is_empty()).then(|| Box::new(Buffered::Initial(initial)));
        Self { frame_reader, completed: 0, end: None, control_frames: Budget::default(), buffered }
    }

    /// The state of an event stream, whose client sends nothing after its request. The actor receives `message` as if the
    /// client had sent it.
    pub(super) fn of_event_stream(
        frame_reader: FrameReader,
        message: Message,
        end: Option<InboundEnd>,
    ) -> Self {
        let buffered = Some(Box::new(Buffered::Messages(vec![message].into_iter())));
        Self { frame_reader, completed: 0, end, control_frames: Budget::default(), buffered }
    }

    /// The next message that is read and not yet delivered.
    pub(super) fn next_message(&mut self) -> Option<Message> {
        let Some(Buffered::Messages(messages)) = self.buffered.as_deref_mut() else { return None };
        let message = messages.next();
        if messages.as_slice().is_empty() {
            self.buffered = None;
        }
        message
    }

    /// Takes the bytes that arrived together with the upgrade request.
    pub(super) fn take_initial(&mut self) -> Option<Box<[u8]>> {
        let Buffered::Initial(initial) = self.buffered.as_deref_mut()? else { return None };
        let initial = std::mem::take(initial);
        self.buffered = None;
        Some(initial)
    }

    /// Keeps the messages after the first of a read, for [`ReadState::next_message`].
    pub(super) fn keep(&mut self, messages: Vec<Message>) {
        if !messages.is_empty() {
            self.buffered = Some(Box::new(Buffered::Messages(messages.into_iter())));
        }
    }

    /// The number of the incomplete message or frame; `None` between messages.
    pub(super) fn incomplete_message(&self) -> Option<u32> {
        self.frame_reader.is_mid_message().then_some(self.completed)
    }
}
