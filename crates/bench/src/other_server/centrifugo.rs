//! Centrifugo 6: JSON over WebSocket, tokens with server-side subscriptions, and its HTTP API for publishing.
//!
//! Server-side subscriptions are the work that the gateway does: a client subscribes to nothing itself.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::OtherServerSettings;
use crate::wire::{self, ServerEvent};

pub(super) const PATH: &str = "/connection/websocket";
/// The beginning of the generator's messages.
const DATA: &[u8] = br#""data":{"at":""#;
/// The default of Centrifugo, where the interval of pings leaves room for it.
const PONG_TIMEOUT: Duration = Duration::from_secs(8);

/// A colon separates the namespace of a channel, so a user's channel has none.
pub(super) fn channel(channel: &str) -> String {
    format!("bench:{}", channel.replace(':', "_"))
}

pub(super) fn opening(token: &str) -> Vec<u8> {
    wire::client_frame(&format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#))
}

pub(super) fn parse(payload: &[u8]) -> ServerEvent<'_> {
    match payload {
        b"{}" => ServerEvent::Heartbeat(""),
        _ if payload.starts_with(br#"{"push":"#) => {
            wire::stamp(payload, DATA).map_or(ServerEvent::Other, ServerEvent::Message)
        }
        _ if payload.starts_with(br#"{"id":1,"connect":"#) => ServerEvent::Ready,
        _ => ServerEvent::Other,
    }
}

pub(super) fn publication(channel: &str, message: &str) -> String {
    format!(r#"{{"channel":"{channel}","data":{message}}}"#)
}

/// The default settings, except for what the comparison needs.
pub(super) fn command(program: &Path, settings: &OtherServerSettings<'_>) -> Command {
    let OtherServerSettings { port, redis, secret, heartbeat_interval } = settings;
    let pong_timeout = PONG_TIMEOUT.min(*heartbeat_interval / 2);
    let milliseconds = |time: &Duration| format!("{}ms", time.as_millis());
    let mut command = Command::new(program);
    command.envs([
        ("CENTRIFUGO_HTTP_SERVER_ADDRESS", "127.0.0.1".to_owned()),
        ("CENTRIFUGO_HTTP_SERVER_PORT", port.to_string()),
        ("CENTRIFUGO_HTTP_API_KEY", (*secret).to_owned()),
        ("CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY", (*secret).to_owned()),
        ("CENTRIFUGO_CLIENT_PING_INTERVAL", milliseconds(heartbeat_interval)),
        ("CENTRIFUGO_CLIENT_PONG_TIMEOUT", milliseconds(&pong_timeout)),
        ("CENTRIFUGO_CHANNEL_NAMESPACES", r#"[{"name":"bench"}]"#.to_owned()),
        ("CENTRIFUGO_ENGINE_TYPE", "redis".to_owned()),
        ("CENTRIFUGO_ENGINE_REDIS_ADDRESS", format!("redis://{}:{}", redis.host, redis.port)),
        ("CENTRIFUGO_LOG_LEVEL", "error".to_owned()),
    ]);
    command
}
