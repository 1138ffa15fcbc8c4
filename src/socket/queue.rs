//! The frames that are queued for one socket, in order.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf as _, Bytes};

use crate::metrics::Metrics;
use protocol::frame::FrameKind;

/// The most frames in one write. The kernel's own limit is 1024 (`UIO_MAXIOV`).
const MAX_FRAMES_PER_WRITE: usize = 64;

/// The frames that are queued for one socket.
#[derive(Debug)]
pub(super) struct Queue {
    /// The written part of the first frame has been removed.
    pub(super) frames: VecDeque<Bytes>,
    pub(super) bytes: usize,
    /// Whether part of the first frame has been written. Such a frame is never removed. The answer to the handshake counts
    /// as one from the beginning.
    pub(super) is_first_partly_written: bool,
    /// The number of writes that made progress. The task uses it to tell a slow peer from a stalled one.
    pub(super) progress: u64,
}

impl Queue {
    /// The frames of the next write.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        self.frames.iter().take(MAX_FRAMES_PER_WRITE).map(|frame| IoSlice::new(frame)).collect()
    }

    pub(super) fn push(&mut self, frame: Bytes, metrics: &Metrics) {
        self.bytes += frame.len();
        metrics.outbound_queued_bytes.inc_by(frame.len() as i64);
        self.frames.push_back(frame);
    }

    /// Removes the last frame if it is a Pong and no part of it has been written.
    pub(super) fn remove_last_pong(&mut self, metrics: &Metrics) {
        // A partly written frame no longer begins with its header.
        let unwritten = usize::from(self.is_first_partly_written)..;
        let is_pong = |frame: &Bytes| frame.first() == Some(&FrameKind::Pong.first_byte());
        if !self.frames.range(unwritten).next_back().is_some_and(is_pong) {
            return;
        }
        let length = self.frames.pop_back().map_or(0, |frame| frame.len());
        self.bytes -= length;
        metrics.outbound_queued_bytes.dec_by(length as i64);
    }

    /// Removes `written` bytes from the front.
    pub(super) fn advance(&mut self, mut written: usize, metrics: &Metrics) {
        self.progress += 1;
        self.bytes -= written;
        metrics.outbound_queued_bytes.dec_by(written as i64);
        while let Some(first) = self.frames.front_mut() {
            if written < first.len() {
                first.advance(written);
                self.is_first_partly_written |= written > 0;
                return;
            }
            written -= first.len();
            self.is_first_partly_written = false;
            self.frames.pop_front();
        }
    }
}
