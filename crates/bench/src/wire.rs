//! Encodes and parses the bytes of clients, without IO.

use std::ops::Range;

/// The beginning of the response to an accepted handshake.
const ACCEPTED: &[u8] = b"HTTP/1.1 101 ";
/// The beginning of the generator's messages in version 1. In version 2 the channel precedes it.
const MESSAGE: &[u8] = br#""message":{"at":""#;
/// The same in a signal.
const SIGNAL: &[u8] = br#""signal":{"at":""#;
/// The name of the phase in a message or signal.
const PHASE: &[u8] = br#""phase":"#;
/// The beginning of the generator's message to the inbox, up to its id.
const SEND: &[u8] = br#"{"op":16,"id":""#;
/// The same in the acknowledgement.
const SENT: &[u8] = br#""id":""#;
/// The number of digits of a due time.
const AT_DIGITS: usize = 16;

/// The upgrade request. The key is the sample of RFC 6455, because the response is not checked.
pub(crate) fn handshake(is_v2: bool, is_deflated: bool) -> String {
    let path = if is_v2 { "/gateway?v=2" } else { "/gateway" };
    let extensions = if is_deflated { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    upgrade_request(path, extensions)
}

/// The upgrade request for this path, with further header lines.
pub(crate) fn upgrade_request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A client's text frame. A mask of zeros is valid and needs no masking.
pub(crate) fn client_frame(text: &str) -> Vec<u8> {
    frame(0x80, &[0; 4], text)
}

pub(crate) fn server_frame(text: &str) -> Vec<u8> {
    frame(0, &[], text)
}

fn frame(mask_bit: u8, mask: &[u8], text: &str) -> Vec<u8> {
    let (short, long) = match text.len() {
        short @ 0..=125 => (short as u8, Vec::new()),
        medium @ 126..=0xFFFF => (126, (medium as u16).to_be_bytes().to_vec()),
        long => (127, (long as u64).to_be_bytes().to_vec()),
    };
    [&[0x81, mask_bit | short], &long[..], mask, text.as_bytes()].concat()
}

/// The first frame of a server: its first byte, and the range of its payload. `None` until the frame is complete.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<(u8, Range<usize>)> {
    let (header, length) = match *bytes.get(1)? {
        126 => (4, u64::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127 => (10, bytes.get(2..10)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
        short => (2, u64::from(short)),
    };
    let end = usize::try_from(length).ok()?.checked_add(header)?;
    (bytes.len() >= end).then_some((bytes[0], header..end))
}

/// The index of the first frame after an accepted handshake; `None` until the response is complete. The error is the
/// status of a refusal.
pub(crate) fn upgrade(bytes: &[u8]) -> Result<Option<usize>, u16> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    if bytes.starts_with(ACCEPTED) {
        return Ok(Some(end + 4));
    }
    let status = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    Err(status.unwrap_or(0))
}

/// The events that a client reacts to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ServerEvent<'a> {
    /// Op 2.
    Ready,
    /// Op 3, 17 or 18: a message, acknowledgement or signal of the generator.
    Message(Stamp),
    /// Op 6: the state of a subscription.
    Subscription,
    /// Op 10, with the rest of the frame, which the client sends back.
    Heartbeat(&'a str),
    /// Anything else.
    Other,
}

/// The stamp in each message of the generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The due time, in microseconds since the start of the run.
    pub(crate) at_us: u64,
    /// The phase of the run.
    pub(crate) phase: u8,
}

pub(crate) fn parse(payload: &[u8]) -> ServerEvent<'_> {
    match payload.strip_prefix(br#"{"op":"#) {
        Some([b'3', b',', rest @ ..]) => {
            stamp(rest, MESSAGE).map_or(ServerEvent::Other, ServerEvent::Message)
        }
        Some([b'1', b'8', b',', rest @ ..]) => {
            stamp(rest, SIGNAL).map_or(ServerEvent::Other, ServerEvent::Message)
        }
        Some([b'1', b'7', b',', rest @ ..]) => {
            sent_stamp(rest).map_or(ServerEvent::Other, ServerEvent::Message)
        }
        Some([b'2', b',', ..]) => ServerEvent::Ready,
        Some([b'6', b',', ..]) => ServerEvent::Subscription,
        Some([b'1', b'0', b',', rest @ ..]) => {
            std::str::from_utf8(rest).map_or(ServerEvent::Other, ServerEvent::Heartbeat)
        }
        _ => ServerEvent::Other,
    }
}

/// The stamp after `before`, the beginning of the generator's messages.
pub(crate) fn stamp(payload: &[u8], before: &[u8]) -> Option<Stamp> {
    // In version 1 the stamp is at the front, so no search is needed.
    let start = if payload.starts_with(before) { 0 } else { find(payload, before)? } + before.len();
    let digits = payload.get(start..start + AT_DIGITS)?;
    let at_us = std::str::from_utf8(digits).ok()?.parse().ok()?;
    // Phase follows, unless a server has parsed the message and written its fields in another order.
    let rest = &payload[start + AT_DIGITS..];
    let phase = rest.get(find(rest, PHASE)? + PHASE.len())?.checked_sub(b'0')?;
    Some(Stamp { at_us, phase })
}

