//! The outbox: everything that goes to a socket, in order, bounded in bytes.
//!
//! It belongs to its worker thread. The hub, the session and the driver share it by reference count, without
//! a lock. A frame is written at once when nothing waits before it; so in the usual case a delivery is one
//! `write` and no queue, no wake-up and no allocation.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_rt::net::TcpStream;
use bytes::{Buf as _, Bytes};

use super::SocketOptions;
use super::client_prefix::ClientPrefix;
use super::kernel;
use super::postponement::Postponement;
use super::queue::Queue;
use crate::metrics::Code;
use protocol::close::CloseCode;
use protocol::frame::{self, FrameKind};

/// What a frame that waits takes beside its bytes, at most: its place in a queue that grows by doubling (while it
/// moves, three places), and what the allocator adds. Without it a peer that sends empty Pings and reads nothing would
/// hold fifty times the bound in Pongs of two bytes.
const FRAME_OVERHEAD_BYTES: usize = 3 * size_of::<Bytes>() + 32;

/// A handle on one socket's way out. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Outbox(Rc<OutboxState>);

struct OutboxState {
    stream: TcpStream,
    options: Rc<SocketOptions>,
    /// Whether permessage-deflate has been negotiated.
    is_deflated: bool,
    /// Most sockets have nothing that waits.
    queue: RefCell<Option<Box<Queue>>>,
    state: Cell<SocketState>,
    /// The code of the Close that was sent, once one was.
    close_code: Cell<Option<u16>>,
    /// Whose socket it is, if that is known.
    client: Option<ClientPrefix>,
    /// For the deadlines of the session.
    postponement: Cell<Postponement>,
    /// The driver's task, to be told that there is something to do.
    driver_waker: Cell<Option<Waker>>,
}

impl fmt::Debug for OutboxState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("state", &self.state).finish_non_exhaustive()
    }
}

/// Which way the socket is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketState {
    /// Frames may be sent.
    Open,
    /// A Close frame is the last one; the peer's answer is awaited.
    Closing,
    /// As Closing, but the peer began it, broke the rules, is silent or does not read: nothing is awaited.
    Flushing,
    /// The stream has failed: there is nobody to send to.
    Failed,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// Written or queued.
    Accepted,
    /// The socket is closing, failed, or was found too slow just now: the frame is dropped.
    Closed,
}

impl Outbox {
    pub(super) fn new(
        stream: TcpStream,
        is_deflated: bool,
        client: Option<ClientPrefix>,
        options: Rc<SocketOptions>,
    ) -> Self {
        Self(Rc::new(OutboxState {
            stream,
            options,
            is_deflated,
            queue: RefCell::default(),
            state: Cell::new(SocketState::Open),
            close_code: Cell::new(None),
            client,
            postponement: Cell::default(),
            driver_waker: Cell::default(),
        }))
    }

    /// Sends a prepared WebSocket frame: at once if nothing waits, else after the queued frames. If the queued frames
    /// would take more memory than `session.max_outbound_bytes`, or more than is left of `server.max_outbound_bytes`, the
    /// socket is closed as too slow instead. The longest frame that waits does not count against the first of these
    /// bounds: the longest possible message must be deliverable after others, too.
    pub fn push(&self, frame: Bytes) -> Pushed {
        if self.0.state.get() != SocketState::Open {
            return Pushed::Closed;
        }
        self.enqueue(frame);
        let held = self.held_bytes();
        if held > 0 && (held > self.remaining_total_bytes() || self.exceeds_own_bound(held)) {
            self.close(CloseCode::TooSlow);
            return Pushed::Closed;
        }
        Pushed::Accepted
    }

