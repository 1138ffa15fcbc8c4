//! Parses commands of clients, in both versions of the protocol.

use protocol::Version;
use protocol::channel::{ChannelName, MAX_CHANNEL_BYTES};
use protocol::command::{ChannelRequest, Command};
use protocol::members::{MAX_REQUEST_ID_BYTES, MembersCommand};
use protocol::position::Position;
use serde_json::{Value, json};

use super::json::is_json;

/// The shortest channel in Identify, `{"channel":""}`.
const MIN_REQUEST_BYTES: usize = 14;

/// Every accepted command is a JSON object, holds no more bytes than its text, and survives a round trip.
pub fn check(data: &[u8]) {
    // The frame reader passes only UTF-8.
    let Ok(text) = std::str::from_utf8(data) else { return };
    let [old, new] = [Version::V1, Version::V2].map(|version| Command::parse(version, text));
    if let Ok(old) = &old {
        assert!(new.as_ref() == Ok(old), "version 2 reads every command of version 1 alike");
        check_round_trip(Version::V1, old);
    }
    let Ok(command) = &new else { return };
    assert!(is_json(text), "accepted a command that is not JSON");
    assert!(text.trim_start().starts_with('{'), "accepted a command that is not an object");
    check_bounds(command, text);
    check_round_trip(Version::V2, command);
}

fn check_bounds(command: &Command<'_>, text: &str) {
    let mut length = 0;
    match command {
        Command::Identify { token, channels } => {
            assert!(channels.len() * MIN_REQUEST_BYTES <= text.len());
            channels.iter().for_each(check_request);
            length += token.len();
            length += channels.iter().map(length_of).sum::<usize>();
        }
        Command::Subscribe(request) => {
            check_request(request);
            length += length_of(request);
        }
        Command::Unsubscribe { channel } => length += channel.len(),
        Command::Refresh { token } => length += token.len(),
        Command::Members(MembersCommand { id, channel, after }) => {
            assert!(!id.is_empty() && id.len() <= MAX_REQUEST_ID_BYTES);
            let after = after.as_ref().map_or(0, |after| after.len());
            assert!(after <= MAX_CHANNEL_BYTES);
            length += id.len() + channel.len() + after;
        }
        Command::Heartbeat { time: Some(time) } => {
            assert!(text.contains(time), "the time is not kept as it was written");
            assert!(
                is_json(time) && !time.starts_with(['"', '{', '[', 'n', 't', 'f']),
                "{time} is not a number"
            );
            length += time.len();
        }
        Command::Heartbeat { time: None } | Command::HeartbeatAck => {}
    }
    assert!(length <= text.len(), "{length} bytes from a text of {}", text.len());
}

fn length_of(request: &ChannelRequest<'_>) -> usize {
    request.channel.len() + request.since.as_ref().map_or(0, |since| since.len())
}

/// An accepted channel or position is printed exactly as it was written.
fn check_request(request: &ChannelRequest<'_>) {
    if let Ok(channel) = ChannelName::parse(&request.channel) {
        assert_eq!(channel.as_str(), request.channel);
        assert!(channel.as_str().len() <= MAX_CHANNEL_BYTES);
        assert!(channel.as_str().bytes().all(|byte| byte.is_ascii_graphic() && !b"{}".contains(&byte)));
    }
    if let Some(since) = &request.since
        && let Some(position) = Position::parse(since)
    {
        assert_eq!(position.to_string(), **since, "a position has one spelling");
    }
}

/// Serializes a command without the gateway's code, and parses it again.
fn check_round_trip(version: Version, command: &Command<'_>) {
    let request = |request: &ChannelRequest<'_>| match &request.since {
        Some(since) => json!({"channel": request.channel, "since": since}),
        None => json!({"channel": request.channel}),
    };
    let written = match command {
        Command::Identify { token, channels } if channels.is_empty() => json!({"op": 1, "token": token}),
        Command::Identify { token, channels } => {
            let channels: Vec<Value> = channels.iter().map(request).collect();
            json!({"op": 1, "token": token, "channels": channels})
        }
        Command::Subscribe(wanted) => {
            let mut object = request(wanted);
            object["op"] = json!(4);
            object
        }
        Command::Unsubscribe { channel } => json!({"op": 5, "channel": channel}),
        Command::Heartbeat { time: None } => json!({"op": 10}),
        Command::HeartbeatAck => json!({"op": 11}),
        Command::Refresh { token } => json!({"op": 12, "token": token}),
        Command::Members(MembersCommand { id, channel, after: None }) => {
            json!({"op": 15, "id": id, "channel": channel})
        }
        Command::Members(MembersCommand { id, channel, after: Some(after) }) => {
            json!({"op": 15, "id": id, "channel": channel, "after": after})
        }
        // Formatted as text, because serde_json would change a long number.
        Command::Heartbeat { time: Some(time) } => {
            let text = format!(r#"{{"op":10,"time":{time}}}"#);
            assert!(Command::parse(version, &text).as_ref() == Ok(command), "{text}");
            return;
        }
    };
    let text = written.to_string();
    assert!(Command::parse(version, &text).as_ref() == Ok(command), "{text}");
}
