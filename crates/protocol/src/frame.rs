//! Encodes the WebSocket frames of a server: unfragmented and unmasked (RFC 6455, section 5.2).

use bytes::{BufMut, Bytes, BytesMut};

use super::deflate::deflate;

/// Shorter messages are not compressed: compression would not save a packet.
const MIN_DEFLATED_BYTES: usize = 64;

/// The kinds of frame that the gateway sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A text message in one frame.
    Text,
    /// A binary message in one frame (only the echo example sends these).
    Binary,
    /// The closing handshake.
    Close,
    /// The answer to a Ping.
    Pong,
}

impl FrameKind {
    /// Whether the frame carries a message. Only messages may be compressed.
    const fn is_message(self) -> bool {
        matches!(self, Self::Text | Self::Binary)
    }

    /// The first byte of the frame: FIN and the opcode, without extension bits.
    pub const fn first_byte(self) -> u8 {
        const FIN: u8 = 0x80;
        FIN | match self {
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Pong => 0xA,
        }
    }
}

/// Encodes a frame with its header. The payload of a control frame must have at most 125 bytes.
pub fn encode(kind: FrameKind, payload: &[u8]) -> Bytes {
    debug_assert!(kind.is_message() || payload.len() <= 125);
    put_frame(kind.first_byte(), payload)
}

/// Encodes a compressed frame (RFC 7692). Only for connections that negotiated compression.
pub fn encode_deflated(kind: FrameKind, payload: &[u8]) -> Bytes {
    const RSV1: u8 = 0x40;
    debug_assert!(kind.is_message());
    put_frame(kind.first_byte() | RSV1, &deflate(payload))
}

/// Encodes a compressed frame, or an uncompressed one if it is shorter: compression of a message is optional.
pub fn encode_shorter(kind: FrameKind, payload: &[u8]) -> Bytes {
    let plain = encode(kind, payload);
    if payload.len() < MIN_DEFLATED_BYTES {
        return plain;
    }
    let deflated = encode_deflated(kind, payload);
    if deflated.len() < plain.len() { deflated } else { plain }
}

fn put_frame(first: u8, payload: &[u8]) -> Bytes {
    let length_bytes = match payload.len() {
        0..=125 => 1,
        126..=0xFFFF => 3,
        _ => 9,
    };
    // Exact, because `Bytes` keeps the capacity of a longer buffer in a second allocation.
    let mut frame = BytesMut::with_capacity(1 + length_bytes + payload.len());
    frame.put_u8(first);
    put_length(&mut frame, payload.len());
    frame.put_slice(payload);
    frame.freeze()
}

/// Encodes a Close frame. Without a code the payload is empty, and the peer sees no reason (RFC 6455, section 7.1.5).
pub fn encode_close(code: Option<u16>, reason: &str) -> Bytes {
    let mut payload = BytesMut::with_capacity(2 + reason.len());
    if let Some(code) = code {
        payload.put_u16(code);
        payload.put_slice(reason.as_bytes());
    }
    encode(FrameKind::Close, &payload)
}

fn put_length(frame: &mut BytesMut, length: usize) {
    match length {
        0..=125 => frame.put_u8(length as u8),
        126..=0xFFFF => {
            frame.put_u8(126);
            frame.put_u16(length as u16);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_has_its_shortest_form() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = encode(FrameKind::Text, &vec![b'x'; length]);
            assert_eq!(frame[..header.len()], header[..], "length {length}");
            assert_eq!(frame.len(), header.len() + length);
        }
    }

    #[test]
    fn a_close_frame_carries_code_and_reason_or_nothing() {
        assert_eq!(encode_close(Some(4001), "no")[..], [0x88, 4, 0x0F, 0xA1, b'n', b'o']);
        assert_eq!(encode_close(None, "ignored")[..], [0x88, 0]);
    }
}
