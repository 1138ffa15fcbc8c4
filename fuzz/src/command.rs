//! Parses commands of clients, in both versions of the protocol.

use protocol::Version;
use protocol::channel::{ChannelName, MAX_CHANNEL_BYTES};
use protocol::client_message::SendCommand;
use protocol::command::{ChannelRequest, Command};
use protocol::history_page::HistoryCommand;
use protocol::members::{MAX_REQUEST_ID_BYTES, MembersCommand};
use protocol::payload_limits::PayloadLimits;
use protocol::position::Position;
use protocol::signal::SignalCommand;
use serde_json::value::RawValue;
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
        Command::Subscribe { channels, is_batch } => {
            assert!(!channels.is_empty() && (*is_batch || channels.len() == 1));
            channels.iter().for_each(check_request);
            length += channels.iter().map(length_of).sum::<usize>();
        }
        Command::Unsubscribe { channels, is_batch } => {
            assert!(!channels.is_empty() && (*is_batch || channels.len() == 1));
            length += channels.iter().map(|channel| channel.len()).sum::<usize>();
        }
        Command::Send(SendCommand { id, channel, message }) => {
            check_id(id);
            check_value(message, text);
            length += id.len() + channel.len() + message.get().len();
        }
        Command::Signal(SignalCommand { channel, signal }) => {
            check_value(signal, text);
            length += channel.len() + signal.get().len();
        }
        Command::History(HistoryCommand { id, channel, before, limit: _ }) => {
            check_id(id);
            length += id.len() + channel.len() + before.as_ref().map_or(0, |before| before.len());
        }
        Command::Refresh { token } => length += token.len(),
        Command::Members(MembersCommand { id, channel, after }) => {
            check_id(id);
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

fn check_id(id: &str) {
    assert!(!id.is_empty() && id.len() <= MAX_REQUEST_ID_BYTES);
}

/// A value is kept as it was written, and other parsers can read it.
fn check_value(value: &RawValue, text: &str) {
    assert!(text.contains(value.get()), "the value is not kept as it was written");
    assert!(is_json(value.get()));
    let limits = PayloadLimits::from(value.get().len());
    assert_eq!(limits.check_text(value.get()), Ok(()));
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
    let request = |request: &ChannelRequest<'_>| {
        let mut object = json!({"channel": request.channel});
        if let Some(since) = &request.since {
            object["since"] = json!(since);
        }
        if let Some(last) = request.last {
            object["last"] = json!(last);
        }
        object
    };
    let written = match command {
        Command::Identify { token, channels } if channels.is_empty() => json!({"op": 1, "token": token}),
        Command::Identify { token, channels } => {
            let channels: Vec<Value> = channels.iter().map(request).collect();
            json!({"op": 1, "token": token, "channels": channels})
        }
        Command::Subscribe { channels, is_batch: true } => {
            let channels: Vec<Value> = channels.iter().map(request).collect();
            json!({"op": 4, "channels": channels})
        }
        Command::Subscribe { channels, is_batch: false } => {
            let mut object = request(&channels[0]);
            object["op"] = json!(4);
            object
        }
        Command::Unsubscribe { channels, is_batch: true } => json!({"op": 5, "channels": channels}),
        Command::Unsubscribe { channels, is_batch: false } => json!({"op": 5, "channel": channels[0]}),
        Command::History(HistoryCommand { id, channel, before, limit }) => {
            let mut object = json!({"op": 19, "id": id, "channel": channel});
            if let Some(before) = before {
                object["before"] = json!(before);
            }
            if let Some(limit) = limit {
                object["limit"] = json!(limit);
            }
            object
        }
        Command::Heartbeat { time: None } => json!({"op": 10}),
        Command::HeartbeatAck => json!({"op": 11}),
        Command::Refresh { token } => json!({"op": 12, "token": token}),
        Command::Members(MembersCommand { id, channel, after: None }) => {
            json!({"op": 15, "id": id, "channel": channel})
        }
        Command::Members(MembersCommand { id, channel, after: Some(after) }) => {
            json!({"op": 15, "id": id, "channel": channel, "after": after})
        }
        // Formatted as text, because serde_json would change a long number and the spelling of a value.
        Command::Send(SendCommand { id, channel, message }) => {
            let (id, channel) = (json!(id), json!(channel));
            let text = format!(r#"{{"op":16,"id":{id},"channel":{channel},"message":{message}}}"#);
            assert!(Command::parse(version, &text).as_ref() == Ok(command), "{text}");
            return;
        }
        Command::Signal(SignalCommand { channel, signal }) => {
            let text = format!(r#"{{"op":18,"channel":{},"signal":{signal}}}"#, json!(channel));
            assert!(Command::parse(version, &text).as_ref() == Ok(command), "{text}");
            return;
        }
        Command::Heartbeat { time: Some(time) } => {
            let text = format!(r#"{{"op":10,"time":{time}}}"#);
            assert!(Command::parse(version, &text).as_ref() == Ok(command), "{text}");
            return;
        }
    };
    let text = written.to_string();
    assert!(Command::parse(version, &text).as_ref() == Ok(command), "{text}");
}
