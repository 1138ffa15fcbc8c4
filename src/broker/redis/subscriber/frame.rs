//! Splits the bytes of a subscriber's connection into frames: the part of RESP2 that such a connection carries.
//!
//! Nothing is copied: a frame has the ranges of its parts. A frame that is not complete is parsed again once more bytes
//! have arrived. This costs little, because the length before each string says where the string ends.

use std::ops::Range;

/// The longest status or error. A longer one is not from Redis.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// One frame. The ranges are indices into the parsed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RespFrame {
    /// A message on a channel (`message`, `smessage`).
    Message { channel: Range<usize>, payload: Range<usize> },
    /// A channel was subscribed or unsubscribed. The server also sends `sunsubscribe` unasked.
    Changed { change: Change, channel: Range<usize> },
    /// An error, without its `-`.
    Error(Range<usize>),
    /// A status such as `OK`.
    Status,
}

/// A change of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Subscribed,
    Unsubscribed,
}

/// The bytes are not what a server sends to a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidFrame;

/// Parses the frame that begins at `start`. Returns it with the index behind it; `None`: it is not complete.
///
/// # Errors
/// There is no valid frame at `start`.
pub(super) fn parse(bytes: &[u8], start: usize) -> Result<Option<(RespFrame, usize)>, InvalidFrame> {
    let mut cursor = Cursor { bytes, at: start };
    match cursor.frame() {
        Ok(frame) => Ok(Some((frame, cursor.at))),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Invalid) => Err(InvalidFrame),
    }
}

/// Why a frame was not parsed.
enum Stop {
    Incomplete,
    Invalid,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn frame(&mut self) -> Result<RespFrame, Stop> {
        match self.byte()? {
            b'*' => self.array(),
            b'-' => Ok(RespFrame::Error(self.line()?)),
            b'+' => self.line().map(|_| RespFrame::Status),
            _ => Err(Stop::Invalid),
        }
    }

    /// Every array has three items: a kind, a channel, and a payload or a count.
    fn array(&mut self) -> Result<RespFrame, Stop> {
        if self.number()? != 3 {
            return Err(Stop::Invalid);
        }
        let kind = self.string()?;
        let channel = self.string()?;
        let change = match &self.bytes[kind] {
            b"message" | b"smessage" => return Ok(RespFrame::Message { channel, payload: self.string()? }),
            b"subscribe" | b"ssubscribe" => Change::Subscribed,
            b"unsubscribe" | b"sunsubscribe" => Change::Unsubscribed,
            _ => return Err(Stop::Invalid),
        };
        self.expect(b':')?;
        self.number()?;
        Ok(RespFrame::Changed { change, channel })
    }

    /// `$`, a length, and as many bytes.
    fn string(&mut self) -> Result<Range<usize>, Stop> {
        self.expect(b'$')?;
        let length = self.number()?;
        let (start, end) = (self.at, self.at.checked_add(length).ok_or(Stop::Invalid)?);
        self.at = end;
        self.line_end()?;
        Ok(start..end)
    }

    /// A number that is not negative, up to the end of its line.
    fn number(&mut self) -> Result<usize, Stop> {
        let mut number: usize = 0;
        let start = self.at;
        loop {
            match self.byte()? {
                digit @ b'0'..=b'9' => {
                    let more = number.checked_mul(10).and_then(|ten| ten.checked_add((digit - b'0').into()));
                    number = more.ok_or(Stop::Invalid)?;
                }
                b'\r' if self.at > start + 1 => {
                    self.expect(b'\n')?;
                    return Ok(number);
                }
                _ => return Err(Stop::Invalid),
            }
        }
    }

    /// Text up to the end of its line.
    fn line(&mut self) -> Result<Range<usize>, Stop> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        match rest.iter().take(MAX_LINE_BYTES).position(|byte| *byte == b'\r') {
            Some(length) => {
                self.at = start + length;
                self.line_end()?;
                Ok(start..start + length)
            }
            None if rest.len() < MAX_LINE_BYTES => Err(Stop::Incomplete),
            None => Err(Stop::Invalid),
        }
    }

    fn line_end(&mut self) -> Result<(), Stop> {
        self.expect(b'\r')?;
        self.expect(b'\n')
    }

    fn expect(&mut self, expected: u8) -> Result<(), Stop> {
        if self.byte()? == expected { Ok(()) } else { Err(Stop::Invalid) }
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        let byte = *self.bytes.get(self.at).ok_or(Stop::Incomplete)?;
        self.at += 1;
        Ok(byte)
    }
}
