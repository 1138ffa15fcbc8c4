//! Checks the form of `broker.url`.

use crate::settings::SettingsError;
use crate::settings::validate::refusal;

/// The properties of the URL that other settings depend on. The broker parses the URL in full.
pub(super) struct BrokerUrl {
    pub(super) kind: BrokerKind,
    pub(super) is_tls: bool,
    pub(super) has_credentials: bool,
}

/// Where the hosts of the URL lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BrokerKind {
    /// Nowhere: there is no Redis.
    Memory,
    /// To the server itself.
    Server,
    /// To sentinels that know the master.
    Sentinels,
    /// To nodes of a cluster.
    Cluster,
}

impl BrokerUrl {
    /// The errors do not repeat the URL, because it may contain a password.
    pub(super) fn parse(url: &str) -> Result<Self, SettingsError> {
        if url == "memory:" {
            return Ok(Self { kind: BrokerKind::Memory, is_tls: false, has_credentials: false });
        }
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (kind, is_tls) = match scheme {
            "redis" | "unix" | "redis+unix" => (BrokerKind::Server, false),
            "rediss" => (BrokerKind::Server, true),
            "redis+sentinel" => (BrokerKind::Sentinels, false),
            "rediss+sentinel" => (BrokerKind::Sentinels, true),
            "redis+cluster" => (BrokerKind::Cluster, false),
            "rediss+cluster" => (BrokerKind::Cluster, true),
            _ => return Err(bad(BAD_SCHEME)),
        };
        if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(bad("must not contain whitespace"));
        }
        let has_credentials =
            if scheme.ends_with("unix") { parse_socket(rest)? } else { parse_hosts(kind, rest)? };
        Ok(Self { kind, is_tls, has_credentials })
    }
}

/// Checks the path and the parameters of a Unix socket. Returns whether they contain credentials.
fn parse_socket(rest: &str) -> Result<bool, SettingsError> {
    if !rest.starts_with('/') || rest == "/" {
        return Err(bad("must contain the absolute path of a socket, such as unix:///run/redis/redis.sock"));
    }
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let mut names = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name);
    let mut databases = query.split('&').filter_map(|pair| pair.strip_prefix("db="));
    if !databases.all(is_database) {
        return Err(bad(BAD_DATABASE));
    }
    Ok(names.any(|name| matches!(name, "user" | "pass")))
}

/// Checks what follows the scheme. Returns whether it contains credentials.
fn parse_hosts(kind: BrokerKind, rest: &str) -> Result<bool, SettingsError> {
    let (credentials, endpoint) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (hosts, path) = endpoint.split_once('/').unwrap_or((endpoint, ""));
    let is_named = |host: &str| host.split([':', '?', '#']).next().is_some_and(|name| !name.is_empty());
    if !hosts.split(',').all(is_named) {
        return Err(bad("must contain a host, such as redis://127.0.0.1:6379"));
    }
    if !hosts.split(',').all(has_good_port) {
        return Err(bad("must have a port between 1 and 65535, such as redis://127.0.0.1:6379"));
    }
    if kind == BrokerKind::Server && hosts.contains(',') {
        return Err(bad(
            "must have one host unless the hosts are sentinels (redis+sentinel://) or nodes of a cluster \
             (redis+cluster://)",
        ));
    }
    if kind != BrokerKind::Server && credentials.contains('@') && credentials.contains(',') {
        return Err(bad("must have the user and the password once, before the first host"));
    }
    if kind == BrokerKind::Cluster && endpoint.contains(['/', '?', '#']) {
        return Err(bad(
            "must end after the hosts if they are nodes of a cluster, which has no database numbers, such as \
             redis+cluster://host:6379,host:6379",
        ));
    }
    let is_sentinel = kind == BrokerKind::Sentinels;
    if is_sentinel && path.split(['/', '?', '#']).next().is_none_or(str::is_empty) {
        return Err(bad("must contain the name of the master, such as redis+sentinel://host:26379/mymaster"));
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let database = if is_sentinel { path.split_once('/').map_or("", |(_, db)| db) } else { path };
    if !database.is_empty() && !is_database(database) {
        return Err(bad(BAD_DATABASE));
    }
    Ok(!credentials.is_empty())
}

const BAD_SCHEME: &str = "must be memory:, or begin with redis://, rediss://, unix://, redis+sentinel://, \
                          rediss+sentinel://, redis+cluster:// or rediss+cluster://";

const BAD_DATABASE: &str =
    "must have a database number or nothing after the slash, such as redis://host:6379/3";

fn is_database(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u32>().is_ok()
}

/// A host without a port is valid. The colons in `[::1]` do not separate a port.
fn has_good_port(host: &str) -> bool {
    let host = host.split(['?', '#']).next().unwrap_or_default();
    let end = host.rsplit(']').next().unwrap_or_default();
    end.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn bad(reason: &str) -> SettingsError {
    refusal("broker.url", reason)
}
