//! Why a channel was not subscribed.

use redis::{RedisError, Value, parse_redis_value};

use super::super::link_error::LinkError;

/// Why the server refused one channel. The connection is still good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum ChannelRefusal {
    /// The Redis user may not subscribe to the channel (NOPERM).
    NoPermission(LinkError),
    /// Another server owns the channel's slot (MOVED).
    Moved {
        /// The slot.
        slot: u16,
        /// Its owner, `host:port`. The host is empty if the server does not know it.
        to: String,
        /// The error, for a link that cannot go on without the channel.
        error: LinkError,
    },
}

impl ChannelRefusal {
    /// The refusal that an error answer means.
    ///
    /// # Errors
    /// The error is not about the channel, so it ends the link.
    pub(super) fn of_answer(answer: &str) -> Result<Self, LinkError> {
        let error = LinkError::of_command(&server_error(answer));
        if error.is_no_permission() {
            return Ok(Self::NoPermission(error));
        }
        match moved(answer) {
            Some((slot, to)) => Ok(Self::Moved { slot, to: to.to_owned(), error }),
            None => Err(error),
        }
    }

    /// The error of a link that cannot go on without the channel.
    pub(in super::super) fn into_error(self) -> LinkError {
        match self {
            Self::NoPermission(error) | Self::Moved { error, .. } => error,
        }
    }
}

/// `MOVED slot host:port`
fn moved(answer: &str) -> Option<(u16, &str)> {
    let (slot, to) = answer.strip_prefix("MOVED ")?.split_once(' ')?;
    Some((slot.parse().ok()?, to))
}

/// The error as redis-rs has it, so that both connections of a link report the same.
pub(super) fn server_error(answer: &str) -> RedisError {
    match parse_redis_value(format!("-{answer}\r\n").as_bytes()) {
        Ok(Value::ServerError(error)) => error.into(),
        Ok(_) => RedisError::from((redis::ErrorKind::Parse, "not an error")),
        Err(error) => error,
    }
}
