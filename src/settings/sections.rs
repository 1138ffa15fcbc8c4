//! The sections of the settings, one struct each. Units, ranges and defaults of every key are in `config/default.toml`;
//! `validate.rs` keeps the ranges.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Secret, SettingsError, duration, mask_url};

/// `[server]`: the listeners and what every socket goes through before it is a session.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Where clients connect. Port 0 takes any free port.
    pub public_addr: SocketAddr,
    /// Where operators and backends connect.
    pub admin_addr: SocketAddr,
    /// Worker threads; 0 = one per core.
    pub workers: usize,
    /// Open sockets of the process; 0 = no cap.
    pub max_connections: usize,
    /// Bytes that may wait to be written to all sockets together; 0 = no cap.
    pub max_outbound_bytes: usize,
    /// Exact origins (`https://app.example.com`), `https://*.example.com` for any subdomain, `loopback` or `*`.
    pub allowed_origins: Vec<String>,
    /// Whether a client without an Origin header may connect.
    pub allow_missing_origin: bool,
    /// From accept to the end of the upgrade request.
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
    /// CIDRs whose forwarding headers are believed; parsed by [`ServerSettings::trusted_networks`].
    pub trusted_proxies: Vec<String>,
    /// Whether to negotiate permessage-deflate with clients that offer it.
    pub compression: bool,
    /// How long to wait for the peer's Close after ours.
    #[serde(with = "duration")]
    pub close_timeout: Duration,
}

impl ServerSettings {
    /// How many worker threads there are.
    pub fn worker_threads(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }

    /// `trusted_proxies` as networks; an address alone is a network of one.
    ///
    /// # Errors
    /// One of them is neither. [`Settings::load`](super::Settings::load) has asked already.
    pub fn trusted_networks(&self) -> Result<Vec<IpNet>, SettingsError> {
        let network = |text: &String| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
        self.trusted_proxies.iter().map(network).collect::<Option<_>>().ok_or_else(|| {
            SettingsError::Refused {
                key: "server.trusted_proxies",
                reason: r#"must contain networks such as "10.0.0.0/8" or "fd00::/8""#.to_owned(),
            }
        })
    }
}

/// `[broker]`: how publications travel between replicas. `Debug` and serialisation mask the URL's password.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// `memory:`, or where Redis is. May hold a password: print it through [`mask_url`] only.
    #[serde(serialize_with = "serialize_url")]
    pub url: String,
    /// The user at Redis, if the URL names none.
    #[serde(deserialize_with = "none_if_empty")]
    pub username: Option<String>,
    /// The password at Redis, if it stands neither in the URL nor in a file.
    #[serde(deserialize_with = "none_if_empty")]
    pub password: Option<Secret>,
    /// A file with the password, read anew for each link.
    #[serde(deserialize_with = "none_if_empty")]
    pub password_file: Option<PathBuf>,
    /// The user at the sentinels.
    #[serde(deserialize_with = "none_if_empty")]
    pub sentinel_username: Option<String>,
    /// The password at the sentinels.
    #[serde(deserialize_with = "none_if_empty")]
    pub sentinel_password: Option<Secret>,
    /// A file with the password at the sentinels, read anew for each link.
    #[serde(deserialize_with = "none_if_empty")]
    pub sentinel_password_file: Option<PathBuf>,
    /// A PEM file with the authorities whose certificates are trusted; `None`: those of the system.
    #[serde(deserialize_with = "none_if_empty")]
    pub tls_ca_file: Option<PathBuf>,
    /// A PEM file with the gateway's own certificate.
    #[serde(deserialize_with = "none_if_empty")]
    pub tls_cert_file: Option<PathBuf>,
    /// A PEM file with the key of `tls_cert_file`.
    #[serde(deserialize_with = "none_if_empty")]
    pub tls_key_file: Option<PathBuf>,
    /// In front of every Redis key and channel, without the colon.
    pub prefix: String,
    /// Durable messages kept for each channel.
    pub history_size: usize,
    /// How long an idle channel's history is kept.
    #[serde(with = "duration")]
    pub history_ttl: Duration,
    /// How long an idempotency key is remembered.
    #[serde(with = "duration")]
    pub idempotency_window: Duration,
    /// The bound on all histories of `memory:` together.
    pub max_memory_history_bytes: usize,
    /// Bound for opening a Redis connection.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// Bound for the answer to a Redis command.
    #[serde(with = "duration")]
    pub response_timeout: Duration,
    /// Time between two probes of the replica to itself.
    #[serde(with = "duration")]
    pub probe_interval: Duration,
    /// No probe heard for this long: not ready. Longer than `probe_interval`.
    #[serde(with = "duration")]
    pub probe_timeout: Duration,
    /// The time in which every channel is compared with its history once.
    #[serde(with = "duration")]
    pub history_check_interval: Duration,
    /// The first pause before connecting again.
    #[serde(with = "duration")]
    pub min_reconnect_delay: Duration,
    /// The longest pause before connecting again; at least `min_reconnect_delay`.
    #[serde(with = "duration")]
    pub max_reconnect_delay: Duration,
    /// Bytes that may wait between the Redis link and one hub; at least `max_payload_bytes`.
    pub max_inbox_bytes: usize,
    /// The longest published message, in bytes.
    pub max_payload_bytes: usize,
    /// The maximum nesting depth of arrays and objects in a published message.
    pub max_payload_depth: usize,
}

