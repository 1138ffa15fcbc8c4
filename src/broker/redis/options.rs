//! What the link needs to know.

use std::fmt;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion};

use super::super::{BrokerSetupError, HistoryOptions};

/// Where Redis is and how long to wait for it.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://`, `rediss://` (TLS) or `unix://`. It may hold a password: it is never logged.
    pub url: String,
    /// What stands before every channel, without the colon.
    pub prefix: String,
    /// How long a connection, with its greeting, may take.
    pub connect_timeout: Duration,
    /// How long a command may take.
    pub response_timeout: Duration,
    /// From one probe to the next.
    pub probe_interval: Duration,
    /// How long a probe may take to be heard before the link is replaced.
    pub probe_timeout: Duration,
    /// The shortest wait before a new attempt; also before the first one after a loss.
    pub reconnect_min: Duration,
    /// The longest wait before a new attempt.
    pub reconnect_max: Duration,
    /// Longer payloads are dropped unread.
    pub max_payload_bytes: usize,
    /// What is kept of durable messages.
    pub history: HistoryOptions,
}

impl RedisOptions {
    /// The address without user and password, for messages.
    pub(super) fn connection_info(&self) -> Result<ConnectionInfo, BrokerSetupError> {
        let info = self
            .url
            .as_str()
            .into_connection_info()
            // Only the kind of the error: its detail may repeat parts of the URL.
            .map_err(|error| BrokerSetupError::BadUrl(error.category().to_owned()))?;
        let redis = info
            .redis_settings()
            .clone()
            // RESP2: a subscribed connection is nothing else, and its state is known exactly.
            .set_protocol(ProtocolVersion::RESP2)
            .set_lib_name("emagine-gateway", env!("CARGO_PKG_VERSION"));
        Ok(info.set_redis_settings(redis).set_tcp_settings(self.tcp_settings()))
    }

    /// A peer that is gone without a word is given up by the kernel too, not only by the probe.
    fn tcp_settings(&self) -> TcpSettings {
        // The kernel counts keepalive in whole seconds, and refuses 0.
        let patience = (self.probe_interval + self.probe_timeout).max(Duration::from_secs(1));
        let keepalive = TcpKeepalive::new().with_time(patience).with_interval(Duration::from_secs(1));
        let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        #[cfg(target_os = "linux")]
        let settings = settings.set_user_timeout(patience);
        settings
    }

    pub(super) fn redis_channel(&self, channel: &str) -> String {
        format!("{}:{channel}", self.prefix)
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, probe_interval, probe_timeout, max_payload_bytes, .. } = self;
        f.debug_struct("RedisOptions")
            .field("prefix", prefix)
            .field("probe_interval", probe_interval)
            .field("probe_timeout", probe_timeout)
            .field("max_payload_bytes", max_payload_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_shows_neither_in_the_options_nor_in_the_address() {
        let options = RedisOptions {
            url: "redis://user:hunter2@redis.internal:6380/3".into(),
            prefix: "gateway".into(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(2),
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_secs(3),
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(5),
            max_payload_bytes: 65_536,
            history: HistoryOptions::of_size(1000),
        };
        let info = options.connection_info().unwrap();
        assert_eq!(info.addr().to_string(), "redis.internal:6380");
        assert_eq!(info.redis_settings().password(), Some("hunter2"));
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
