//! The outbox sends frames to one socket, in order and bounded in bytes. The frames of an event stream
//! (`event_stream.rs`) are blocks of server-sent events.
//!
//! It belongs to one worker thread. The hub, the session and the socket's task share it by reference count, without a
//! lock. A frame is written at once if no frame is queued. So a delivery is usually one `write`, without a queue, a
//! wake-up or an allocation. `writing.rs` queues and writes the frames.
//!
//! An outbox also holds what else the parts of one socket share, so that a socket needs one allocation: the state of its
//! reading, the deadline of its actor, and whether the hub has events for the actor.

mod event_stream;
mod writing;

use actix_rt::net::TcpStream;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use super::SocketOptions;
use super::client_prefix::ClientPrefix;
use super::kernel;
use super::postponement::Postponement;
use super::queue::Queue;
use super::read_state::ReadState;
use super::thread_millis::ThreadMillis;
use crate::metrics::Code;
use protocol::Encoding;
use protocol::close::CloseCode;
use protocol::frame::{self, FrameKind};

/// The most memory of a queued frame apart from its bytes: its entry in a queue that grows by doubling (three entries
/// while the queue moves), and the allocator's overhead. A peer that sends empty Pings and reads nothing would
/// otherwise hold fifty times the bound in Pongs of two bytes.
const FRAME_OVERHEAD_BYTES: usize = 3 * size_of::<Bytes>() + 32;

/// A frame of [`Outbox::offer`] is shorter. Such a frame is queued only if this much is left for all sockets.
const MAX_OFFERED_FRAME_BYTES: usize = 4 << 10;

/// One socket, as the parts that send to it share it. Clones share it.
#[derive(Debug, Clone)]
pub struct Outbox(Rc<OutboxState>);

/// The identity of a socket on this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutboxId(usize);

struct OutboxState {
    stream: TcpStream,
    options: Rc<SocketOptions>,
    encoding: Encoding,
    /// `None` while no frame is queued, as for most sockets.
    queue: RefCell<Option<Box<Queue>>>,
    /// Here, so that a socket needs one allocation for both directions.
    reading: RefCell<ReadState>,
    state: Cell<SocketState>,
    /// The code of the Close that was sent. `None` before that, or if it carried no code.
    close_code: Cell<Option<u16>>,
    /// `None` if the peer's address is unknown.
    client: Option<ClientPrefix>,
    /// Postpones the deadlines of the session.
    postponement: Cell<Postponement>,
    /// The deadline of the session.
    deadline: Cell<ThreadMillis>,
    has_deadline_passed: Cell<bool>,
    is_notified: Cell<bool>,
    /// Wakes the socket's task.
    task_waker: Cell<Option<Waker>>,
}

impl fmt::Debug for OutboxState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("state", &self.state).finish_non_exhaustive()
    }
}

/// Whether frames may be sent, and how the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketState {
    /// Frames may be sent.
    Open,
    /// Close is sent or queued. The connection ends when the peer has answered it.
    Closing,
    /// The connection ends after the queued frames, without an answer of the peer: the peer closed first, broke a rule,
    /// is silent or does not read, or the session ended.
    Flushing,
    /// The stream failed.
    Failed,
}

/// The result of [`Outbox::push`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// Written or queued.
    Accepted,
    /// Dropped: the socket is closing or failed, or this frame made it too slow.
    Closed,
}

impl Outbox {
    pub(super) fn new(
        stream: TcpStream,
        reading: ReadState,
        encoding: Encoding,
        client: Option<ClientPrefix>,
        options: Rc<SocketOptions>,
    ) -> Self {
        Self(Rc::new(OutboxState {
            stream,
            options,
            encoding,
            queue: RefCell::default(),
            reading: RefCell::new(reading),
            state: Cell::new(SocketState::Open),
            close_code: Cell::new(None),
            client,
            postponement: Cell::default(),
            deadline: Cell::new(ThreadMillis::NEVER),
            has_deadline_passed: Cell::new(false),
            is_notified: Cell::new(false),
            task_waker: Cell::default(),
        }))
    }

    /// Sends a prepared frame of the socket's encoding: at once if no frame is queued, otherwise after the queued frames.
    ///
    /// The socket is closed as too slow if the queued frames take more memory than `session.max_outbound_bytes`, or
    /// more than is left of `server.max_outbound_bytes`. The longest queued frame does not count against
    /// `session.max_outbound_bytes`, so that the longest possible message can follow other frames.
    pub fn push(&self, frame: Bytes) -> Pushed {
        if self.0.state.get() != SocketState::Open {
            return Pushed::Closed;
        }
        let Some(frame) = self.complete(frame) else { return Pushed::Accepted };
        self.enqueue(frame);
        let held = self.held_bytes();
        if held > 0 && (held > self.remaining_total_bytes() || self.exceeds_own_bound(held)) {
            self.close(CloseCode::TooSlow);
            return Pushed::Closed;
        }
        Pushed::Accepted
    }

