//! Server-sent events: the blocks of a stream, and the id that says how far the whole stream was read.
//!
//! A block is encoded once for all streams that receive it. So its line `id: ` has only the positions that the block
//! itself moves, and [`StreamPositions`] completes that line for one stream. A browser sends the last id back when it
//! connects again, and nothing else, so an id has the positions of all channels.
//!
//! An id is a list of `<position>@<channel>`, separated by spaces: neither part contains a space, and a position contains
//! no `@`. In a block, an entry without a position removes its channel.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use serde::Serialize;

use super::channel::ChannelName;
use super::position::Position;

/// The beginning of a block that moves positions.
const ID: &[u8] = b"id: ";
/// What a stream receives at each heartbeat: a comment, which clients ignore.
pub(crate) const HEARTBEAT: Bytes = Bytes::from_static(b": heartbeat\n\n");

/// Encodes an event. `moved`: the positions that it moves; `None` if it moves none and no id is needed.
pub(crate) fn encode(name: &str, moved: Option<&str>, json: &[u8]) -> Bytes {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let breaks = json.iter().filter(|byte| is_break(byte)).count();
    let id_bytes = moved.map_or(0, |moved| ID.len() + moved.len() + 1);
    // Exact, because `Bytes` keeps the capacity of a longer buffer in a second allocation.
    let data_bytes = json.len() + 6 * (breaks + 1) + 1;
    let mut block = Vec::with_capacity(id_bytes + 7 + name.len() + 1 + data_bytes + 1);
    if let Some(moved) = moved {
        for part in [ID, moved.as_bytes(), b"\n"] {
            block.extend_from_slice(part);
        }
    }
    for part in [b"event: ", name.as_bytes(), b"\n"] {
        block.extend_from_slice(part);
    }
    // A line break ends a field. JSON has them between its tokens only, where their number does not matter.
    for line in json.split(is_break) {
        for part in [b"data: ", line, b"\n"] {
            block.extend_from_slice(part);
        }
    }
    block.push(b'\n');
    block.into()
}

/// Encodes the time after which a client connects again once the stream has ended.
pub(crate) fn encode_retry(after_ms: u64) -> Bytes {
    format!("retry: {after_ms}\n\n").into()
}

/// Encodes the last event of a stream, in place of a Close frame. `retry_ms`: when to connect again; `None` if an
/// earlier block says so.
pub fn encode_close(code: Option<u16>, reason: &str, retry_ms: Option<u64>) -> Bytes {
    #[derive(Serialize)]
    struct Close<'a> {
        code: Option<u16>,
        reason: &'a str,
    }
    let retry = retry_ms.map(|after_ms| format!("retry: {after_ms}\n")).unwrap_or_default();
    // Serializing fails only for maps whose keys are not strings, and there are none.
    let json = serde_json::to_vec(&Close { code, reason }).unwrap_or_default();
    [retry.as_bytes(), &encode("close", None, &json)].concat().into()
}

/// An entry of an id: the channel has this position, or none any more.
pub(crate) fn entry(channel: &ChannelName, position: Option<Position>) -> String {
    let position = position.map(|position| position.to_string()).unwrap_or_default();
    format!("{position}@{}", channel.as_str())
}

/// Whether a block moves positions. The first one of every stream does, and nothing before it is sent.
pub fn has_id(block: &[u8]) -> bool {
    block.starts_with(ID)
}

/// Splits an id that a client sends into channels and their positions, which are not yet validated. `None` if the text
/// is not the id of a stream.
pub fn parse_id(id: &str) -> Option<Vec<(&str, &str)>> {
    let entries = id.split_ascii_whitespace().map(|entry| {
        let (position, channel) = entry.split_once('@')?;
        Some((channel, position))
    });
    entries.collect()
}

/// The positions of the channels of one stream: everything up to them has been sent.
#[derive(Debug, Default)]
pub struct StreamPositions(BTreeMap<Box<str>, Position>);

