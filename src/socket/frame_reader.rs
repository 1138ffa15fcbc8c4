//! Reads a client's bytes, however they are cut, and returns whole messages.
//!
//! It judges each frame by its header, before anything of it is kept (RFC 6455, section 5.2), so that a frame
//! that is too big costs nothing; it checks text as it arrives (compressed text when it is complete); and it puts
//! fragments together. It keeps no
//! more than one message and one control frame, and stops at the first violation. It does no IO.

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

/// What a client may send, within which bounds.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The longest message, in bytes, however it is cut into frames.
    pub max_message_bytes: usize,
    /// The most frames of one message, empty ones included.
    pub max_fragments: u32,
}

/// One whole thing that a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text message, known to be UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// To be answered with a Pong of the same payload.
    Ping(Bytes),
    /// An answer to a Ping, or none.
    Pong(Bytes),
    /// The closing handshake, with the code if there is one.
    Close(Option<u16>),
}

/// The reader of one socket. Between messages it holds nothing: most sockets are silent most of the time.
#[derive(Debug)]
pub struct FrameReader {
    bounds: Bounds,
    /// Whether permessage-deflate has been negotiated.
    is_deflated: bool,
    partial: Option<Box<Partial>>,
}

/// What has arrived of a frame or message that is not complete.
#[derive(Debug, Default)]
struct Partial {
    header: [u8; MAX_HEADER_BYTES],
    header_length: u8,
    frame: Option<Frame>,
    message: Option<MessageKind>,
    fragments: u32,
    /// The message so far, as it came: a compressed one is inflated when all of it is there. Until then it costs
    /// what was sent of it, not what it stands for, and no window.
    payload: BytesMut,
    /// How many bytes of it have been announced.
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
    /// A guard at the start of a connection. `is_deflated`: messages may be compressed.
    pub fn new(bounds: Bounds, is_deflated: bool) -> Self {
        Self { bounds, is_deflated, partial: None }
    }

    /// Reads on from `input`, and takes from it what it has read. `Ok(None)` when all of it has been read and
    /// nothing is complete yet. After an error it must not be asked again.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, CloseCode> {
        if input.is_empty() {
            return Ok(None);
        }
        let partial = self.partial.get_or_insert_default();
        let incoming = partial.read(input, &self.bounds, self.is_deflated)?;
        if incoming.is_some() && partial.message.is_none() {
            self.partial = None;
        }
        Ok(incoming)
    }

    /// Whether a message or frame has begun and is not complete.
    pub fn is_mid_message(&self) -> bool {
        self.partial.is_some()
    }

    /// How many bytes are allocated for what has arrived of a message and a control frame: at most twice the bound,
    /// as a buffer grows by doubling, and none between messages.
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

    /// Gathers the header's bytes; judges each part as soon as it is there.
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

    /// Judges a frame by its header and by what came before it.
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
        // What cannot be compressed gets longer: a fixed code spends up to nine bits on a byte.
        let overhead = if self.is_deflated { bounds.max_message_bytes / 8 + 64 } else { 0 };
        let max_wire_bytes = (bounds.max_message_bytes + overhead) as u64;
        if self.wire_bytes > max_wire_bytes { Err(CloseCode::MessageTooBig) } else { Ok(()) }
    }

    /// Keeps a piece of the frame's payload, unmasked. What is kept grows with what has arrived, never with what
    /// was announced.
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

    /// Inflates the message, which is complete, up to the bound.
    fn inflate(&mut self, bounds: &Bounds) -> Result<(), CloseCode> {
        let wire = std::mem::take(&mut self.payload);
        let mut inflater = Inflater::new();
        let pushed = inflater.push(&wire, &mut self.payload, bounds.max_message_bytes);
        let inflated = pushed.and_then(|()| inflater.finish(&mut self.payload, bounds.max_message_bytes));
        // What came before the fault is judged before it.
        self.check_text(0)?;
        Ok(inflated?)
    }

    fn check_text(&mut self, start: usize) -> Result<(), CloseCode> {
        if self.message == Some(MessageKind::Text) {
            self.utf8.push(&self.payload[start..]).map_err(|_| CloseCode::InvalidUtf8)?;
        }
        Ok(())
    }

    /// The frame is complete: what does it complete?
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
                // Given away whole, so that an idle connection keeps no buffer.
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

/// How long the header is that begins with these bytes, as far as they tell; a violation as soon as they show
/// one.
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
        // The reserved bits belong to extensions. The first one marks a compressed message, on its first
        // frame only (RFC 7692, section 6).
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
    /// Reads a whole header whose first two bytes have been judged.
    fn parse(header: &[u8]) -> Result<Self, CloseCode> {
        let (length, mask) = header[2..].split_at(header.len() - 6);
        let remaining = match header[1] & 0x7F {
            126 | 127 => length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        // RFC 6455 section 5.2: the highest bit is zero, and the shortest form is used.
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

/// The code in a Close frame's payload, if that is well formed (RFC 6455, sections 5.5.1 and 7.4).
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