    /// The frame as it is sent. `None`: an event stream does not send it.
    fn complete(&self, frame: Bytes) -> Option<Bytes> {
        match self.0.encoding {
            Encoding::Plain | Encoding::Deflated => Some(frame),
            Encoding::EventStream => self.complete_block(frame),
        }
    }

    /// Sends frames that are worthless later: writes at once what the kernel accepts, and drops the others. A frame of
    /// which a part is written is completed later. `ends`: where each frame ends in `frames`; every frame is short.
    /// Returns how many frames are sent; `None` if the socket is closing.
    pub fn offer(&self, frames: &Bytes, ends: &[usize]) -> Option<usize> {
        if self.is_closed() {
            return None;
        }
        if self.has_queued() || self.remaining_total_bytes() < MAX_OFFERED_FRAME_BYTES {
            return Some(0);
        }
        self.write_offered(frames, ends)
    }

    /// The bytes that are left of the bound for all sockets. A socket may queue no more than that. So the socket with
    /// the longest queue is closed first, and all queues together stay below the bound.
    fn remaining_total_bytes(&self) -> usize {
        let options = &self.0.options;
        // Includes the queue of this socket.
        let all = usize::try_from(options.metrics.outbound_queued_bytes.get()).unwrap_or(0);
        options.max_total_outbound_bytes.saturating_sub(all)
    }

    fn exceeds_own_bound(&self, held: usize) -> bool {
        let bound = self.0.options.max_outbound_bytes;
        if held <= bound {
            return false;
        }
        let queue = self.0.queue.borrow();
        let longest = queue.as_ref().and_then(|queue| queue.frames.iter().map(Bytes::len).max());
        held - longest.unwrap_or(0) > bound
    }

    /// Answers a Ping. Of consecutive queued Pongs only the latest is kept (RFC 6455, section 5.5.3), so that Pongs do
    /// not accumulate for a peer that does not read.
    pub(super) fn answer_ping(&self, payload: &[u8]) {
        if self.is_closed() {
            return;
        }
        if let Some(queue) = &mut *self.0.queue.borrow_mut() {
            queue.remove_last_pong(&self.0.options.metrics);
        }
        self.push(frame::encode(FrameKind::Pong, payload));
    }

    /// Sends Close as the last frame. Later calls have no effect.
    pub fn close(&self, code: CloseCode) {
        self.close_with(code, code.reason());
    }

    /// Sends Close with a reason of at most 123 bytes as the last frame. Later calls have no effect.
    pub fn close_with(&self, code: CloseCode, reason: &str) {
        let state = match code {
            // No answer is expected from a peer that breaks the framing rules, does not read or is silent.
            CloseCode::TooSlow
            | CloseCode::HeartbeatTimedOut
            | CloseCode::ProtocolError
            | CloseCode::InvalidUtf8
            | CloseCode::PolicyViolation
            | CloseCode::MessageTooBig => SocketState::Flushing,
            _ => SocketState::Closing,
        };
        if self.0.state.get() == SocketState::Open {
            self.0.options.metrics.websocket_closes.get_or_create(&Code { code: code.code() }).inc();
            if code == CloseCode::TooSlow {
                self.discard_queued();
            }
        }
        self.send_close(state, Some(code.code()), reason);
    }

    /// Answers the peer's Close with the same code.
    pub(super) fn answer_close(&self, code: Option<u16>) {
        self.send_close(SocketState::Flushing, code, "");
    }

    fn send_close(&self, state: SocketState, code: Option<u16>, reason: &str) {
        if self.0.state.get() == SocketState::Open {
            self.0.close_code.set(code);
            let (state, frame) = match self.0.encoding {
                Encoding::Plain | Encoding::Deflated => (state, frame::encode_close(code, reason)),
                // Its client cannot answer.
                Encoding::EventStream => (SocketState::Flushing, self.close_event_stream(code, reason)),
            };
            self.enqueue(frame);
            if self.0.state.get() == SocketState::Open {
                self.0.state.set(state);
            }
            self.wake_task();
        }
    }

    /// Accepts no more frames, because the session has ended. Queued frames are still written.
    pub fn finish(&self) {
        if self.0.state.get() == SocketState::Open {
            self.0.state.set(SocketState::Flushing);
        }
    }