impl StreamPositions {
    /// Completes the id of a block. Returns other blocks unchanged.
    pub fn complete(&mut self, block: Bytes) -> Bytes {
        let moved = block.strip_prefix(ID).and_then(|rest| {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            Some((std::str::from_utf8(&rest[..end]).ok()?, &rest[end..]))
        });
        let Some((moved, rest)) = moved else { return block };
        for (channel, position) in parse_id(moved).unwrap_or_default() {
            self.set(channel, Position::parse(position));
        }
        [ID, self.id().as_bytes(), rest].concat().into()
    }

    fn set(&mut self, channel: &str, position: Option<Position>) {
        match (self.0.get_mut(channel), position) {
            (Some(known), Some(position)) => *known = position,
            (None, Some(position)) => drop(self.0.insert(channel.into(), position)),
            (_, None) => drop(self.0.remove(channel)),
        }
    }

    fn id(&self) -> String {
        let mut id = String::new();
        for (channel, position) in &self.0 {
            let separator = if id.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(id, "{separator}{position}@{channel}");
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: &str, moved: Option<&str>, json: &str) -> String {
        let block = encode(name, moved, json.as_bytes());
        String::from_utf8(block.to_vec()).unwrap()
    }

    #[test]
    fn a_block_has_its_name_and_its_data() {
        assert_eq!(block("gap", None, "{}"), "event: gap\ndata: {}\n\n");
        assert_eq!(block("ready", Some(""), "{}"), "id: \nevent: ready\ndata: {}\n\n");
    }

    #[test]
    fn line_breaks_in_json_begin_new_data_lines() {
        for (json, data) in [
            ("{\n \"a\": 1\n}", "data: {\ndata:  \"a\": 1\ndata: }\n"),
            ("[1,\r\n2]", "data: [1,\ndata: \ndata: 2]\n"),
            ("[1,\r2]", "data: [1,\ndata: 2]\n"),
            (r#""\n\r""#, "data: \"\\n\\r\"\n"),
        ] {
            assert_eq!(block("message", None, json), format!("event: message\n{data}\n"), "{json:?}");
        }
    }

    #[test]
    fn a_block_takes_no_spare_memory() {
        let block = encode("message", Some("1-2@room:7"), b"{\n}");
        assert_eq!(Vec::from(block.clone()).capacity(), block.len());
    }

    #[test]
    fn an_id_has_the_positions_of_all_channels() {
        let mut positions = StreamPositions::default();
        let mut id = |moved: &str| {
            let completed = positions.complete(encode("message", Some(moved), b"1"));
            let text = String::from_utf8(completed.to_vec()).unwrap();
            text.strip_suffix("\nevent: message\ndata: 1\n\n").unwrap().to_owned()
        };
        assert_eq!(id("1-0@user:42 5-2@room:7 3-3@all"), "id: 3-3@all 5-2@room:7 1-0@user:42");
        assert_eq!(id("5-3@room:7"), "id: 3-3@all 5-3@room:7 1-0@user:42");
        // Names may contain `@`, `=` and `,`.
        assert_eq!(id("7-1@a:@=,"), "id: 7-1@a:@=, 3-3@all 5-3@room:7 1-0@user:42");
        assert_eq!(id("@room:7 @a:@=,"), "id: 3-3@all 1-0@user:42");
        let other = encode("gap", None, b"1");
        assert_eq!(positions.complete(other.clone()), other);
    }

    #[test]
    fn an_id_is_read_as_it_was_sent() {
        assert_eq!(parse_id("3-3@all 5-3@a:@b"), Some(vec![("all", "3-3"), ("a:@b", "5-3")]));
        assert_eq!(parse_id(""), Some(vec![]));
        for foreign in ["42", "3-3@all 42", "room:7=5-3"] {
            assert_eq!(parse_id(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_close_says_code_reason_and_when_to_come_back() {
        let close = encode_close(Some(4010), "bye\n\"now\"", Some(1_500));
        let expected =
            "retry: 1500\nevent: close\ndata: {\"code\":4010,\"reason\":\"bye\\n\\\"now\\\"\"}\n\n";
        assert_eq!(close, expected);
        let close = encode_close(Some(1012), "x", None);
        assert_eq!(close, "event: close\ndata: {\"code\":1012,\"reason\":\"x\"}\n\n");
    }
}
