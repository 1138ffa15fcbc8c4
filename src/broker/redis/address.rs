//! Parses `broker.url`: one server, sentinels that know the master, or nodes of a cluster.

use std::fmt;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisConnectionInfo, TlsCertificates,
};
use rustls::ClientConfig;

use super::super::BrokerSetupError;
use super::access::{Credentials, TlsFiles};
use super::link_error::LinkError;

/// The port of a sentinel if the URL names none.
const SENTINEL_PORT: u16 = 26379;

/// The address of Redis. Its text has no user and no password.
pub(super) enum Address {
    /// One server.
    Server(ConnectionInfo),
    /// The master that the sentinels name.
    Master(Sentinels),
    /// The masters of a cluster, of which these nodes know the slots. At least one, each with the login at every node.
    Cluster(Vec<ConnectionInfo>),
}

/// The sentinels, and the master to ask them for.
pub(super) struct Sentinels {
    /// In the order of the URL; at least one.
    pub(super) sentinels: Vec<ConnectionInfo>,
    /// The sentinels' name of the master.
    pub(super) name: String,
    /// The login at the master. Its address is a placeholder, because only the sentinels know the address.
    login: ConnectionInfo,
}

/// An address with the passwords and certificates of one attempt.
pub(super) struct OpenedAddress {
    pub(super) address: Address,
    /// For redis-rs; `None`: no TLS.
    pub(super) certificates: Option<TlsCertificates>,
    /// The same certificates for the subscriber.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl Address {
    /// Parses a URL. Applies `finish` to each connection of the result.
    pub(super) fn parse(
        url: &str,
        finish: impl Fn(ConnectionInfo) -> ConnectionInfo,
    ) -> Result<Self, BrokerSetupError> {
        match url.split_once("+sentinel://") {
            Some((scheme @ ("redis" | "rediss"), rest)) => {
                Sentinels::parse(scheme, rest, finish).map(Self::Master)
            }
            _ => match url.split_once("+cluster://") {
                Some((scheme @ ("redis" | "rediss"), rest)) => {
                    parse_seeds(scheme, rest, finish).map(Self::Cluster)
                }
                _ => Ok(Self::Server(finish(parse(url)?))),
            },
        }
    }

    /// Adds the credentials and certificates. Reads files, so it may block.
    pub(super) fn open(
        self,
        redis: &Credentials,
        sentinels: &Credentials,
        tls: &TlsFiles,
    ) -> Result<OpenedAddress, LinkError> {
        let at_redis = |login| redis.apply_to(login, "broker.password_file");
        let at_sentinel = |login| sentinels.apply_to(login, "broker.sentinel_password_file");
        let address = match self {
            Self::Server(info) => Self::Server(with_login(info, at_redis)?),
            Self::Master(Sentinels { sentinels, name, login }) => {
                let sentinels = sentinels
                    .into_iter()
                    .map(|info| with_login(info, at_sentinel))
                    .collect::<Result<_, _>>()?;
                Self::Master(Sentinels { sentinels, name, login: with_login(login, at_redis)? })
            }
            Self::Cluster(seeds) => {
                let seeds = seeds.into_iter().map(|info| with_login(info, at_redis));
                Self::Cluster(seeds.collect::<Result<_, _>>()?)
            }
        };
        let certified = match &address {
            Self::Server(info) | Self::Master(Sentinels { login: info, .. }) => Some(info),
            Self::Cluster(seeds) => seeds.first(),
        };
        let is_tls = certified.is_some_and(is_tls);
        let certificates = if is_tls { Some(tls.read()?) } else { None };
        let config = certificates.as_ref().map(|read| tls.client_config(read)).transpose()?;
        Ok(OpenedAddress { address, certificates, tls: config })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(info) => info.addr().fmt(f),
            Self::Master(Sentinels { sentinels, name, .. }) => {
                let endpoints: Vec<_> = sentinels.iter().map(|info| info.addr().to_string()).collect();
                write!(f, "the master {name} of the sentinels {}", endpoints.join(", "))
            }
            Self::Cluster(seeds) => {
                let endpoints: Vec<_> = seeds.iter().map(|info| info.addr().to_string()).collect();
                write!(f, "the cluster of {}", endpoints.join(", "))
            }
        }
    }
}

impl Sentinels {
    /// `[user:password@]host[:port][,host[:port]…]/name[/db]`
    fn parse(
        scheme: &str,
        rest: &str,
        finish: impl Fn(ConnectionInfo) -> ConnectionInfo,
    ) -> Result<Self, BrokerSetupError> {
        let bad = |reason: &str| BrokerSetupError::BadUrl(reason.to_owned());
        let (login, endpoint) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (hosts, path) = endpoint.split_once('/').unwrap_or((endpoint, ""));
        if path.contains(['?', '#']) {
            return Err(bad("only a database number may follow the master's name"));
        }
        let (name, db) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() {
            return Err(bad("the master's name is missing"));
        }
        let mut sentinels = Vec::new();
        for host in hosts.split(',') {
            let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
            let port = if has_port { String::new() } else { format!(":{SENTINEL_PORT}") };
            sentinels.push(finish(parse(&format!("{scheme}://{host}{port}"))?));
        }
        let login = finish(parse(&format!("{scheme}://{login}@sentinels-know/{db}"))?);
        Ok(Self { sentinels, name: name.to_owned(), login })
    }

