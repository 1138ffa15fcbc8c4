//! Control: commands that reach every replica, and their answers.
//!
//! A command is JSON with one member, its name: `{"disconnect":{"user":"42"}}`.
//!
//! - `check`: the rules for a command.
//! - `applier`: passes commands to the handler. `replica_name`: the name of this replica.
//! - `command_log`: decides which commands of the stream to apply. `redis_clock`: when they were sent.
//! - `awaited`: decides which replicas must answer.

mod applier;
mod awaited;
mod check;
mod command_log;
mod redis_clock;
mod replica_name;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(super) use applier::Applier;
pub(super) use awaited::{Awaited, LOST_FOR_MS, UNNAMED};
pub use check::{MAX_COMMAND_BYTES, MAX_LISTED};
pub(super) use command_log::{Begin, CommandLog, LogEntry, StreamId};
pub(super) use redis_clock::RedisClock;
pub(super) use replica_name::new_replica_name;

/// A command to every replica.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ControlCommand {
    /// Ends sessions with close code 4010.
    Disconnect(Disconnection),
    /// Subscribes sessions to a channel.
    Subscribe(ChannelChange),
    /// Ends the subscriptions of sessions to a channel.
    Unsubscribe(ChannelChange),
    /// Refuses tokens from now on, and ends the sessions that used them.
    Revoke(Revocation),
    /// Lists sessions.
    Sessions(SessionQuery),
}

/// The sessions to end. Exactly one of `user`, `session` and `channel` is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disconnection {
    /// All sessions of this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The session with this id, 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// All sessions that are subscribed to this channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The reason in the Close frame; at most 123 bytes. `None`: the usual reason of 4010.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The sessions and the channel of a Subscribe or Unsubscribe. Exactly one of `user` and `session` is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelChange {
    /// All sessions of this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The session with this id, 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The channel.
    pub channel: String,
}

/// The tokens to refuse. Either `jti`, or `user` and optionally `issued_before`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Revocation {
    /// The token with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The tokens of this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Only tokens that were issued before this time, in Unix milliseconds. `None`: before the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<u64>,
    /// When the revocation may be forgotten, because the tokens have expired, in Unix milliseconds. `None`: after
    /// `auth.max_age`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// Which sessions to list: all that match both `user` and `channel`, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionQuery {
    /// Only sessions of this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Only sessions that are subscribed to this channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Only sessions with a greater id, 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most this many sessions. `None`: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Applies commands to the sessions of this process. The broker calls it for each command once, in their order.
pub trait ControlHandler: Send + Sync + 'static {
    /// Applies a command. `issued`: when the command was issued; a session that was opened later is not affected. The
    /// broker waits for the answer before the next command, so the handler must set itself a deadline.
    fn apply(
        &self,
        command: ControlCommand,
        issued: Instant,
    ) -> Pin<Box<dyn Future<Output = ControlAnswer> + Send + '_>>;
}

/// The answer of one replica.
#[derive(Debug, Clone, Default)]
pub struct ControlAnswer {
    /// The number of affected sessions.
    pub affected: usize,
    /// What else the command returns, such as a page of sessions.
    pub detail: Option<Box<RawValue>>,
}

/// The answers of all replicas.
#[derive(Debug, Clone, Default)]
pub struct ControlOutcome {
    /// The id of the command: that of its entry in its stream. Empty if it was not issued.
    pub id: String,
    /// The answers by replica.
    pub replicas: BTreeMap<String, ControlAnswer>,
    /// The replicas that did not answer in time. Each applies the command when its link is back.
    pub missing: Vec<String>,
}

impl ControlOutcome {
    /// The answer of one replica; `None`: it is missing.
    pub(super) fn of_one(replica: &str, answer: Option<ControlAnswer>) -> Self {
        let mut outcome = Self::default();
        match answer {
            Some(answer) => drop(outcome.replicas.insert(replica.to_owned(), answer)),
            None => outcome.missing.push(replica.to_owned()),
        }
        outcome
    }

    /// Whether the command was issued. Otherwise this replica alone has applied it, and no other one will.
    pub fn is_issued(&self) -> bool {
        !self.id.is_empty()
    }
}

/// Why a command was not issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The command is not valid.
    #[error("the command is not valid: {0}")]
    BadCommand(String),
    /// There is no connection to Redis.
    #[error("there is no connection to Redis")]
    Unavailable,
    /// Redis did not answer within `broker.response_timeout`. The command may have been issued.
    #[error("Redis did not answer within broker.response_timeout; the command may have been issued")]
    Timeout,
    /// Redis answered with this error.
    #[error("Redis refused the request: {0}")]
    Refused(String),
}
