//! Turns a client's bytes, however they are cut, into whole messages. Does no IO.
//!
//! The frame reader checks the header of a frame before it stores any payload (RFC 6455, section 5.2), so that an
//! oversized frame costs no memory. It checks text as it arrives, and compressed text when the message is complete. It
//! stores at most one message and one control frame, and stops at the first violation.

use bytes::{Bytes, BytesMut};

use super::utf8::Utf8Check;
use protocol::close::CloseCode;
use protocol::deflate::Inflater;

/// The longest payload of a control frame (RFC 6455, section 5.5).
const MAX_CONTROL_BYTES: u64 = 125;
/// The bit that marks a compressed message.
const RSV1: u8 = 0x40;
/// The longest header: two bytes, eight of length, four of mask.
const MAX_HEADER_BYTES: usize = 14;

/// The bounds on one message of a client.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The longest message, in bytes; of a compressed message, after inflating.
    pub max_message_bytes: usize,
    /// The most frames of one message, including empty ones.
    pub max_fragments: u32,
}

/// A whole message or control frame of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text message, checked to be UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A Ping. The answer is a Pong of the same payload.
    Ping(Bytes),
    /// A Pong, solicited or not.
    Pong(Bytes),
    /// A Close frame, with its code if it has one.
    Close(Option<u16>),
}

/// Reads the frames of one socket. It holds no buffer between messages, because most sockets are idle most of the time.
#[derive(Debug)]
pub struct FrameReader {
    bounds: Bounds,
    /// Whether permessage-deflate has been negotiated.
    is_deflated: bool,
    partial: Option<Box<Partial>>,
}

/// An incomplete frame or message.
#[derive(Debug, Default)]
struct Partial {
    header: [u8; MAX_HEADER_BYTES],
    header_length: u8,
    frame: Option<Frame>,
    message: Option<MessageKind>,
    fragments: u32,
    /// The message so far, as it was sent. A compressed message is inflated when it is complete; until then it needs no
    /// more memory than was sent, and no inflater.
    payload: BytesMut,
    /// The payload length of the message's frames so far, by their headers.
    wire_bytes: u64,
    is_deflated: bool,
    utf8: Utf8Check,
    control: Vec<u8>,
}

/// A frame whose header has been read.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    is_last: bool,
    is_deflated: bool,
    mask: [u8; 4],
    remaining: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageKind {
    Text,
    Binary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Message(MessageKind),
    Close,
    Ping,
    Pong,
}

impl FrameReader {
    /// A frame reader for the start of a connection. `is_deflated` says whether permessage-deflate has been negotiated.
    pub fn new(bounds: Bounds, is_deflated: bool) -> Self {
        Self { bounds, is_deflated, partial: None }
    }

    /// Reads from `input` and advances it, up to the next whole message or control frame. Returns `Ok(None)` when all
    /// of `input` is read and nothing is complete. Must not be called again after an error.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, CloseCode> {
        if input.is_empty() {
            return Ok(None);
        }
        if self.partial.is_none()
            && let Some(incoming) = self.read_whole_message(input)?
        {
            return Ok(Some(incoming));
        }
        let partial = self.partial.get_or_insert_default();
        let incoming = partial.read(input, &self.bounds, self.is_deflated)?;
        if incoming.is_some() && partial.message.is_none() {
            self.partial = None;
        }
        Ok(incoming)
    }

    /// Reads a whole message in one frame that is not compressed, as most messages are, without state for an incomplete
    /// one. `None` for everything else, which is left in `input`.
    fn read_whole_message(&self, input: &mut &[u8]) -> Result<Option<Incoming>, CloseCode> {
        // Two bytes determine the length.
        if input.len() < 2 {
            return Ok(None);
        }
        let length = header_length(input, self.is_deflated)?;
        let Some((header, rest)) = input.split_at_checked(length) else { return Ok(None) };
        let frame = Frame::parse(header)?;
        let Opcode::Message(kind) = frame.opcode else { return Ok(None) };
        let Bounds { max_message_bytes, max_fragments } = self.bounds;
        if !frame.is_last
            || frame.is_deflated
            || max_fragments == 0
            || frame.remaining > max_message_bytes as u64
        {
            return Ok(None);
        }
        let Some((masked, rest)) = rest.split_at_checked(frame.remaining as usize) else { return Ok(None) };
        *input = rest;
        let mut payload = masked.to_vec();
        unmask(&mut payload, frame.mask);
        if kind == MessageKind::Text && std::str::from_utf8(&payload).is_err() {
            return Err(CloseCode::InvalidUtf8);
        }
        let payload = Bytes::from(payload);
        Ok(Some(match kind {
            MessageKind::Text => Incoming::Text(payload),
            MessageKind::Binary => Incoming::Binary(payload),
        }))
    }

    /// Whether a message or frame is incomplete.
    pub fn is_mid_message(&self) -> bool {
        self.partial.is_some()
    }

    /// How many bytes are allocated for an incomplete message and control frame: at most twice the bound, because a
    /// buffer grows by doubling, and 0 between messages.
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.payload.capacity() + partial.control.capacity())
    }
}