/// The id of a message to the inbox. It has the stamp, because the acknowledgement has only the id.
pub(crate) fn send_id(Stamp { at_us, phase }: Stamp, number: u64) -> String {
    format!("{at_us:016}-{phase}-{number}")
}

fn sent_stamp(payload: &[u8]) -> Option<Stamp> {
    let (at_us, rest) = payload.strip_prefix(SENT)?.split_at_checked(AT_DIGITS)?;
    let at_us = std::str::from_utf8(at_us).ok()?.parse().ok()?;
    let phase = rest.strip_prefix(b"-")?.first()?.checked_sub(b'0')?;
    Some(Stamp { at_us, phase })
}

/// The acknowledgements of the messages to the inbox in these bytes of a client, as frames.
pub(crate) fn acknowledgements(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut frames) = (bytes, Vec::new());
    while let Some(start) = find(rest, SEND) {
        rest = &rest[start..];
        let Some(id) = text_after(rest, SEND) else { break };
        frames.extend(server_frame(&format!(r#"{{"op":17,"id":"{id}"}}"#)));
        rest = &rest[SEND.len()..];
    }
    frames
}

/// The text from the end of `name` to the next quote. `name` ends with the opening quote.
pub(crate) fn text_after<'a>(payload: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let start = find(payload, name)? + name.len();
    let end = start + payload[start..].iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&payload[start..end]).ok()
}

/// The index of `what` in `bytes`.
pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A message of `bytes` bytes, but at least of the size of its stamp.
pub(crate) fn message(stamp: Stamp, bytes: usize) -> String {
    let Stamp { at_us, phase } = stamp;
    let mut text = format!(r#"{{"at":"{at_us:016}","phase":{phase},"filling":""#);
    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len() + 2)));
    text.push_str("\"}");
    text
}

/// The minimum size of a [`message`].
pub(crate) const MIN_MESSAGE_BYTES: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { at_us: 1_234_567, phase: 2 };

    #[test]
    fn message_has_its_stamp_and_the_requested_size() {
        for bytes in [MIN_MESSAGE_BYTES, 128, 5_000] {
            let message = message(STAMP, bytes);
            assert_eq!(message.len(), bytes);
            for frame in [
                format!(r#"{{"op":3,"message":{message}}}"#),
                format!(r#"{{"op":3,"channel":"all","position":"1-2","message":{message}}}"#),
                format!(r#"{{"op":18,"channel":"bench:room","user":"7","signal":{message}}}"#),
            ] {
                assert_eq!(parse(frame.as_bytes()), ServerEvent::Message(STAMP));
            }
        }
    }

    #[test]
    fn each_message_to_the_inbox_is_acknowledged_by_id() {
        let send =
            |number| format!(r#"{{"op":16,"id":"{}","channel":"c","message":1}}"#, send_id(STAMP, number));
        let frames = acknowledgements(&[client_frame(&send(7)), client_frame(&send(8))].concat());
        let (_, first) = first_frame(&frames).unwrap();
        let (_, second) = first_frame(&frames[first.end..]).unwrap();
        for (payload, number) in [(&frames[first.clone()], '7'), (&frames[first.end..][second], '8')] {
            assert_eq!(parse(payload), ServerEvent::Message(STAMP));
            assert!(payload.ends_with(format!("-{number}\"}}").as_bytes()));
        }
        assert!(acknowledgements(b"{\"op\":11}").is_empty());
    }

    #[test]
    fn only_complete_frames_are_found() {
        for length in [0, 5, 125, 126, 65_535, 65_536] {
            let payload = "x".repeat(length);
            let frame = server_frame(&payload);
            let (first, range) = first_frame(&frame).unwrap();
            assert_eq!((first, &frame[range]), (0x81, payload.as_bytes()));
            assert_eq!(first_frame(&frame[..frame.len() - 1]), None);
        }
    }

    #[test]
    fn handshake_responses_are_distinguished() {
        assert_eq!(upgrade(b"HTTP/1.1 101 Switching"), Ok(None));
        assert_eq!(upgrade(b"HTTP/1.1 101 S\r\n\r\n\x81\x00"), Ok(Some(18)));
        assert_eq!(upgrade(b"HTTP/1.1 503 Full\r\n\r\n"), Err(503));
    }

    #[test]
    fn foreign_messages_are_ignored() {
        for payload in
            [&b"{\"op\":3,\"message\":{\"x\":1}}"[..], b"{\"op\":0,\"heartbeat_interval\":1}", b"", b"\xFF"]
        {
            assert_eq!(parse(payload), ServerEvent::Other);
        }
        assert_eq!(parse(br#"{"op":2,"user":"7"}"#), ServerEvent::Ready);
        assert_eq!(parse(br#"{"op":10,"time":5}"#), ServerEvent::Heartbeat("\"time\":5}"));
    }
}
