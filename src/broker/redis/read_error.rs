//! Classifies failed reads: by the connection, the server or the data.

use std::fmt;

use redis::{ErrorKind, RedisError};

use super::super::link::ReadErrorKind;
use super::link_error::describe;
use super::not_run::NotRun;

/// Further error codes that say nothing about the data. The same query may succeed later.
const BUSY_CODES: [&str; 3] = ["OOM", "NOAUTH", "MISCONF"];

/// Why a read failed.
#[derive(Debug, Clone)]
pub(super) enum RedisReadError {
    /// The connection is lost, or the answer timed out. The data may be fine.
    Connection(RedisError),
    /// Redis did not run the query, but may run it soon. The data may be fine.
    NotRun(NotRun, String),
    /// Redis refuses such queries at the moment. The data may be fine.
    Busy(String),
    /// The data cannot be read: the key has another type, a permission is missing, or an entry is invalid.
    Data(String),
}

impl RedisReadError {
    /// The answer is not an error, but has the wrong form.
    pub(super) fn unexpected(reason: &str) -> Self {
        Self::Data(reason.to_owned())
    }

    /// Whether to repeat the read. Only an error of the data is a property of the history.
    pub(super) const fn kind(&self) -> ReadErrorKind {
        match self {
            Self::Connection(_) | Self::NotRun(..) | Self::Busy(_) => ReadErrorKind::Transient,
            Self::Data(_) => ReadErrorKind::Unreadable,
        }
    }
}

impl From<RedisError> for RedisReadError {
    /// Only for errors of answers that were read as bare [`redis::Value`]s. For other types, redis-rs gives a protocol
    /// error and a field of the wrong type the same kind.
    fn from(error: RedisError) -> Self {
        let text = describe(&error);
        let kind = error.kind();
        // A pipeline and a transaction have one error for each command.
        let Some(answers) = error.clone().into_server_errors() else {
            return match kind {
                ErrorKind::UnexpectedReturnType => Self::Data(text),
                _ => Self::Connection(error),
            };
        };
        let text_of = |answer: &redis::ServerError| match answer.details() {
            Some(details) => format!("{} {details}", answer.code()),
            None => answer.code().to_owned(),
        };
        let not_run = |(_, answer): &(usize, redis::ServerError)| {
            NotRun::of_code(answer.code()).map(|reason| Self::NotRun(reason, text_of(answer)))
        };
        if let Some(error) = answers.iter().find_map(not_run) {
            return error;
        }
        let busy = answers.iter().find(|(_, answer)| BUSY_CODES.contains(&answer.code()));
        match (busy, answers.first()) {
            (Some((_, busy)), _) => Self::Busy(text_of(busy)),
            (None, Some((_, first))) => Self::Data(text_of(first)),
            (None, None) => Self::Data(text),
        }
    }
}

impl fmt::Display for RedisReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => f.write_str(&describe(error)),
            Self::NotRun(_, reason) | Self::Busy(reason) | Self::Data(reason) => f.write_str(reason),
        }
    }
}
