//! What a client of the load generator says and hears: bytes, made and taken apart without any IO.

use std::ops::Range;

/// What the handshake is answered with when all is well.
const ACCEPTED: &[u8] = b"HTTP/1.1 101 ";
/// How a message of ours begins in version 1; in version 2 the channel stands before it.
const MESSAGE: &[u8] = br#""message":{"at":""#;
/// The digits of the time that a message was due.
const AT_DIGITS: usize = 16;

/// The upgrade request. The key is the sample of RFC 6455: nobody checks the answer.
pub(crate) fn handshake(is_v2: bool) -> String {
    let path = if is_v2 { "/gateway?v=2" } else { "/gateway" };
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A client's text frame, under a mask of zeros: legal, and as cheap as can be.
pub(crate) fn client_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// A server's text frame.
pub(crate) fn server_frame(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        short @ 0..=125 => frame.push(short as u8),
        medium @ 126..=0xFFFF => {
            frame.push(126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(text);
    frame
}

/// Where a server's first frame is: its first byte, and its payload. `None` until all of it is there.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<(u8, Range<usize>)> {
    let (header, length) = match *bytes.get(1)? {
        126 => (4, u64::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127 => (10, bytes.get(2..10)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
        short => (2, u64::from(short)),
    };
    let end = usize::try_from(length).ok()?.checked_add(header)?;
    (bytes.len() >= end).then_some((bytes[0], header..end))
}

/// The answer to the handshake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// Not whole yet.
    Waiting,
    /// Accepted; frames begin at this byte.
    Accepted(usize),
    /// Refused with this status.
    Refused(u16),
}

/// Reads the answer to the handshake.
pub(crate) fn upgrade(bytes: &[u8]) -> Upgrade {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Upgrade::Waiting };
    if bytes.starts_with(ACCEPTED) {
        return Upgrade::Accepted(end + 4);
    }
    let status = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    Upgrade::Refused(status.unwrap_or(0))
}

/// What a client does something about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// Op 2.
    Ready,
    /// Op 3: a message of ours.
    Message(Stamp),
    /// Op 10, with what must be sent back.
    Heartbeat(&'a str),
    /// Anything else.
    Other,
}

/// What a message says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When it was due, in microseconds since the generator began.
    pub(crate) at_us: u64,
    /// The part of the run that it belongs to.
    pub(crate) phase: u8,
}

/// Reads a text frame's payload.
pub(crate) fn hear(payload: &[u8]) -> Heard<'_> {
    match payload.strip_prefix(br#"{"op":"#) {
        Some([b'3', b',', rest @ ..]) => stamp(rest).map_or(Heard::Other, Heard::Message),
        Some([b'2', b',', ..]) => Heard::Ready,
        Some([b'1', b'0', b',', rest @ ..]) => {
            std::str::from_utf8(rest).map_or(Heard::Other, Heard::Heartbeat)
        }
        _ => Heard::Other,
    }
}

fn stamp(payload: &[u8]) -> Option<Stamp> {
    // In version 1 it stands at the front, and nothing has to be searched.
    let start = if payload.starts_with(MESSAGE) { 0 } else { find(payload, MESSAGE)? } + MESSAGE.len();
    let digits = payload.get(start..start + AT_DIGITS)?;
    let at_us = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let phase = payload.get(start + AT_DIGITS + r#"","phase":"#.len())?.checked_sub(b'0')?;
    Some(Stamp { at_us, phase })
}

/// The text between `name` (with its opening quote) and the next quote.
pub(crate) fn text_after<'a>(payload: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let start = find(payload, name)? + name.len();
    let end = start + payload[start..].iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&payload[start..end]).ok()
}

/// Where `what` begins.
pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A message of `bytes` bytes, or as few more as it takes to carry its stamp.
pub(crate) fn message(stamp: Stamp, bytes: usize) -> String {
    let Stamp { at_us, phase } = stamp;
    let mut text = format!(r#"{{"at":"{at_us:016}","phase":{phase},"filling":""#);
    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len() + 2)));
    text.push_str("\"}");
    text
}

/// The fewest bytes of a [`message`].
pub(crate) const MIN_MESSAGE_BYTES: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { at_us: 1_234_567, phase: 2 };

    #[test]
    fn a_message_says_when_it_was_due_and_is_as_long_as_was_asked() {
        for bytes in [MIN_MESSAGE_BYTES, 128, 5_000] {
            let message = message(STAMP, bytes);
            assert_eq!(message.len(), bytes);
            for frame in [
                format!(r#"{{"op":3,"message":{message}}}"#),
                format!(r#"{{"op":3,"channel":"all","position":"1-2","message":{message}}}"#),
            ] {
                assert_eq!(hear(frame.as_bytes()), Heard::Message(STAMP));
            }
        }
    }

    #[test]
    fn frames_are_found_whole_or_not_at_all() {
        for length in [0, 5, 125, 126, 65_535, 65_536] {
            let payload = "x".repeat(length);
            let frame = server_frame(payload.as_bytes());
            let (first, range) = first_frame(&frame).unwrap();
            assert_eq!((first, &frame[range]), (0x81, payload.as_bytes()));
            assert_eq!(first_frame(&frame[..frame.len() - 1]), None);
        }
    }

    #[test]
    fn answers_to_the_handshake_are_told_apart() {
        assert_eq!(upgrade(b"HTTP/1.1 101 Switching"), Upgrade::Waiting);
        assert_eq!(upgrade(b"HTTP/1.1 101 S\r\n\r\n\x81\x00"), Upgrade::Accepted(18));
        assert_eq!(upgrade(b"HTTP/1.1 503 Full\r\n\r\n"), Upgrade::Refused(503));
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        for payload in
            [&b"{\"op\":3,\"message\":{\"x\":1}}"[..], b"{\"op\":0,\"heartbeat_interval\":1}", b"", b"\xFF"]
        {
            assert_eq!(hear(payload), Heard::Other);
        }
        assert_eq!(hear(br#"{"op":2,"user":"7"}"#), Heard::Ready);
        assert_eq!(hear(br#"{"op":10,"time":5}"#), Heard::Heartbeat("\"time\":5}"));
    }
}
