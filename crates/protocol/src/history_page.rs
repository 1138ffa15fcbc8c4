//! Pages of a channel's history for a client: op 19, answered by op 20.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::channel::ChannelName;
use super::command::{MalformedCommand, check_request_id};
use super::position::Position;
use super::publication::Publication;

/// The maximum number of messages in op 20, and their number where a client names none.
const MAX_HISTORY_LIMIT: u32 = 100;
const DEFAULT_HISTORY_LIMIT: u32 = 50;

/// Op 19 from a client, with a channel and a position that are not yet validated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HistoryCommand<'a> {
    /// The id that the answer repeats: 1 to [`MAX_REQUEST_ID_BYTES`](crate::members::MAX_REQUEST_ID_BYTES) bytes.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The name as the client sent it.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// The position before which the page ends; `None`: the newest page.
    #[serde(default, borrow, deserialize_with = "deserialize_text")]
    pub before: Option<Cow<'a, str>>,
    /// The maximum number of messages.
    #[serde(default, deserialize_with = "deserialize_count")]
    pub limit: Option<u32>,
}

fn deserialize_text<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, str>>, D::Error> {
    Cow::deserialize(deserializer).map(Some)
}

/// A number that is too large for the type becomes its maximum: the limit is clamped.
fn deserialize_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = u64::deserialize(deserializer)?;
    Ok(Some(u32::try_from(number).unwrap_or(u32::MAX)))
}

impl<'a> HistoryCommand<'a> {
    /// Parses a JSON object with op 19.
    pub(super) fn parse(text: &'a str) -> Result<Self, MalformedCommand> {
        let command: Self = serde_json::from_str(text).map_err(|_| MalformedCommand)?;
        check_request_id(&command.id)?;
        Ok(command)
    }

    /// The number of messages to read where the namespace allows `max_last`, which is at least 1.
    pub(super) fn clamped_limit(&self, max_last: u32) -> u32 {
        self.limit.unwrap_or(DEFAULT_HISTORY_LIMIT).clamp(1, MAX_HISTORY_LIMIT).min(max_last)
    }
}

/// A request for a page of the history of a channel that the session is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The id that the client chose; the answer repeats it.
    pub id: Box<str>,
    /// The channel; the session is subscribed to it.
    pub channel: ChannelName,
    /// The position before which the page ends; `None`: the newest page.
    pub before: Option<Position>,
    /// The maximum number of messages: 1 to 100.
    pub limit: u32,
}

/// A page of a channel's history.
#[derive(Debug, Clone, Default)]
pub struct HistoryPage {
    /// The messages in the order of their positions, which each has.
    pub messages: Vec<Arc<Publication>>,
    /// Whether the history has messages before the first of the page.
    pub has_more: bool,
}

impl PartialEq for HistoryPage {
    fn eq(&self, other: &Self) -> bool {
        let content = |message: &Arc<Publication>| (message.position(), message.message().get().to_owned());
        self.has_more == other.has_more
            && self.messages.iter().map(content).eq(other.messages.iter().map(content))
    }
}

impl Eq for HistoryPage {}
