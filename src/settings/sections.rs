//! The sections of the settings, one struct each. `config/default.toml` has the unit, range and default of every key;
//! `validate` checks the ranges.
//!
//! - `auth`: the section `[auth]`
//! - `shards`: how a Redis Cluster is used

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Secret, SettingsError, duration, mask_url};

mod auth;
mod shards;

pub use self::auth::{AuthKind, AuthSettings};
pub use self::shards::{ReadyWithShards, Shards};

/// `[server]`: the listeners, and the limits of a socket before and besides its session.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// The address for clients. Port 0 takes any free port.
    pub public_addr: SocketAddr,
    /// The address for operators and backends. Port 0 takes any free port.
    pub admin_addr: SocketAddr,
    /// Worker threads. 0 = one per core.
    pub workers: usize,
    /// Open sockets of the process. 0 = no limit.
    pub max_connections: usize,
    /// Bytes queued for all sockets together. 0 = no limit.
    pub max_outbound_bytes: usize,
    /// Exact origins (`https://app.example.com`), `https://*.example.com` for any subdomain, `loopback` or `*`.
    pub allowed_origins: Vec<String>,
    /// Whether a client without an Origin header may connect.
    pub allow_missing_origin: bool,
    /// The time from accept to the end of the upgrade request.
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
    /// CIDRs of proxies whose forwarding headers are trusted; parsed by [`ServerSettings::trusted_networks`].
    pub trusted_proxies: Vec<String>,
    /// Whether to negotiate permessage-deflate with clients that offer it.
    pub compression: bool,
    /// The time to wait for the Close of the peer after our own.
    #[serde(with = "duration")]
    pub close_timeout: Duration,
}

impl ServerSettings {
    /// The number of worker threads, with 0 resolved.
    pub fn worker_threads(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }

    /// `trusted_proxies` as networks. A single address is a network of one.
    ///
    /// # Errors
    /// An entry is neither a network nor an address. [`Settings::load`](super::Settings::load) refuses such settings.
    pub fn trusted_networks(&self) -> Result<Vec<IpNet>, SettingsError> {
        let network = |text: &String| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
        self.trusted_proxies.iter().map(network).collect::<Option<_>>().ok_or_else(|| {
            SettingsError::Refused {
                key: "server.trusted_proxies".into(),
                reason: r#"must contain networks such as "10.0.0.0/8" or "fd00::/8""#.to_owned(),
            }
        })
    }
}

