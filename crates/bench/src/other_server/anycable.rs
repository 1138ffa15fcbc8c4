//! AnyCable 1.6: Action Cable's JSON over WebSocket with public streams, and Redis for publishing.
//!
//! Tokens are not checked, because the generator mints none with the claims of AnyCable. Pings are not answered, as in
//! Action Cable.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::OtherServerSettings;
use crate::wire::{self, ServerEvent};

pub(super) const PATH: &str = "/cable";
pub(super) const SUBPROTOCOL: &str = "Sec-WebSocket-Protocol: actioncable-v1-json\r\n";
/// The channel at Redis for all publications.
pub(crate) const REDIS_CHANNEL: &str = "__anycable__";
/// The beginning of the generator's messages.
const MESSAGE: &[u8] = br#""message":{"at":""#;

/// Subscribes to these streams in turn.
pub(super) fn opening(streams: &[String]) -> Vec<u8> {
    let subscribe = |stream: &String| {
        let identifier = json!({ "channel": "$pubsub", "stream_name": stream }).to_string();
        wire::client_frame(&json!({ "command": "subscribe", "identifier": identifier }).to_string())
    };
    streams.iter().flat_map(subscribe).collect()
}

pub(super) fn parse(payload: &[u8]) -> ServerEvent<'_> {
    let says = |text: &[u8]| wire::find(payload, text).is_some();
    if let Some(stamp) = wire::stamp(payload, MESSAGE) {
        return ServerEvent::Message(stamp);
    }
    // The stream of the user is the last one.
    if says(br#""type":"confirm_subscription""#) && says(b"user:") {
        return ServerEvent::Ready;
    }
    if says(br#""type":"ping""#) { ServerEvent::Heartbeat("") } else { ServerEvent::Other }
}

pub(super) fn publication(stream: &str, message: &str) -> String {
    json!({ "stream": stream, "data": message }).to_string()
}

/// The default settings, except for what the comparison needs.
pub(super) fn command(program: &Path, settings: &OtherServerSettings<'_>) -> Command {
    let OtherServerSettings { port, redis, heartbeat_interval, .. } = settings;
    let mut command = Command::new(program);
    command.envs([
        ("ANYCABLE_HOST", "127.0.0.1".to_owned()),
        ("ANYCABLE_PORT", port.to_string()),
        // No RPC; no authentication, and streams by name.
        ("ANYCABLE_NORPC", "true".to_owned()),
        ("ANYCABLE_PUBLIC", "true".to_owned()),
        ("ANYCABLE_BROADCAST_ADAPTER", "redis".to_owned()),
        ("ANYCABLE_REDIS_URL", format!("redis://{}:{}", redis.host, redis.port)),
        ("ANYCABLE_REDIS_CHANNEL", REDIS_CHANNEL.to_owned()),
        ("ANYCABLE_PING_INTERVAL", heartbeat_interval.as_secs().max(1).to_string()),
        ("ANYCABLE_LOG_LEVEL", "error".to_owned()),
    ]);
    command
}