impl Partial {
    fn read(
        &mut self,
        input: &mut &[u8],
        bounds: &Bounds,
        is_deflated: bool,
    ) -> Result<Option<Incoming>, CloseCode> {
        loop {
            let Some(frame) = &mut self.frame else {
                let Some(frame) = self.read_header(input, is_deflated)? else { return Ok(None) };
                self.accept_header(&frame, bounds)?;
                self.frame = Some(frame);
                continue;
            };
            let length = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(input.len());
            let (piece, rest) = input.split_at(length);
            *input = rest;
            frame.remaining -= length as u64;
            let unmasking = *frame;
            frame.mask.rotate_left(length % 4);
            self.push_payload(unmasking, piece)?;
            if unmasking.remaining > 0 {
                return Ok(None);
            }
            self.frame = None;
            if let Some(incoming) = self.finish_frame(unmasking, bounds)? {
                return Ok(Some(incoming));
            }
        }
    }

    /// Collects the bytes of a header, and checks each part as soon as it has arrived.
    fn read_header(&mut self, input: &mut &[u8], is_deflated: bool) -> Result<Option<Frame>, CloseCode> {
        loop {
            let have = usize::from(self.header_length);
            let header = &self.header[..have];
            let length = header_length(header, is_deflated)?;
            if have == length {
                self.header_length = 0;
                return Ok(Some(Frame::parse(&self.header[..have])?));
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            self.header[have] = byte;
            self.header_length += 1;
        }
    }

    /// Checks a frame by its header and the frames before it, and counts it.
    fn accept_header(&mut self, frame: &Frame, bounds: &Bounds) -> Result<(), CloseCode> {
        match (frame.opcode, self.message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
            (Opcode::Continuation, None) | (Opcode::Message(_), Some(_)) => {
                return Err(CloseCode::ProtocolError);
            }
            (Opcode::Message(kind), None) => {
                self.message = Some(kind);
                self.is_deflated = frame.is_deflated;
                self.fragments = 0;
                self.wire_bytes = 0;
            }
            (Opcode::Continuation, Some(_)) => {}
        }
        self.fragments += 1;
        if self.fragments > bounds.max_fragments {
            return Err(CloseCode::PolicyViolation);
        }
        self.wire_bytes = self.wire_bytes.saturating_add(frame.remaining);
        // Compression makes some messages longer: a fixed code takes up to nine bits for a byte.
        let overhead = if self.is_deflated { bounds.max_message_bytes / 8 + 64 } else { 0 };
        let max_wire_bytes = (bounds.max_message_bytes + overhead) as u64;
        if self.wire_bytes > max_wire_bytes { Err(CloseCode::MessageTooBig) } else { Ok(()) }
    }

    /// Stores a piece of the frame's payload, unmasked. The buffer grows with the bytes that arrive, not with the
    /// announced length.
    fn push_payload(&mut self, frame: Frame, piece: &[u8]) -> Result<(), CloseCode> {
        if matches!(frame.opcode, Opcode::Close | Opcode::Ping | Opcode::Pong) {
            let start = self.control.len();
            self.control.extend_from_slice(piece);
            unmask(&mut self.control[start..], frame.mask);
            return Ok(());
        }
        let start = self.payload.len();
        self.payload.extend_from_slice(piece);
        unmask(&mut self.payload[start..], frame.mask);
        if self.is_deflated { Ok(()) } else { self.check_text(start) }
    }

    /// Inflates the complete message, up to the bound.
    fn inflate(&mut self, bounds: &Bounds) -> Result<(), CloseCode> {
        let wire = std::mem::take(&mut self.payload);
        let mut inflater = Inflater::new();
        let pushed = inflater.push(&wire, &mut self.payload, bounds.max_message_bytes);
        let inflated = pushed.and_then(|()| inflater.finish(&mut self.payload, bounds.max_message_bytes));
        // The text before a fault is checked first, so that the first violation decides the close code.
        self.check_text(0)?;
        Ok(inflated?)
    }

    fn check_text(&mut self, start: usize) -> Result<(), CloseCode> {
        if self.message == Some(MessageKind::Text) {
            self.utf8.push(&self.payload[start..]).map_err(|_| CloseCode::InvalidUtf8)?;
        }
        Ok(())
    }

    /// Returns the message or control frame that this frame completes.
    fn finish_frame(&mut self, frame: Frame, bounds: &Bounds) -> Result<Option<Incoming>, CloseCode> {
        Ok(Some(match frame.opcode {
            Opcode::Close => Incoming::Close(close_code(&std::mem::take(&mut self.control))?),
            Opcode::Ping => Incoming::Ping(std::mem::take(&mut self.control).into()),
            Opcode::Pong => Incoming::Pong(std::mem::take(&mut self.control).into()),
            Opcode::Continuation | Opcode::Message(_) if !frame.is_last => return Ok(None),
            Opcode::Continuation | Opcode::Message(_) => {
                if std::mem::take(&mut self.is_deflated) {
                    self.inflate(bounds)?;
                }
                // The buffer becomes the message, so that an idle connection holds none.
                let payload = std::mem::take(&mut self.payload).freeze();
                match self.message.take() {
                    Some(MessageKind::Binary) => Incoming::Binary(payload),
                    _ => {
                        self.utf8.finish().map_err(|_| CloseCode::InvalidUtf8)?;
                        Incoming::Text(payload)
                    }
                }
            }
        }))
    }
}

/// The length of the header that begins with these bytes, as far as they determine it. An error at the first byte that
/// breaks a rule.
fn header_length(header: &[u8], is_deflated: bool) -> Result<usize, CloseCode> {
    let Some(&first) = header.first() else { return Ok(2) };
    let opcode = Opcode::parse(first, is_deflated)?;
    let Some(&second) = header.get(1) else { return Ok(2) };
    let is_masked = second & 0x80 != 0;
    let is_control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
    let is_last = first & 0x80 != 0;
    if !is_masked || (is_control && (!is_last || u64::from(second & 0x7F) > MAX_CONTROL_BYTES)) {
        return Err(CloseCode::ProtocolError);
    }
    Ok(match second & 0x7F {
        126 => 8,
        127 => MAX_HEADER_BYTES,
        _ => 6,
    })
}

impl Opcode {
    fn parse(first: u8, is_deflated: bool) -> Result<Self, CloseCode> {
        // The reserved bits belong to extensions. RSV1 marks a compressed message, on its first frame only (RFC 7692,
        // section 6).
        let is_message = matches!(first & 0x0F, 0x1 | 0x2);
        let allowed = if is_deflated && is_message { RSV1 } else { 0 };
        if first & 0x70 & !allowed != 0 {
            return Err(CloseCode::ProtocolError);
        }
        Ok(match first & 0x0F {
            0x0 => Self::Continuation,
            0x1 => Self::Message(MessageKind::Text),
            0x2 => Self::Message(MessageKind::Binary),
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return Err(CloseCode::ProtocolError),
        })
    }
}

impl Frame {
    /// Parses a complete header whose first two bytes have been checked.
    fn parse(header: &[u8]) -> Result<Self, CloseCode> {
        let (length, mask) = header[2..].split_at(header.len() - 6);
        let remaining = match header[1] & 0x7F {
            126 | 127 => length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        // RFC 6455, section 5.2: the highest bit is zero, and the length has its shortest form.
        let shortest = match header[1] & 0x7F {
            126 => 126,
            127 => 0x1_0000,
            _ => 0,
        };
        if remaining >> 63 != 0 || remaining < shortest {
            return Err(CloseCode::ProtocolError);
        }
        let mask = [mask[0], mask[1], mask[2], mask[3]];
        Ok(Self {
            opcode: Opcode::parse(header[0], true)?,
            is_last: header[0] & 0x80 != 0,
            is_deflated: header[0] & RSV1 != 0,
            mask,
            remaining,
        })
    }
}

/// The code of a Close frame, by its payload (RFC 6455, sections 5.5.1 and 7.4). `None` if the payload is empty.
fn close_code(payload: &[u8]) -> Result<Option<u16>, CloseCode> {
    match payload {
        [] => Ok(None),
        [_] => Err(CloseCode::ProtocolError),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(CloseCode::ProtocolError);
            }
            std::str::from_utf8(reason).map_err(|_| CloseCode::InvalidUtf8)?;
            Ok(Some(code))
        }
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        // A chunk has eight bytes.
        if let Ok(eight) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(eight) ^ wide).to_ne_bytes());
        }
    }
    chunks.into_remainder().iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

#[cfg(test)]
mod tests;
