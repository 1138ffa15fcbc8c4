//! Signals: short messages of one session to the other sessions of a channel. They are never stored.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::SessionId;
use super::channel::{ChannelName, MAX_CHANNEL_BYTES};
use super::frame::{self, FrameKind};
use super::payload_limits::PayloadLimits;
use super::publication::PayloadError;

/// The maximum length of a signal, in bytes.
pub const MAX_SIGNAL_BYTES: usize = 1024;

/// The first byte of a signal's payload. No JSON value begins with it, so no message can be mistaken for a signal.
const MARK: u8 = b'~';

/// The number of hexadecimal digits of a session id.
const SESSION_DIGITS: usize = 32;

/// The part of a payload before the signal is shorter: the mark, the session, and the user with the spaces around it.
const MAX_HEAD_BYTES: usize = 1 + SESSION_DIGITS + 1 + MAX_CHANNEL_BYTES + 1;

/// The length of op 18 without its channel, user and signal, in bytes, rounded up.
const FRAME_OVERHEAD: usize = 48;

/// A signal for the sessions of a channel. All threads share it.
#[derive(Debug)]
pub struct Signal {
    channel: ChannelName,
    content: SignalContent,
    /// The WebSocket frame without and with compression, encoded when the first receiver needs it.
    frames: [OnceLock<Bytes>; 2],
}

/// A signal and its sender.
#[derive(Debug, Clone)]
pub struct SignalContent {
    /// The sending session, which does not receive the signal. An id of zeros names no session.
    pub session: SessionId,
    /// The id of the sending user.
    pub user: Box<str>,
    /// The signal, byte for byte.
    pub signal: Arc<RawValue>,
}

impl SignalContent {
    /// Whether a payload of a channel is meant as a signal.
    pub fn is_signal(payload: &[u8]) -> bool {
        payload.first() == Some(&MARK)
    }

    /// Parses `~<session, 32 hexadecimal digits> <user> <json>`. `max_depth`: the maximum nesting depth of the signal.
    ///
    /// # Errors
    /// The payload is invalid and is dropped.
    pub fn parse(payload: &[u8], max_depth: usize) -> Result<Self, PayloadError> {
        if payload.len() > MAX_HEAD_BYTES + MAX_SIGNAL_BYTES {
            return Err(PayloadError::BadSignal);
        }
        Self::parse_parts(payload, PayloadLimits { max_bytes: MAX_SIGNAL_BYTES, max_depth })
            .ok_or(PayloadError::BadSignal)
    }

    fn parse_parts(payload: &[u8], limits: PayloadLimits) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?.strip_prefix(char::from(MARK))?;
        let (session, rest) = text.split_once(' ')?;
        let (user, json) = rest.split_once(' ')?;
        ChannelName::of_user(user).ok()?;
        let signal = limits.parse(json).ok()?.into();
        Some(Self { session: parse_session(session)?, user: user.into(), signal })
    }

    /// The payload that [`parse`](Self::parse) accepts.
    pub fn to_payload(&self) -> String {
        format!("{}{} {} {}", char::from(MARK), self.session, self.user, self.signal)
    }
}

/// Only the form that a session id is written in, so a payload has one meaning.
fn parse_session(digits: &str) -> Option<SessionId> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_id = digits.len() == SESSION_DIGITS && digits.bytes().all(is_digit);
    is_id.then(|| u128::from_str_radix(digits, 16).ok().map(SessionId))?
}

impl Signal {
    /// Creates a signal for the sessions of `channel`.
    pub fn new(channel: ChannelName, content: SignalContent) -> Self {
        Self { channel, content, frames: [const { OnceLock::new() }; 2] }
    }

    /// The channel of the signal.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The signal and its sender.
    pub fn content(&self) -> &SignalContent {
        &self.content
    }

    /// Whether this signal has the same sender as `other`, which is older, and therefore replaces it.
    pub fn replaces(&self, other: &Self) -> bool {
        let (new, old) = (&self.content, &other.content);
        new.session == old.session && new.user == old.user
    }

    /// The complete WebSocket frame of op 18. Only version 2 has this op.
    pub fn frame(&self, is_deflated: bool) -> &Bytes {
        self.frames[usize::from(is_deflated)].get_or_init(|| self.encode(is_deflated))
    }