    /// Call when a deadline of the session has passed. Returns for how long the deadline is postponed because data of
    /// the peer is unread; `None` if the deadline takes effect.
    pub fn postpone_deadline(&self, would_close: bool) -> Option<Duration> {
        let mut postponement = self.0.postponement.take();
        let time = postponement.postpone(would_close && self.has_unread());
        self.0.postponement.set(postponement);
        time
    }

    pub(super) fn deadline(&self) -> ThreadMillis {
        self.0.deadline.get()
    }

    pub(super) fn set_deadline(&self, deadline: ThreadMillis) {
        self.0.deadline.set(deadline);
    }

    /// Call at every tick for which the socket has an entry.
    pub(super) fn on_tick(&self, tick: ThreadMillis) {
        if self.0.deadline.get() <= tick {
            self.0.deadline.set(ThreadMillis::NEVER);
            self.0.has_deadline_passed.set(true);
            self.wake_task();
        }
    }

    /// Whether a deadline has passed since the last call.
    pub(super) fn take_deadline(&self) -> bool {
        self.0.has_deadline_passed.take()
    }

    /// Has the actor of the socket receive [`SocketEvent::Notified`](super::SocketEvent::Notified), once for all calls
    /// before it does.
    pub fn notify(&self) {
        self.0.is_notified.set(true);
        self.wake_task();
    }

    /// Whether [`Outbox::notify`] was called since the last call.
    pub(super) fn take_notified(&self) -> bool {
        self.0.is_notified.take()
    }

    /// The identity of the socket, while it has an outbox.
    pub fn id(&self) -> OutboxId {
        OutboxId(Rc::as_ptr(&self.0).addr())
    }

    /// Whether there is unread data of the peer.
    pub(super) fn has_unread(&self) -> bool {
        kernel::has_unread(&self.0.stream)
    }

    /// What the frames of the socket are.
    pub fn encoding(&self) -> Encoding {
        self.0.encoding
    }

    /// The code of the Close that was sent, including the answer to a Close of the peer. `None` if no Close was sent,
    /// or one without a code.
    pub fn close_code(&self) -> Option<u16> {
        self.0.close_code.get()
    }

    /// Whether no more frames are accepted.
    pub fn is_closed(&self) -> bool {
        self.0.state.get() != SocketState::Open
    }

    /// The client's address; `None` if it is unknown.
    pub fn client(&self) -> Option<ClientPrefix> {
        self.0.client
    }

    /// Whether a frame is queued.
    pub(super) fn has_queued(&self) -> bool {
        self.0.queue.borrow().is_some()
    }

    /// The bytes of the queued frames, without overhead.
    pub fn queued_bytes(&self) -> usize {
        self.0.queue.borrow().as_ref().map_or(0, |queue| queue.bytes)
    }

    /// The memory of the queued frames, if they are not shared with other sockets.
    fn held_bytes(&self) -> usize {
        let queue = self.0.queue.borrow();
        queue.as_ref().map_or(0, |queue| queue.bytes + queue.frames.len() * FRAME_OVERHEAD_BYTES)
    }

    pub(super) fn state(&self) -> SocketState {
        self.0.state.get()
    }

    pub(super) fn options(&self) -> &SocketOptions {
        &self.0.options
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.0.stream
    }

    /// The reading side of the socket. Not borrowed while the actor runs.
    pub(super) fn reading(&self) -> &RefCell<ReadState> {
        &self.0.reading
    }

    /// The number of writes that made progress since frames were queued.
    pub(super) fn progress(&self) -> u64 {
        self.0.queue.borrow().as_ref().map_or(0, |queue| queue.progress)
    }

    pub(super) fn fail(&self) {
        self.0.state.set(SocketState::Failed);
        self.wake_task();
    }

    pub(super) fn set_task_waker(&self, waker: &Waker) {
        let known = self.0.task_waker.take().filter(|known| known.will_wake(waker));
        self.0.task_waker.set(Some(known.unwrap_or_else(|| waker.clone())));
    }

    fn wake_task(&self) {
        let waker = self.0.task_waker.take();
        if let Some(waker) = &waker {
            waker.wake_by_ref();
        }
        self.0.task_waker.set(waker);
    }
}

impl Drop for OutboxState {
    fn drop(&mut self) {
        let queued = self.queue.borrow().as_ref().map_or(0, |queue| queue.bytes);
        self.options.metrics.outbound_queued_bytes.dec_by(queued as i64);
        if self.encoding == Encoding::EventStream {
            event_stream::remove(OutboxId(std::ptr::from_ref(self).addr()));
        }
    }
}

#[cfg(test)]
mod tests;