    /// The fuller the process is, the fewer bytes may wait here: a socket may have as many as are left for all. So the
    /// one with the most queued is the first to go, and together they stay below their bound.
    fn remaining_total_bytes(&self) -> usize {
        let options = &self.0.options;
        // What waits here is in it.
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

    /// Answers a Ping. Of Pongs that would wait one behind the other only the latest is kept (RFC 6455, section
    /// 5.5.3), so that a peer which does not read them cannot pile them up.
    pub(super) fn answer_ping(&self, payload: &[u8]) {
        if self.is_closed() {
            return;
        }
        if let Some(queue) = &mut *self.0.queue.borrow_mut() {
            queue.remove_last_pong(&self.0.options.metrics);
        }
        self.push(frame::encode(FrameKind::Pong, payload));
    }

    /// Sends Close and nothing after it. Only the first call counts.
    pub fn close(&self, code: CloseCode) {
        let state = match code {
            // A peer that breaks the rules of framing, does not read, or has long been silent is not waited for.
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
        self.send_close(state, Some(code.code()), code.reason());
    }

    /// Answers the peer's Close with its own code.
    pub(super) fn answer_close(&self, code: Option<u16>) {
        self.send_close(SocketState::Flushing, code, "");
    }

    fn send_close(&self, state: SocketState, code: Option<u16>, reason: &str) {
        if self.0.state.get() == SocketState::Open {
            self.0.close_code.set(code);
            self.enqueue(frame::encode_close(code, reason));
            if self.0.state.get() == SocketState::Open {
                self.0.state.set(state);
            }
            self.wake_driver();
        }
    }

    /// The session has ended. Accept no more frames; queued frames are still written.
    pub fn finish(&self) {
        if self.0.state.get() == SocketState::Open {
            self.0.state.set(SocketState::Flushing);
        }
    }

    /// A deadline of the session has passed. Returns for how long it is postponed because the peer's data is unread;
    /// `None` if it takes effect.
    pub fn postpone_deadline(&self, would_close: bool) -> Option<Duration> {
        let mut postponement = self.0.postponement.take();
        let time = postponement.postpone(would_close && self.has_unread());
        self.0.postponement.set(postponement);
        time
    }

    /// Whether the peer's data is unread.
    pub(super) fn has_unread(&self) -> bool {
        kernel::has_unread(&self.0.stream)
    }

    /// Whether frames may be compressed.
    pub fn is_deflated(&self) -> bool {
        self.0.is_deflated
    }

    /// The code of the Close that was sent, be it our own or the answer to the peer's.
    pub fn close_code(&self) -> Option<u16> {
        self.0.close_code.get()
    }

    /// Whether nothing more can be sent.
    pub fn is_closed(&self) -> bool {
        self.0.state.get() != SocketState::Open
    }

    /// Whose socket it is, if that is known.
    pub fn client(&self) -> Option<ClientPrefix> {
        self.0.client
    }

    /// Whether anything waits to be written.
    pub(super) fn has_queued(&self) -> bool {
        self.0.queue.borrow().is_some()
    }

    /// The bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.0.queue.borrow().as_ref().map_or(0, |queue| queue.bytes)
    }

    /// What the frames that wait take in memory, if nobody shares them.
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

    /// How often a write has made progress.
    pub(super) fn progress(&self) -> u64 {
        self.0.queue.borrow().as_ref().map_or(0, |queue| queue.progress)
    }

    pub(super) fn fail(&self) {
        self.0.state.set(SocketState::Failed);
        self.wake_driver();
    }

    pub(super) fn set_driver(&self, waker: &Waker) {
        let known = self.0.driver_waker.take().filter(|known| known.will_wake(waker));
        self.0.driver_waker.set(Some(known.unwrap_or_else(|| waker.clone())));
    }

    fn wake_driver(&self) {
        let driver = self.0.driver_waker.take();
        if let Some(driver) = &driver {
            driver.wake_by_ref();
        }
        self.0.driver_waker.set(driver);
    }

    fn enqueue(&self, frame: Bytes) {
        let mut queued = self.0.queue.borrow_mut();
        if let Some(queue) = &mut *queued {
            return queue.push(frame, &self.0.options.metrics);
        }
        let (rest, is_first_partly_written) = self.write_first(frame);
        if rest.is_empty() {
            return;
        }
        let queue = queued.insert(Box::new(Queue {
            frames: VecDeque::new(),
            bytes: 0,
            is_first_partly_written,
            progress: 0,
        }));
        queue.push(rest, &self.0.options.metrics);
        drop(queued);
        self.wake_driver();
    }

    /// Writes a frame before which nothing waits. Returns what could not be written, and whether some of it
    /// was.
    fn write_first(&self, mut frame: Bytes) -> (Bytes, bool) {
        match self.0.stream.try_write(&frame) {
            Ok(written) => {
                self.0.options.traffic.count_sent(written);
                frame.advance(written);
                (frame, written > 0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (frame, false),
            Err(_) => {
                self.fail();
                (Bytes::new(), false)
            }
        }
    }

    /// Writes what waits, as far as the socket takes it. Ready when nothing waits any more.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut queued = self.0.queue.borrow_mut();
        while let Some(queue) = &mut *queued {
            match self.0.stream.poll_write_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(ready) => ready?,
            }
            match self.0.stream.try_write_vectored(&queue.slices()) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    self.0.options.traffic.count_sent(written);
                    queue.advance(written, &self.0.options.metrics);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if queue.frames.is_empty() {
                *queued = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes queued frames as far as the kernel accepts them, regardless of the runtime's readiness state. Returns
    /// whether any bytes were written. Called when a deadline has passed; see [`kernel`].
    pub(super) fn write_directly(&self) -> bool {
        let mut queued = self.0.queue.borrow_mut();
        let mut has_progress = false;
        while let Some(queue) = &mut *queued {
            match kernel::write(&self.0.stream, &queue.slices()) {
                Ok(written) if written > 0 => {
                    self.0.options.traffic.count_sent(written);
                    queue.advance(written, &self.0.options.metrics);
                }
                // A failure shows at the next write.
                _ => break,
            }
            has_progress = true;
            if queue.frames.is_empty() {
                *queued = None;
            }
        }
        has_progress
    }

    /// Drops what waits, less the rest of a frame whose beginning has left.
    fn discard_queued(&self) {
        let mut queued = self.0.queue.borrow_mut();
        let Some(queue) = &mut *queued else { return };
        let kept = usize::from(queue.is_first_partly_written);
        let dropped: usize = queue.frames.drain(kept..).map(|frame| frame.len()).sum();
        queue.bytes -= dropped;
        self.0.options.metrics.outbound_queued_bytes.dec_by(dropped as i64);
        if queue.frames.is_empty() {
            *queued = None;
        }
    }
}

impl Drop for OutboxState {
    fn drop(&mut self) {
        let queued = self.queue.borrow().as_ref().map_or(0, |queue| queue.bytes);
        self.options.metrics.outbound_queued_bytes.dec_by(queued as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every socket has one, so a few bytes more are felt. With its two counts this is 104, the most that the
    /// allocator gives for 112.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_socket_s_way_out_takes_no_more_than_88_bytes() {
        assert!(size_of::<OutboxState>() <= 88, "{}", size_of::<OutboxState>());
    }
}
