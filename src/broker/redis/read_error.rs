//! Why a read of the data has failed, by what to do about it.

use std::fmt;

use redis::{ErrorKind, RedisError};

use super::super::link::ReadErrorKind;
use super::link_error::describe;

/// Codes of answers that say nothing of the data. The same question may be answered later.
const BUSY: [&str; 8] =
    ["LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "OOM", "NOAUTH", "MISCONF"];

/// A read that has failed.
#[derive(Debug)]
pub(super) enum RedisReadError {
    /// The connection is lost, or no answer came in time. It says nothing of the data.
    Connection(RedisError),
    /// Redis does not answer such questions at present.
    Busy(String),
    /// The data cannot be read: the key has another type, a permission is missing, or an entry is invalid.
    Data(String),
}

impl RedisReadError {
    /// What a server has answered that is neither an error nor what was asked for.
    pub(super) fn unexpected(what: &str) -> Self {
        Self::Data(what.to_owned())
    }

    /// Whether to repeat the read. Only an error of the data is a property of the history.
    pub(super) const fn kind(&self) -> ReadErrorKind {
        match self {
            Self::Connection(_) | Self::Busy(_) => ReadErrorKind::Transient,
            Self::Data(_) => ReadErrorKind::Unreadable,
        }
    }
}

impl From<RedisError> for RedisReadError {
    /// Only for errors of answers that were taken as bare [`redis::Value`]s: in others redis-rs gives the same kind to
    /// what the server has broken in the protocol and to a field that is no text.
    fn from(error: RedisError) -> Self {
        let text = describe(&error);
        let kind = error.kind();
        // A pipeline and a transaction have one for each command.
        let Some(answers) = error.clone().into_server_errors() else {
            return match kind {
                ErrorKind::UnexpectedReturnType => Self::Data(text),
                _ => Self::Connection(error),
            };
        };
        let sentence = |answer: &redis::ServerError| match answer.details() {
            Some(details) => format!("{} {details}", answer.code()),
            None => answer.code().to_owned(),
        };
        let busy = answers.iter().find(|(_, answer)| BUSY.contains(&answer.code()));
        match (busy, answers.first()) {
            (Some((_, busy)), _) => Self::Busy(sentence(busy)),
            (None, Some((_, first))) => Self::Data(sentence(first)),
            (None, None) => Self::Data(text),
        }
    }
}

impl fmt::Display for RedisReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => f.write_str(&describe(error)),
            Self::Busy(reason) | Self::Data(reason) => f.write_str(reason),
        }
    }
}