    /// The connection to the master at this address.
    pub(super) fn master_at(&self, host: String, port: u16) -> ConnectionInfo {
        at_endpoint(&self.login, host, port)
    }
}

/// The same login at another address.
pub(super) fn at_endpoint(login: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let address = match login.addr() {
        ConnectionAddr::TcpTls { insecure, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    login.clone().set_addr(address)
}

pub(super) fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

/// `[user:password@]host[:port][,host[:port]…]`
fn parse_seeds(
    scheme: &str,
    rest: &str,
    finish: impl Fn(ConnectionInfo) -> ConnectionInfo,
) -> Result<Vec<ConnectionInfo>, BrokerSetupError> {
    let (login, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
    if hosts.contains(['/', '?', '#']) {
        return Err(BrokerSetupError::BadUrl("nothing may follow the nodes of a cluster".to_owned()));
    }
    let seeds = hosts.split(',').map(|host| Ok(finish(parse(&format!("{scheme}://{login}@{host}"))?)));
    seeds.collect()
}

fn parse(url: &str) -> Result<ConnectionInfo, BrokerSetupError> {
    // Only the kind of the error, because its detail may repeat parts of the URL.
    url.into_connection_info().map_err(|error| BrokerSetupError::BadUrl(error.category().to_owned()))
}

fn with_login(
    info: ConnectionInfo,
    change: impl Fn(RedisConnectionInfo) -> Result<RedisConnectionInfo, LinkError>,
) -> Result<ConnectionInfo, LinkError> {
    let login = change(info.redis_settings().clone())?;
    Ok(info.set_redis_settings(login))
}

/// A client of one endpoint. It resolves a host name at each connection.
pub(super) fn open_client(
    info: ConnectionInfo,
    certificates: Option<&TlsCertificates>,
) -> Result<Client, LinkError> {
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        None => Client::open(info),
    };
    client.map_err(|error| LinkError::of_connect(&error))
}

/// Connects to a server that only answers queries about masters. Without a bound: the caller has a deadline for the
/// whole query.
pub(super) async fn connect_for_query(
    server: &ConnectionInfo,
    certificates: Option<&TlsCertificates>,
) -> Result<MultiplexedConnection, LinkError> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let client = open_client(server.clone(), certificates)?;
    let connecting = client.get_multiplexed_async_connection_with_config(&config).await;
    connecting.map_err(|error| LinkError::of_connect(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<Address, BrokerSetupError> {
        Address::parse(url, |info| info)
    }

    #[test]
    fn sentinels_are_parsed_from_a_url() {
        let address = parsed("redis+sentinel://me:p%40ss@a:1,b,[::1],[::2]:5/main/3").unwrap();
        let endpoints = "a:1, b:26379, ::1:26379, ::2:5";
        assert_eq!(address.to_string(), format!("the master main of the sentinels {endpoints}"));
        let Address::Master(sentinels) = address else { panic!("a server") };
        assert!(sentinels.sentinels.iter().all(|info| info.redis_settings().password().is_none()));
        let master = sentinels.master_at("10.0.0.7".into(), 6380);
        let login = master.redis_settings();
        assert_eq!(master.addr().to_string(), "10.0.0.7:6380");
        assert_eq!((login.username(), login.password(), login.db()), (Some("me"), Some("p@ss"), 3));
    }

    #[test]
    fn all_nodes_of_a_cluster_have_the_login_of_the_url() {
        let address = parsed("rediss+cluster://me:p%40ss@a:1,b,[::1]:3").unwrap();
        assert_eq!(address.to_string(), "the cluster of a:1, b:6379, ::1:3");
        let Address::Cluster(seeds) = address else { panic!("not a cluster") };
        let node = at_endpoint(&seeds[0], "c".into(), 7);
        for info in seeds.iter().chain([&node]) {
            let login = info.redis_settings();
            assert_eq!((login.username(), login.password(), login.db()), (Some("me"), Some("p@ss"), 0));
            assert!(is_tls(info));
        }
        assert_eq!(node.addr().to_string(), "c:7");
    }

    #[test]
    fn with_tls_sentinels_and_master_use_tls() {
        let Address::Master(sentinels) = parsed("rediss+sentinel://a/main").unwrap() else {
            panic!("a server")
        };
        let master = sentinels.master_at("b".into(), 1);
        for info in sentinels.sentinels.iter().chain([&master]) {
            assert!(matches!(info.addr(), ConnectionAddr::TcpTls { insecure: false, .. }), "{info:?}");
        }
    }

    #[test]
    fn an_invalid_url_is_refused_without_its_password() {
        for end in ["a", "a/", "a,/main", "/main", "a/main/x", "a/main/1/2", "a/main?db=1", "a:x/main"] {
            let error = parsed(&format!("redis+sentinel://me:hunter2@{end}")).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        for end in ["", "a,", "a/0", "a?x=1", "a:x"] {
            let error = parsed(&format!("redis+cluster://me:hunter2@{end}")).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
