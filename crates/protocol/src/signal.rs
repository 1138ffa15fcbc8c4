//! Signals (op 18): short JSON values from one client to the other sessions of a channel, such as "is typing". They have
//! no position and are in no history.

use std::borrow::Cow;
use std::sync::OnceLock;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::channel::ChannelName;
use super::command::{MalformedCommand, check_value};
use super::{SessionId, Variant, event};

/// The maximum length of a signal, in bytes.
pub const MAX_SIGNAL_BYTES: usize = 1_024;

/// Op 18 from a client, with a channel that is not yet validated.
#[derive(Debug, Clone, Deserialize)]
pub struct SignalCommand<'a> {
    /// The name as the client sent it.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// The signal, byte for byte.
    #[serde(borrow)]
    pub signal: &'a RawValue,
}

impl<'a> SignalCommand<'a> {
    /// Parses a JSON object with op 18.
    pub(super) fn parse(text: &'a str) -> Result<Self, MalformedCommand> {
        let command: Self = serde_json::from_str(text).map_err(|_| MalformedCommand)?;
        check_value(command.signal)?;
        Ok(command)
    }
}

impl PartialEq for SignalCommand<'_> {
    fn eq(&self, other: &Self) -> bool {
        (&self.channel, self.signal.get()) == (&other.channel, other.signal.get())
    }
}

impl Eq for SignalCommand<'_> {}

/// A signal of a session, to be sent to the channel's other sessions.
#[derive(Debug, Clone)]
pub struct ClientSignal {
    /// The channel; the session is subscribed to it, and its namespace allows signals.
    pub channel: ChannelName,
    /// The signal, byte for byte.
    pub signal: Box<RawValue>,
}

impl PartialEq for ClientSignal {
    fn eq(&self, other: &Self) -> bool {
        (&self.channel, self.signal.get()) == (&other.channel, other.signal.get())
    }
}

impl Eq for ClientSignal {}

/// A signal for the subscribers of one channel. All threads share it.
#[derive(Debug)]
pub struct Signal {
    channel: ChannelName,
    session: SessionId,
    user: Box<str>,
    signal: Box<RawValue>,
    /// The frame of each encoding, encoded when the first receiver needs it.
    frames: [OnceLock<Bytes>; 3],
}

impl Signal {
    /// A signal that `session` of `user` sent. `signal` is at most [`MAX_SIGNAL_BYTES`] long.
    pub fn new(channel: ChannelName, session: SessionId, user: Box<str>, signal: Box<RawValue>) -> Self {
        Self { channel, session, user, signal, frames: [const { OnceLock::new() }; 3] }
    }

    /// The channel of the signal.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The session that sent the signal, which does not receive it.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The user of the session that sent the signal.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The signal, byte for byte as the client sent it.
    pub fn signal(&self) -> &RawValue {
        &self.signal
    }

    /// The complete frame for receivers of this variant. Only sessions of version 2 receive signals.
    pub fn frame(&self, variant: impl Into<Variant>) -> &Bytes {
        let Variant { encoding, .. } = variant.into();
        self.frames[encoding as usize].get_or_init(|| event::encode_signal(encoding, self))
    }

    /// The approximate memory of the signal in a queue, in bytes.
    pub fn queued_bytes(&self) -> usize {
        size_of::<Self>() + self.signal.get().len() + self.user.len() + self.channel.as_str().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    #[test]
    fn a_signal_names_its_channel_and_its_user() {
        let json = RawValue::from_string(r#"{"typing": true}"#.to_owned()).unwrap();
        let signal = Signal::new(ChannelName::parse("room:7").unwrap(), SessionId(1), "4\"2".into(), json);
        let frame = std::str::from_utf8(&signal.frame(Version::V2)[2..]).unwrap();
        assert_eq!(frame, r#"{"op":18,"channel":"room:7","user":"4\"2","signal":{"typing": true}}"#);
    }
}
