//! The options of the link.

use std::fmt;
use std::time::Duration;

use redis::ProtocolVersion;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::super::{BrokerSetupError, HistoryOptions, PresenceOptions};
use super::access::{Credentials, TlsFiles};
use super::address::{Address, OpenedAddress};
use super::link_error::LinkError;
use super::link_gauges::ReadyWith;
use super::names::{Layout, Names};

/// The address of Redis, the credentials, the timeouts and the limits.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://`, `unix://`, `redis+sentinel://` or `redis+cluster://`; `rediss://`, `rediss+sentinel://` and
    /// `rediss+cluster://` with TLS. Never logged, because it may hold a password.
    pub url: String,
    /// The credentials at Redis. The settings allow either these or a user in the URL.
    pub credentials: Credentials,
    /// The credentials at the sentinels.
    pub sentinel_credentials: Credentials,
    /// The certificates, for a URL with TLS.
    pub tls: TlsFiles,
    /// How the keys are put into the slots of a cluster.
    pub layout: Layout,
    /// With how many masters the process is ready. All, unless each channel is in its own slot.
    pub ready_with: ReadyWith,
    /// The prefix of every channel and key, without the colon. With [`Layout::OneSlot`] it is in braces.
    pub prefix: String,
    /// How long a connection may take, handshake included.
    pub connect_timeout: Duration,
    /// How long a command may take.
    pub response_timeout: Duration,
    /// The time from one probe to the next.
    pub probe_interval: Duration,
    /// How long a probe may take to return before the link is replaced.
    pub probe_timeout: Duration,
    /// The shortest wait before an attempt to connect, also before the first one after a loss.
    pub min_reconnect_delay: Duration,
    /// The longest wait before an attempt to connect.
    pub max_reconnect_delay: Duration,
    /// The interval at which every channel is compared with its history.
    pub history_check_interval: Duration,
    /// Longer payloads are dropped before they are parsed.
    pub max_payload_bytes: usize,
    /// Payloads with deeper nesting are dropped.
    pub max_payload_depth: usize,
    /// The limits of histories.
    pub history: HistoryOptions,
    /// How long a revocation is kept if its command does not say it: the longest life of a token.
    pub revocation_ttl: Duration,
    /// `None`: presence is off.
    pub presence: Option<PresenceOptions>,
}

impl RedisOptions {
    /// The parsed URL.
    pub(super) fn address(&self) -> Result<Address, BrokerSetupError> {
        Address::parse(&self.url, |info| {
            let redis = info
                .redis_settings()
                .clone()
                // With RESP2 a subscriber's connection carries only messages and confirmations.
                .set_protocol(ProtocolVersion::RESP2)
                .set_lib_name("emagine-gateway", env!("CARGO_PKG_VERSION"));
            info.set_redis_settings(redis).set_tcp_settings(self.tcp_settings())
        })
    }

    /// Checks the URL and the current content of the files. Reads files, so it may block.
    ///
    /// # Errors
    /// The URL is invalid, or a file cannot be used.
    pub fn check(&self) -> Result<(), BrokerSetupError> {
        self.address()?;
        self.open().map(drop).map_err(|error| BrokerSetupError::Unusable(error.to_string()))
    }

    /// The address with the current content of the files. Reads files, so it may block.
    pub(super) fn open(&self) -> Result<OpenedAddress, LinkError> {
        let address = self.address().map_err(|error| LinkError::Connect(error.to_string()))?;
        address.open(&self.credentials, &self.sentinel_credentials, &self.tls)
    }

    /// The address with the current content of the files, within `connect_timeout`.
    pub(super) async fn open_in_time(&self) -> Result<OpenedAddress, LinkError> {
        let (bound, options) = (self.connect_timeout, self.clone());
        // The files may be on a network file system, so reading them may block.
        let opening = timeout(bound, spawn_blocking(move || options.open()));
        let Ok(opened) = opening.await else { return Err(LinkError::ConnectTimeout(bound)) };
        opened.unwrap_or(Err(LinkError::Panicked))
    }

    /// Lets the kernel detect a peer that disappeared, in addition to the probe.
    fn tcp_settings(&self) -> TcpSettings {
        // The kernel counts keepalive in whole seconds, and refuses 0.
        let silence_timeout = (self.probe_interval + self.probe_timeout).max(Duration::from_secs(1));
        let keepalive = TcpKeepalive::new().with_time(silence_timeout).with_interval(Duration::from_secs(1));
        let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        #[cfg(target_os = "linux")]
        let settings = settings.set_user_timeout(silence_timeout);
        settings
    }

    /// The names of keys and channels.
    pub(super) fn names(&self) -> Names<'_> {
        Names { layout: self.layout, prefix: &self.prefix }
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
impl RedisOptions {
    /// Options for tests.
    pub(super) fn of_url(url: &str) -> Self {
        Self {
            url: url.into(),
            credentials: Credentials::default(),
            sentinel_credentials: Credentials::default(),
            tls: TlsFiles::default(),
            layout: Layout::Plain,
            ready_with: ReadyWith::All,
            prefix: "gateway".into(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(2),
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_secs(3),
            min_reconnect_delay: Duration::from_millis(100),
            max_reconnect_delay: Duration::from_secs(5),
            history_check_interval: Duration::from_secs(30),
            max_payload_bytes: 65_536,
            max_payload_depth: protocol::payload_limits::DEFAULT_MAX_DEPTH,
            history: HistoryOptions::of_size(1000),
            revocation_ttl: Duration::from_secs(2_592_005),
            presence: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_addresses_do_not_show_the_password() {
        let options = RedisOptions::of_url("redis://user:hunter2@redis.internal:6380/3");
        let address = options.address().unwrap();
        assert_eq!(address.to_string(), "redis.internal:6380");
        let Address::Server(info) = address else { panic!("not one server") };
        assert_eq!(info.redis_settings().password(), Some("hunter2"));
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
