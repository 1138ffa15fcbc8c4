//! The bytes that were read from the server and are not handled yet.

use std::io;
use std::ops::Range;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::frame::{InvalidFrame, RespFrame, parse};

/// The size of the buffer while no message is longer.
const SIZE: usize = 64 * 1024;

/// Read bytes. It grows only for a message that is longer than [`SIZE`], and returns to that size afterwards.
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    /// The unhandled bytes are `start..end`.
    start: usize,
    end: usize,
}

impl ReadBuffer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; SIZE], start: 0, end: 0 }
    }

    /// Takes the next frame; `None`: more bytes are needed. Its ranges are valid until the next read.
    pub(super) fn next_frame(&mut self) -> Result<Option<RespFrame>, InvalidFrame> {
        let parsed = parse(&self.bytes[..self.end], self.start)?;
        Ok(parsed.map(|(frame, end)| {
            self.start = end;
            frame
        }))
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// The name of a channel. Empty if it is not UTF-8, which no channel of the gateway is.
    pub(super) fn channel(&self, range: Range<usize>) -> &str {
        std::str::from_utf8(self.bytes(range)).unwrap_or_default()
    }

    /// Reads once. Returns the number of bytes; 0: the server closed the connection. Cancel safe.
    pub(super) async fn read(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        self.make_room();
        let read = reader.read(&mut self.bytes[self.end..]).await?;
        self.end += read;
        Ok(read)
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Makes at least half of the buffer available for a read.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > SIZE {
                self.bytes = vec![0; SIZE];
            }
        }
        if self.bytes.len() - self.end >= SIZE / 2 {
            return;
        }
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.bytes.len() - self.end < SIZE / 2 {
            self.bytes.resize(2 * self.bytes.len(), 0);
        }
    }
}
