//! Pages of the members of a channel: op 15, in both directions.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use super::channel::{ChannelName, MAX_CHANNEL_BYTES};
use super::command::{MalformedCommand, check_request_id};

/// The maximum length of a request's id, in bytes.
pub const MAX_REQUEST_ID_BYTES: usize = 64;

/// Op 15 from a client, with a channel that is not yet validated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MembersCommand<'a> {
    /// The id that the answer repeats: 1 to [`MAX_REQUEST_ID_BYTES`] bytes.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The name as the client sent it.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// The member after which the page begins, at most [`MAX_CHANNEL_BYTES`] bytes; `None`: the first page.
    #[serde(default, deserialize_with = "deserialize_present")]
    pub after: Option<Cow<'a, str>>,
}

impl<'a> MembersCommand<'a> {
    /// Parses a JSON object with op 15.
    pub(super) fn parse(text: &'a str) -> Result<Self, MalformedCommand> {
        let command: Self = serde_json::from_str(text).map_err(|_| MalformedCommand)?;
        check_request_id(&command.id)?;
        let is_valid = command.after.as_ref().is_none_or(|after| after.len() <= MAX_CHANNEL_BYTES);
        if is_valid { Ok(command) } else { Err(MalformedCommand) }
    }
}

/// Refuses `null`, which has the wrong type.
fn deserialize_present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, str>>, D::Error> {
    Cow::deserialize(deserializer).map(Some)
}

/// A request for a page of the members of a channel that the session is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersRequest {
    /// The id that the client chose; the answer repeats it.
    pub id: Box<str>,
    /// The channel; the session is subscribed to it.
    pub channel: ChannelName,
    /// The member after which the page begins; `None`: the first page.
    pub after: Option<Box<str>>,
}

/// A page of the members of a channel: the ids of users, in byte order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MembersPage {
    /// The members of the page.
    pub members: Vec<Box<str>>,
    /// The `after` of the next page; `None`: this is the last page.
    pub next: Option<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_members_command_are_bounded() {
        let longest = ("i".repeat(64), "4".repeat(255));
        for (fields, is_valid) in [
            (r#""id":"m1","channel":"room:7""#.to_owned(), true),
            (r#""id":"m\u0031","channel":"room:7","after":"42","more":[]"#.to_owned(), true),
            (r#""id":"m1","channel":"room:7","after":"""#.to_owned(), true),
            (format!(r#""id":"{}","channel":"room:7","after":"{}""#, longest.0, longest.1), true),
            (format!(r#""id":"{}x","channel":"room:7""#, longest.0), false),
            (format!(r#""id":"m1","channel":"room:7","after":"{}x""#, longest.1), false),
            (r#""id":"","channel":"room:7""#.to_owned(), false),
            (r#""channel":"room:7""#.to_owned(), false),
            (r#""id":"m1""#.to_owned(), false),
            (r#""id":1,"channel":"room:7""#.to_owned(), false),
            (r#""id":"m1","channel":"room:7","after":null"#.to_owned(), false),
            (r#""id":"m1","channel":"room:7","after":42"#.to_owned(), false),
            (r#""id":"m1","id":"m1","channel":"room:7""#.to_owned(), false),
            (r#""id":"\ud800","channel":"room:7""#.to_owned(), false),
        ] {
            let text = format!(r#"{{"op":15,{fields}}}"#);
            assert_eq!(MembersCommand::parse(&text).is_ok(), is_valid, "{text}");
        }
    }
}
