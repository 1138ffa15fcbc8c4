//! Queues frames and writes them to the stream.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};

use super::Outbox;
use crate::socket::kernel;
use crate::socket::queue::Queue;

impl Outbox {
    pub(super) fn enqueue(&self, frame: Bytes) {
        let mut queued = self.0.queue.borrow_mut();
        if let Some(queue) = &mut *queued {
            return queue.push(frame, &self.0.options.metrics);
        }
        let (rest, is_first_partly_written) = self.try_write(frame);
        if rest.is_empty() {
            return;
        }
        drop(queued);
        self.queue_first(rest, is_first_partly_written);
    }

    /// Queues the answer to the handshake, before any frame. It counts as partly written, so that it is written even if
    /// the socket is closed at once: a Close without it would not be HTTP.
    pub(in crate::socket) fn queue_answer(&self, answer: Bytes) {
        self.queue_first(answer, true);
    }

    /// Queues the rest of a frame when no frame is queued.
    fn queue_first(&self, rest: Bytes, is_first_partly_written: bool) {
        let frames = VecDeque::new();
        let mut queue = Box::new(Queue { frames, bytes: 0, is_first_partly_written, progress: 0 });
        queue.push(rest, &self.0.options.metrics);
        self.0.queue.replace(Some(queue));
        self.wake_task();
    }

    /// Writes frames when no frame is queued. Queues only the rest of a partly written frame. Returns the number of
    /// frames written or queued; `None` if the stream failed.
    pub(super) fn write_offered(&self, frames: &Bytes, ends: &[usize]) -> Option<usize> {
        let written = match self.0.stream.try_write(frames) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(0),
            Err(_) => {
                self.fail();
                return None;
            }
        };
        self.0.options.traffic.count_sent(written);
        let complete = ends.partition_point(|end| *end <= written);
        let start = complete.checked_sub(1).map_or(0, |last| ends[last]);
        if start == written {
            return Some(complete);
        }
        let end = ends.get(complete).copied().unwrap_or(frames.len());
        self.queue_first(frames.slice(written..end), true);
        Some(complete + 1)
    }

    /// Writes a frame when no frame is queued. Returns the unwritten rest, and whether part of the frame was written.
    fn try_write(&self, mut frame: Bytes) -> (Bytes, bool) {
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

    /// Writes queued frames. Ready when none is left, or when the stream failed.
    pub(in crate::socket) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
    pub(in crate::socket) fn write_directly(&self) -> bool {
        let mut queued = self.0.queue.borrow_mut();
        let mut has_progress = false;
        while let Some(queue) = &mut *queued {
            match kernel::write(&self.0.stream, &queue.slices()) {
                Ok(written) if written > 0 => {
                    self.0.options.traffic.count_sent(written);
                    queue.advance(written, &self.0.options.metrics);
                }
                // The next write reports the failure.
                _ => break,
            }
            has_progress = true;
            if queue.frames.is_empty() {
                *queued = None;
            }
        }
        has_progress
    }

    /// Drops the queued frames, except a partly written one.
    pub(super) fn discard_queued(&self) {
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