    fn encode(&self, is_deflated: bool) -> Bytes {
        #[derive(Serialize)]
        struct SignalFields<'a> {
            op: u64,
            channel: &'a str,
            user: &'a str,
            signal: &'a RawValue,
        }
        let SignalContent { user, signal, .. } = &self.content;
        let fields = SignalFields { op: 18, channel: self.channel.as_str(), user, signal };
        let mut json = Vec::with_capacity(self.text_bytes() + FRAME_OVERHEAD);
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(&mut json, &fields);
        let encode = if is_deflated { frame::encode_shorter } else { frame::encode };
        encode(FrameKind::Text, &json)
    }

    fn text_bytes(&self) -> usize {
        self.channel.as_str().len() + self.content.user.len() + self.content.signal.get().len()
    }

    /// The approximate memory of the signal in a queue, in bytes.
    pub fn queued_bytes(&self) -> usize {
        size_of::<Self>() + self.text_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(payload: &str) -> Result<SignalContent, PayloadError> {
        SignalContent::parse(payload.as_bytes(), 4)
    }

    const SESSION: &str = "00000000000000000000000000000a0f";

    #[test]
    fn a_payload_names_session_user_and_signal() {
        let content = parse(&format!(r#"~{SESSION} 42 {{"typing": true}}"#)).unwrap();
        assert_eq!((content.session, &*content.user), (SessionId(0xa0f), "42"));
        assert_eq!(content.signal.get(), r#"{"typing": true}"#);
        assert_eq!(parse(&content.to_payload()).unwrap().to_payload(), content.to_payload());
    }

    #[test]
    fn an_invalid_payload_is_refused() {
        let (longest, too_long) = ("1".repeat(MAX_SIGNAL_BYTES), "1".repeat(MAX_SIGNAL_BYTES + 1));
        assert!(parse(&format!("~{SESSION} 42 {longest}")).is_ok());
        let upper = SESSION.to_uppercase();
        for bad in [
            "~".to_owned(),
            format!("~{SESSION}"),
            format!("~{SESSION} 42"),
            format!("~{SESSION} 42 "),
            format!("~{SESSION}  1"),
            format!("~{SESSION} 4\u{1}2 1"),
            format!("~{SESSION} 42 {{"),
            format!("~{SESSION} 42 1 2"),
            format!("~{SESSION} 42 [[[[[1]]]]]"),
            format!(r#"~{SESSION} 42 "\ud800""#),
            format!("~{SESSION} 42 {too_long}"),
            format!("~{SESSION}0 42 1"),
            format!("~{} 42 1", &SESSION[1..]),
            format!("~+{} 42 1", &SESSION[1..]),
            format!("~{upper} 42 1"),
            format!(" ~{SESSION} 42 1"),
            "{}".to_owned(),
        ] {
            assert_eq!(parse(&bad).unwrap_err(), PayloadError::BadSignal, "{bad}");
        }
        assert_eq!(SignalContent::parse(b"~\xFF", 4).unwrap_err(), PayloadError::BadSignal);
    }

    #[test]
    fn the_frame_names_channel_and_user() {
        let content = parse(&format!(r#"~{SESSION} 42 {{"typing":true}}"#)).unwrap();
        let signal = Signal::new(ChannelName::parse("room:7").unwrap(), content);
        let text = std::str::from_utf8(&signal.frame(false)[2..]).unwrap();
        assert_eq!(text, r#"{"op":18,"channel":"room:7","user":"42","signal":{"typing":true}}"#);
    }

    #[test]
    fn a_newer_signal_replaces_one_of_the_same_session_and_user() {
        let signal = |session: &str, user: &str| {
            let content = parse(&format!("~{session} {user} 1")).unwrap();
            Signal::new(ChannelName::all(), content)
        };
        let (other, first) = ("00000000000000000000000000000001", signal(SESSION, "42"));
        assert!(signal(SESSION, "42").replaces(&first));
        assert!(!signal(SESSION, "43").replaces(&first) && !signal(other, "42").replaces(&first));
    }
}
