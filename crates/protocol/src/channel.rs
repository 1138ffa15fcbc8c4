//! Channel names, and the patterns by which tokens grant channels.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest channel name, in bytes.
pub const MAX_CHANNEL_BYTES: usize = 255;

/// A valid channel name: `all`, or `<namespace>:<name>` in printable ASCII without space or braces, at most
/// [`MAX_CHANNEL_BYTES`] long. A clone shares the text.
///
/// Braces are excluded because Redis Cluster reads them as a hash tag. Control characters and spaces are excluded
/// because names appear in commands and logs.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// Why a text is not a channel name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelNameError {
    /// Longer than [`MAX_CHANNEL_BYTES`].
    #[error("a channel name has at most {MAX_CHANNEL_BYTES} bytes")]
    TooLong,
    /// A byte is not printable ASCII, or is a space or brace.
    #[error("a channel name is printable ASCII without space or braces")]
    BadCharacter,
    /// Neither `all` nor `<namespace>:<name>`.
    #[error("a channel is `all` or `<namespace>:<name>`")]
    NoNamespace,
}

impl ChannelName {
    /// Validates `text` and copies it.
    pub fn parse(text: &str) -> Result<Self, ChannelNameError> {
        if text.len() > MAX_CHANNEL_BYTES {
            return Err(ChannelNameError::TooLong);
        }
        if !text.bytes().all(is_name_byte) {
            return Err(ChannelNameError::BadCharacter);
        }
        match text.split_once(':') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(Self(text.into())),
            None if text == "all" => Ok(Self(text.into())),
            _ => Err(ChannelNameError::NoNamespace),
        }
    }

    /// The channel that every session of a user joins at Identify: `user:<id>`.
    pub fn of_user(user: &str) -> Result<Self, ChannelNameError> {
        Self::parse(&format!("user:{user}"))
    }

    /// The id of the user whose own channel this is; `None` for any other channel.
    pub fn user_id(&self) -> Option<&str> {
        self.0.strip_prefix("user:")
    }

    /// The id of the user whose presence is published here: of `online:<user>`; `None` for any other channel.
    pub fn watched_user(&self) -> Option<&str> {
        self.0.strip_prefix("online:")
    }

    /// The channel that every identified session joins.
    pub fn all() -> Self {
        Self("all".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first colon; the whole name for `all`.
    pub fn namespace(&self) -> &str {
        self.0.split(':').next().unwrap_or(&self.0)
    }
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'{' && byte != b'}'
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A grant in the `channels` claim of a token: one name, or `prefix*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPattern(Box<str>);

impl ChannelPattern {
    /// Copies the text without validating it: a text that matches no channel grants nothing.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether this grant covers `channel`. Only a star at the end is a wildcard, and it needs a namespace
    /// before it (`room:*`), so that no claim grants every channel by accident.
    pub fn covers(&self, channel: &ChannelName) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => prefix.contains(':') && channel.as_str().starts_with(prefix),
            None => *self.0 == *channel.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_all_and_namespaced_names() {
        for name in ["all", "user:42", "room:7", "room:a:b", "x:~!"] {
            assert_eq!(ChannelName::parse(name).unwrap().as_str(), name);
        }
        assert_eq!(ChannelName::parse("room:a:b").unwrap().namespace(), "room");
        assert_eq!(ChannelName::all().namespace(), "all");
    }

    #[test]
    fn rejects_invalid_names() {
        let long = format!("room:{}", "x".repeat(251));
        for (name, error) in [
            ("", ChannelNameError::NoNamespace),
            ("room", ChannelNameError::NoNamespace),
            (":7", ChannelNameError::NoNamespace),
            ("room:", ChannelNameError::NoNamespace),
            ("room:a b", ChannelNameError::BadCharacter),
            ("room:{7}", ChannelNameError::BadCharacter),
            ("room:\u{e9}", ChannelNameError::BadCharacter),
            ("room:\n", ChannelNameError::BadCharacter),
            (long.as_str(), ChannelNameError::TooLong),
        ] {
            assert_eq!(ChannelName::parse(name), Err(error), "{name:?}");
        }
        assert!(ChannelName::parse(&long[..255]).is_ok());
    }

    #[test]
    fn a_grant_covers_its_name_or_its_prefix() {
        let room = ChannelName::parse("room:7").unwrap();
        for (pattern, covers) in [
            ("room:7", true),
            ("room:*", true),
            ("room:70", false),
            ("roo*", false),
            ("*", false),
            ("roo:*", false),
            ("", false),
        ] {
            assert_eq!(ChannelPattern::new(pattern).covers(&room), covers, "{pattern:?}");
        }
    }
}
