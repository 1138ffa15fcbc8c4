//! The payload of a signal in Redis: `~<session, 32 hexadecimal digits> <user> <json>`.

use serde_json::value::RawValue;

use super::SessionId;
use super::channel::{ChannelName, MAX_CHANNEL_BYTES};
use super::payload_limits::PayloadLimits;
use super::publication::PayloadError;
use super::signal::{MAX_SIGNAL_BYTES, Signal};

/// The first byte of the payload. No JSON value begins with it, so no message can be mistaken for a signal.
const MARK: char = '~';

/// The number of hexadecimal digits of a session id.
const SESSION_DIGITS: usize = 32;

/// The part of a payload before the signal is shorter: the mark, the session, and the user with the spaces around it.
const MAX_HEAD_BYTES: usize = 1 + SESSION_DIGITS + 1 + MAX_CHANNEL_BYTES + 1;

/// A parsed payload, not yet assigned to a channel.
#[derive(Debug)]
pub struct SignalPayload {
    session: SessionId,
    user: Box<str>,
    signal: Box<RawValue>,
}

impl SignalPayload {
    /// Whether a payload is meant as a signal.
    pub fn is_signal(payload: &[u8]) -> bool {
        payload.first() == Some(&(MARK as u8))
    }

    /// Parses a payload. `max_depth`: the maximum nesting depth of the signal.
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
        let text = std::str::from_utf8(payload).ok()?.strip_prefix(MARK)?;
        let (session, rest) = text.split_once(' ')?;
        let (user, json) = rest.split_once(' ')?;
        ChannelName::of_user(user).ok()?;
        let signal = limits.parse(json).ok()?;
        Some(Self { session: parse_session(session)?, user: user.into(), signal })
    }

    /// The signal on a channel.
    pub fn on(self, channel: ChannelName) -> Signal {
        Signal::new(channel, self.session, self.user, self.signal)
    }

    /// The payload of a signal.
    pub fn encode(signal: &Signal) -> String {
        format!("{MARK}{} {} {}", signal.session(), signal.user(), signal.signal())
    }
}

/// Accepts only the form in which a session id is written, so that a payload has one meaning.
fn parse_session(digits: &str) -> Option<SessionId> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_id = digits.len() == SESSION_DIGITS && digits.bytes().all(is_digit);
    is_id.then(|| u128::from_str_radix(digits, 16).ok().map(SessionId))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "00000000000000000000000000000a0f";

    fn parse(payload: &str) -> Result<Signal, PayloadError> {
        SignalPayload::parse(payload.as_bytes(), 4).map(|payload| payload.on(ChannelName::all()))
    }

    #[test]
    fn a_payload_names_session_user_and_signal() {
        let text = format!(r#"~{SESSION} 42 {{"typing": true}}"#);
        let signal = parse(&text).unwrap();
        assert_eq!((signal.session(), signal.user()), (SessionId(0xa0f), "42"));
        assert_eq!(signal.signal().get(), r#"{"typing": true}"#);
        assert_eq!(SignalPayload::encode(&signal), text);
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
            assert_eq!(parse(&bad).err(), Some(PayloadError::BadSignal), "{bad}");
        }
        assert!(SignalPayload::parse(b"~\xFF", 4).is_err());
    }
}