/// `[broker]`: how publications travel between replicas. `Debug` and serialisation mask the password in the URL.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// `memory:`, or the URL of Redis. May contain a password: print it only through [`mask_url`].
    #[serde(serialize_with = "serialize_url")]
    pub url: String,
    /// The Redis user, if the URL names none.
    #[serde(deserialize_with = "none_if_empty")]
    pub username: Option<String>,
    /// The Redis password, if it is neither in the URL nor in a file.
    #[serde(deserialize_with = "none_if_empty")]
    pub password: Option<Secret>,
    /// A file with the Redis password, read for each connection.
    #[serde(deserialize_with = "none_if_empty")]
    pub password_file: Option<PathBuf>,
    /// The user of the sentinels.
    #[serde(deserialize_with = "none_if_empty")]
    pub sentinel_username: Option<String>,
    /// The password of the sentinels.
    #[serde(deserialize_with = "none_if_empty")]
    pub sentinel_password: Option<Secret>,
    /// A file with the password of the sentinels, read for each connection.
    #[serde(deserialize_with = "none_if_empty")]
    pub sentinel_password_file: Option<PathBuf>,
    /// A PEM file with the trusted certificate authorities. `None`: the authorities of the system.
    #[serde(deserialize_with = "none_if_empty")]
    pub tls_ca_file: Option<PathBuf>,
    /// A PEM file with the client certificate.
    #[serde(deserialize_with = "none_if_empty")]
    pub tls_cert_file: Option<PathBuf>,
    /// A PEM file with the key of `tls_cert_file`.
    #[serde(deserialize_with = "none_if_empty")]
    pub tls_key_file: Option<PathBuf>,
    /// The prefix of every Redis key and channel, without the colon. [`BrokerSettings::redis_prefix`] is the one in Redis.
    pub prefix: String,
    /// How the keys are distributed over the masters of a Redis Cluster.
    pub shards: Shards,
    /// With how many masters a replica is ready.
    pub ready_with_shards: ReadyWithShards,
    /// Durable messages in the history of each channel.
    pub history_size: usize,
    /// The lifetime of the history of an idle channel.
    #[serde(with = "duration")]
    pub history_ttl: Duration,
    /// The time in which an idempotency key is recognised.
    #[serde(with = "duration")]
    pub idempotency_window: Duration,
    /// Bytes of all histories of `memory:` together.
    pub max_memory_history_bytes: usize,
    /// The timeout for opening a Redis connection.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// The timeout for the reply to a Redis command.
    #[serde(with = "duration")]
    pub response_timeout: Duration,
    /// The time between two probes that the replica publishes to itself.
    #[serde(with = "duration")]
    pub probe_interval: Duration,
    /// Without a probe for this long, the replica is not ready. Longer than `probe_interval`.
    #[serde(with = "duration")]
    pub probe_timeout: Duration,
    /// The time in which each channel is compared once with its history.
    #[serde(with = "duration")]
    pub history_check_interval: Duration,
    /// The first delay before a new connection.
    #[serde(with = "duration")]
    pub min_reconnect_delay: Duration,
    /// The longest delay before a new connection; at least `min_reconnect_delay`.
    #[serde(with = "duration")]
    pub max_reconnect_delay: Duration,
    /// Bytes queued between the Redis link and one hub; at least `max_payload_bytes`.
    pub max_inbox_bytes: usize,
    /// The longest published message, in bytes.
    pub max_payload_bytes: usize,
    /// The maximum nesting depth of arrays and objects in a published message.
    pub max_payload_depth: usize,
}

impl fmt::Debug for BrokerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The serialised form masks the URL.
        f.write_str("BrokerSettings ")?;
        serde_json::to_string(self).map_err(|_| fmt::Error).and_then(|text| f.write_str(&text))
    }
}

/// `[session]`: the limits of one WebSocket.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSettings {
    /// The time between two heartbeats of the server.
    #[serde(with = "duration")]
    pub heartbeat_interval: Duration,
    /// A client that is silent for `heartbeat_interval` plus this time is closed (4002).
    #[serde(with = "duration")]
    pub heartbeat_grace: Duration,
    /// A socket that has not identified itself after this time is closed (4004).
    #[serde(with = "duration")]
    pub identify_timeout: Duration,
    /// The longest message from a client, in bytes (else 1009).
    pub max_message_bytes: usize,
    /// Bytes queued for one socket (else 4008).
    pub max_outbound_bytes: usize,
    /// The most messages that a client can recover from the history of one channel. 0 = none.
    pub max_recovered_messages: usize,
    /// A socket that accepts no byte for this long while bytes are queued is cut.
    #[serde(with = "duration")]
    pub write_timeout: Duration,
    /// Messages that a client may send in a minute (else 4007). 0 = no limit.
    pub messages_per_minute: u32,
    /// Pings and Pongs that a client may send in a minute (else 4007).
    pub control_frames_per_minute: u32,
    /// Frames of one fragmented message.
    pub max_fragments: usize,
    /// The time from the first byte of a message to its last (else 1008).
    #[serde(with = "duration")]
    pub message_timeout: Duration,
    /// Between two signals of a session to the same channel. A newer signal replaces the waiting one.
    #[serde(with = "duration")]
    pub signal_interval: Duration,
    /// Messages (op 16) that a client may send in a minute. 0 = no limit.
    pub sends_per_minute: u32,
    /// Signals (op 18) that a client may send in a minute. 0 = no limit.
    pub signals_per_minute: u32,
}