impl fmt::Debug for BrokerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Through the serialised form, so that the URL is masked in one place only.
        f.write_str("BrokerSettings ")?;
        serde_json::to_string(self).map_err(|_| fmt::Error).and_then(|text| f.write_str(&text))
    }
}

/// `[session]`: the bounds of one WebSocket.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSettings {
    /// Time between two heartbeats of the server.
    #[serde(with = "duration")]
    pub heartbeat_interval: Duration,
    /// A client silent for `heartbeat_interval` and this long is closed (4002).
    #[serde(with = "duration")]
    pub heartbeat_grace: Duration,
    /// A socket not identified after this time is closed (4004).
    #[serde(with = "duration")]
    pub identify_timeout: Duration,
    /// The longest message from a client, in bytes (else 1009).
    pub max_message_bytes: usize,
    /// Bytes that may wait to be written to one socket (else 4008).
    pub max_outbound_bytes: usize,
    /// Messages that a client may be given of one channel's history; 0 = nothing is recovered.
    pub max_recovered_messages: usize,
    /// A socket that takes no byte for this long while bytes wait is cut.
    #[serde(with = "duration")]
    pub write_timeout: Duration,
    /// Messages a client may send in a minute (else 4007); 0 = no cap.
    pub messages_per_minute: u32,
    /// Pings and Pongs a client may send in a minute (else 4007).
    pub control_frames_per_minute: u32,
    /// Frames that one fragmented message may consist of.
    pub max_fragments: usize,
    /// From the first byte of a message to its last (else 1008).
    #[serde(with = "duration")]
    pub message_timeout: Duration,
}

/// `auth.kind`: how Identify tokens are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthKind {
    /// The token is the user id itself. Development on a loopback address only.
    Insecure,
    /// JSON Web Tokens.
    Jwt,
    /// E-Magine's own login tokens: itsdangerous' TimestampSigner.
    Signed,
}

/// `[auth]`: who a client is.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// How tokens are checked.
    pub kind: AuthKind,
    /// The shared secret. After [`Settings::load`](super::Settings::load) also when it came from `secret_file`.
    #[serde(deserialize_with = "none_if_empty")]
    pub secret: Option<Secret>,
    /// The file that the secret came from.
    #[serde(deserialize_with = "none_if_empty")]
    pub secret_file: Option<PathBuf>,
    /// A PEM file with the public key.
    #[serde(deserialize_with = "none_if_empty")]
    pub public_key_file: Option<PathBuf>,
    /// The accepted jwt algorithms, all of one family.
    pub algorithms: Vec<String>,
    /// Whether a jwt may open the channels of other users.
    pub allow_foreign_user_channels: bool,
    /// The `aud` that a jwt must carry; `None`: not looked at.
    #[serde(deserialize_with = "none_if_empty")]
    pub audience: Option<String>,
    /// The `iss` that a jwt must carry; `None`: not looked at.
    #[serde(deserialize_with = "none_if_empty")]
    pub issuer: Option<String>,
    /// How old a signed token may be, whole seconds.
    #[serde(with = "duration")]
    pub max_age: Duration,
    /// Tolerated difference between our clock and the issuer's, whole seconds.
    #[serde(with = "duration")]
    pub leeway: Duration,
}

/// `[admin]`: the admin port.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSettings {
    /// The bearer key of the admin API. `None`: refused, except in development on a loopback address. After
    /// [`Settings::load`](super::Settings::load) also when it came from `api_key_file`.
    #[serde(deserialize_with = "none_if_empty")]
    pub api_key: Option<Secret>,
    /// The file that the key came from.
    #[serde(deserialize_with = "none_if_empty")]
    pub api_key_file: Option<PathBuf>,
    /// Where the console's socket goes; `None`: to `server.public_addr`.
    #[serde(deserialize_with = "none_if_empty")]
    pub socket_url: Option<String>,
    /// Open connections; further ones are not accepted until one has ended.
    pub max_connections: usize,
    /// From accept to the end of the first head, and from each head to the end of its body.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
}

/// `[drain]`: the way out after SIGTERM.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DrainSettings {
    /// Not ready, but still serving.
    #[serde(with = "duration")]
    pub delay: Duration,
    /// Then all sockets are closed, spread over this time.
    #[serde(with = "duration")]
    pub window: Duration,
    /// The whole of it, from the signal to the exit; at least `delay` + `window`.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

/// `[limits]`: caps against abuse; 0 = no cap.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Open sockets of one client address.
    pub connections_per_address: u32,
    /// Open sockets that have not identified themselves.
    pub unidentified: u32,
    /// Sessions of one user on this replica (else close 4007).
    pub sessions_per_user: u32,
    /// Channels of one session, its own two not counted.
    pub subscriptions_per_session: u32,
    /// New sockets in a second.
    pub connects_per_second: u32,
    /// New sockets of one client address in a second.
    pub connects_per_second_per_address: u32,
    /// Identifies and Refreshes of one user in a minute, on this replica (else close 4007).
    pub identifies_per_minute_per_user: u32,
    /// Identifies of one client address in a minute that do not become sessions (else close 4007).
    pub failed_identifies_per_minute_per_address: u32,
}

/// `[channels]`: who may subscribe to what, besides the token's own list.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// Namespaces that every identified user may subscribe to.
    pub public_namespaces: Vec<String>,
}

/// `[log]`: what is logged.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// A level or a list of `module=level`; the environment variable `RUST_LOG` wins over it.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// `log.format`: how a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// TOML has no null, so that a key which may be absent stands in `default.toml` as an empty string.
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
