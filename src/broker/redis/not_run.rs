//! Recognizes the answers by which Redis says that it did not run a command, but may run it soon.

use std::fmt;

use redis::RedisError;

/// Why Redis did not run a command. Sending it again is safe, and may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotRun {
    /// `LOADING`
    Loading,
    /// `BUSY`
    Busy,
    /// `READONLY`
    ReadOnly,
    /// `MASTERDOWN`
    MasterDown,
    /// `CLUSTERDOWN`
    ClusterDown,
    /// `TRYAGAIN`
    TryAgain,
    /// `MOVED` or `ASK`: another server has the slot, so the map of the slots is stale.
    Moved,
}

/// Each code of such an answer.
const CODES: [(&str, NotRun); 8] = [
    ("LOADING", NotRun::Loading),
    ("BUSY", NotRun::Busy),
    ("READONLY", NotRun::ReadOnly),
    ("MASTERDOWN", NotRun::MasterDown),
    ("CLUSTERDOWN", NotRun::ClusterDown),
    ("TRYAGAIN", NotRun::TryAgain),
    ("MOVED", NotRun::Moved),
    ("ASK", NotRun::Moved),
];

/// What a script gets for a key that another server has.
const NON_LOCAL_KEY: &str = "attempted to access a non local key";

impl NotRun {
    /// The answer of this error, if it is such an answer. A pipeline has an error for each command; one such answer
    /// among them is enough.
    pub(super) fn of(error: &RedisError) -> Option<Self> {
        match error.code() {
            // A function fails so if a key of its slot has left this server. The functions read before they write.
            Some(_) if error.detail().is_some_and(|detail| detail.contains(NON_LOCAL_KEY)) => {
                Some(Self::TryAgain)
            }
            Some(code) => Self::of_code(code),
            None => {
                let answers = error.clone().into_server_errors()?;
                answers.iter().find_map(|(_, answer)| Self::of_code(answer.code()))
            }
        }
    }

    /// The answer with this code.
    pub(super) fn of_code(code: &str) -> Option<Self> {
        CODES.iter().find(|(known, _)| *known == code).map(|(_, answer)| *answer)
    }
}

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loading => "Redis is loading its data (LOADING)",
            Self::Busy => "Redis is busy with a script (BUSY)",
            Self::ReadOnly => "Redis accepts no writes (READONLY)",
            Self::MasterDown => "it is a Redis replica without its master (MASTERDOWN)",
            Self::ClusterDown => "the Redis Cluster does not serve this slot (CLUSTERDOWN)",
            Self::TryAgain => "the Redis Cluster is moving this slot (TRYAGAIN)",
            Self::Moved => "another server of the Redis Cluster has this slot (MOVED)",
        })
    }
}

#[cfg(test)]
mod tests {
    use redis::{ErrorKind, ServerErrorKind};

    use super::*;

    #[test]
    fn an_answer_is_recognized_by_its_code_alone() {
        for (code, answer) in CODES {
            assert_eq!(NotRun::of_code(code), Some(answer), "{code}");
        }
        for code in ["NOPERM", "ERR", "WRONGTYPE", "OOM", "NOREPLICAS"] {
            assert_eq!(NotRun::of_code(code), None, "{code}");
        }
        let moved = RedisError::from((ErrorKind::Server(ServerErrorKind::Moved), "any text"));
        assert_eq!(NotRun::of(&moved), Some(NotRun::Moved));
        assert_eq!(NotRun::of(&RedisError::from((ErrorKind::Io, "any text"))), None);
    }
}