/// `[inbox]`: the messages of clients that wait for a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InboxSettings {
    /// Unread messages. At this number, clients get `busy`.
    pub max_entries: usize,
    /// The longest message of a client, in bytes (else `too_big`).
    pub max_message_bytes: usize,
}

/// `[admin]`: the admin port.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSettings {
    /// The bearer key of the admin API. `None`: the API refuses requests, except in development on a loopback address.
    /// [`Settings::load`](super::Settings::load) also sets it from `api_key_file`.
    #[serde(deserialize_with = "none_if_empty")]
    pub api_key: Option<Secret>,
    /// The file with the bearer key.
    #[serde(deserialize_with = "none_if_empty")]
    pub api_key_file: Option<PathBuf>,
    /// The URL of the console's WebSocket. `None`: derived from `server.public_addr`.
    #[serde(deserialize_with = "none_if_empty")]
    pub socket_url: Option<String>,
    /// Open connections. More are not accepted until one ends.
    pub max_connections: usize,
    /// The time from accept to the end of the first head, and from each head to the end of its body.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
}

/// `[drain]`: the shutdown after SIGTERM.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DrainSettings {
    /// The replica is not ready for this time, but still serves.
    #[serde(with = "duration")]
    pub delay: Duration,
    /// After `delay`, all sockets are closed, spread over this time.
    #[serde(with = "duration")]
    pub window: Duration,
    /// The time from the signal to the exit; at least `delay` + `window`.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

/// `[limits]`: limits against abuse. 0 = no limit.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Open sockets of one client address.
    pub connections_per_address: u32,
    /// Open sockets that have not identified themselves.
    pub unidentified: u32,
    /// Sessions of one user on this replica (else close 4007).
    pub sessions_per_user: u32,
    /// Channels of one session, without its own two.
    pub subscriptions_per_session: u32,
    /// New sockets in a second.
    pub connects_per_second: u32,
    /// New sockets of one client address in a second.
    pub connects_per_second_per_address: u32,
    /// Identifies and Refreshes of one user in a minute, on this replica (else close 4007).
    pub identifies_per_minute_per_user: u32,
    /// Failed Identifies of one client address in a minute (else close 4007).
    pub failed_identifies_per_minute_per_address: u32,
}

/// `[presence]`: which users are online, and which are in a room.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceSettings {
    /// Whether replicas report their users, channels and rooms.
    pub enabled: bool,
    /// A user is away after this time without a session.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// The most entries of each stream of edges, approximately.
    pub max_edges: usize,
    /// Clients receive joins and leaves of a channel with at most this many members.
    pub max_members: usize,
}

/// `[control]`: commands to every replica.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSettings {
    /// A replica that has been without Redis for longer may not know that a token was revoked.
    #[serde(with = "duration")]
    pub max_stale: Duration,
    /// What such a replica does with new sessions.
    pub when_stale: WhenStale,
}

/// `control.when_stale`: what a replica that may not know all revocations does with new sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenStale {
    /// It accepts them.
    Accept,
    /// It refuses them with close code 1013.
    Refuse,
}

/// `[channels]`: the channels that every user may subscribe to, besides those in the token.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// Namespaces that every identified user may subscribe to.
    pub public_namespaces: Vec<String>,
}

/// `[log]`: level and format of the log.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// A level or a list of `module=level`. The environment variable `RUST_LOG` overrides it.
    pub level: String,
    /// The format of a line.
    pub format: LogFormat,
}

/// `log.format`: the format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object per line.
    Json,
}

/// TOML has no null, so an optional value is an empty string in `default.toml`.
fn none_if_empty<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: From<String>,
{
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then(|| T::from(text)))
}

fn serialize_url<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&mask_url(url))
}
