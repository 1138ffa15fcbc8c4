//! Finds Redis and makes the connections of a link.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisResult};
use rustls::ClientConfig;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::address::{Address, OpenedAddress, at_endpoint, connect_for_query, open_client};
use super::cluster::slot::Slot;
use super::cluster::{NodeAddress, OwnerWatch, SlotMap};
use super::dataset;
use super::inbox_state::MAX_SENDING;
use super::link_error::LinkError;
use super::master_watch::MasterWatch;
use super::options::{Layout, RedisOptions};
use super::process::{MAX_PUBLISHING, ProcessState};
use super::role::RoleQuery;
use super::sentinel;
use super::server_check::{ServerCheck, first_error};
use super::state::RedisState;
use super::subscriber::{self, Messages, SubscribeKind, Subscriptions};

/// The server to connect to now, with the credentials for it.
pub(super) struct Endpoint {
    pub(super) client: Client,
    /// The certificates for the subscriber; `None`: no TLS.
    tls: Option<Arc<ClientConfig>>,
    /// Only where sentinels name the server, or a cluster does for the only link. Several links follow the map of the
    /// slots.
    watch: Option<MasterWatch>,
}

/// The connections of a link.
pub(super) struct LinkConnections {
    /// Subscribes and unsubscribes.
    pub(super) subscriptions: Subscriptions,
    /// Receives, on the same connection.
    pub(super) messages: Messages,
    /// Publishes and probes.
    pub(super) commands: MultiplexedConnection,
    /// How to query the server's role.
    pub(super) role: RoleQuery,
    /// How to check that the server serves the keys.
    pub(super) check: ServerCheck,
}

impl Endpoint {
    /// Finds the server. Each link calls this again, because files may have changed and the master may have moved. In a
    /// cluster it is the master with the slot of all keys.
    pub(super) async fn resolve(process: &ProcessState) -> Result<Self, LinkError> {
        let options = &process.options;
        let OpenedAddress { address, certificates, tls } = open(options).await?;
        let (certificates, bound) = (certificates.as_ref(), options.connect_timeout);
        let mut watch = None;
        let info = match address {
            Address::Server(info) => info,
            Address::Master(sentinels) => {
                let master = sentinel::find_master(&sentinels, certificates, bound).await?;
                let info = sentinels.master_at(master.0.clone(), master.1);
                watch = Some(MasterWatch::Sentinels(sentinels, master));
                info
            }
            Address::Cluster(seeds) => {
                let slot = Slot::of_key(&options.names().users());
                let map = process.cluster.read(&seeds, certificates, [slot].into_iter(), bound).await?;
                let owner = map.owner(slot).ok_or(LinkError::NoOwner(slot))?;
                let info = at_node(&seeds, owner)?;
                watch = OwnerWatch::new(seeds, slot, &map).map(MasterWatch::Cluster);
                info
            }
        };
        Ok(Self { client: open_client(info, certificates)?, tls, watch })
    }

    /// The endpoint of a node of a cluster. Each link calls this again, because files may have changed.
    pub(super) async fn of_node(options: &RedisOptions, node: &NodeAddress) -> Result<Self, LinkError> {
        let OpenedAddress { address, certificates, tls } = open(options).await?;
        let Address::Cluster(seeds) = address else { return Err(not_a_cluster()) };
        Ok(Self { client: open_client(at_node(&seeds, node)?, certificates.as_ref())?, tls, watch: None })
    }

    /// Returns when the sentinels, or the nodes of a cluster, no longer name this server. Never returns without them.
    pub(super) async fn until_moved(&self, process: &ProcessState) -> LinkError {
        match &self.watch {
            Some(watch) => watch.until_moved(process).await,
            None => std::future::pending().await,
        }
    }

    /// The address, for messages.
    pub(super) fn name(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// Makes the connections of a link, and checks that the server is a master.
    pub(super) async fn connect(&self, state: &RedisState) -> Result<LinkConnections, LinkError> {
        let bound = state.options.connect_timeout;
        let fence = state.probe();
        let subscriber = within(bound, of_connect(self.connect_subscriber(&state.options, &fence)));
        let ((subscriptions, messages), mut commands) =
            tokio::try_join!(subscriber, self.connect_commands(&state.options))?;
        // Checked here, before the link subscribes to thousands of channels.
        let mut role = RoleQuery::default();
        let mut check =
            ServerCheck::new(dataset::checked_keys(state), self.cluster_url(state.options.layout));
        let mut for_check = commands.clone();
        within(bound, async {
            let verifying = (check.verify(state, &mut for_check), role.verify_master(state, &mut commands));
            let (check, role) = tokio::join!(verifying.0, verifying.1);
            first_error(check, role)
        })
        .await?;
        Ok(LinkConnections { subscriptions, messages, commands, role, check })
    }

    /// A connection for the subscriber.
    async fn connect_subscriber(
        &self,
        options: &RedisOptions,
        fence: &str,
    ) -> RedisResult<(Subscriptions, Messages)> {
        let info = self.client.get_connection_info();
        let kind = if options.names().is_sharded() { SubscribeKind::Sharded } else { SubscribeKind::Plain };
        subscriber::connect(info, self.tls.as_ref(), (kind, fence), options.response_timeout).await
    }

    /// The URL for this server if it belongs to a Redis Cluster, without user and password; `None`: `broker.url` is that
    /// of a cluster.
    fn cluster_url(&self, layout: Layout) -> Option<String> {
        if layout != Layout::Plain {
            return None;
        }
        let with_port = |host: &str, port: u16| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        Some(match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) => format!("redis+cluster://{}", with_port(host, *port)),
            ConnectionAddr::TcpTls { host, port, .. } => {
                format!("rediss+cluster://{}", with_port(host, *port))
            }
            _ => "redis+cluster://host:port".to_owned(),
        })
    }

    /// A new connection for commands.
    pub(super) async fn connect_commands(
        &self,
        options: &RedisOptions,
    ) -> Result<MultiplexedConnection, LinkError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None) // `within` bounds it, as it bounds the subscriber's connection.
            .set_response_timeout(Some(options.response_timeout))
            // The queue is never full: a publication that waits for room in it could be overtaken by a later one.
            .set_pipeline_buffer_size(2 * (MAX_PUBLISHING + MAX_SENDING));
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        within(options.connect_timeout, of_connect(connecting)).await
    }
}

/// Reads which master of a cluster owns each slot.
pub(super) async fn read_slot_map(process: &ProcessState) -> Result<Arc<SlotMap>, LinkError> {
    let OpenedAddress { address, certificates, .. } = open(&process.options).await?;
    let Address::Cluster(seeds) = address else { return Err(not_a_cluster()) };
    let bound = process.options.connect_timeout;
    process.cluster.read(&seeds, certificates.as_ref(), Slot::all(), bound).await
}

/// Connects to a sentinel or to a node of a cluster with the current content of the files, which may have changed since
/// the link began. Without a bound: the caller has one.
pub(super) async fn connect_to_ask(
    options: &RedisOptions,
    server: &ConnectionInfo,
) -> Result<MultiplexedConnection, LinkError> {
    let OpenedAddress { address, certificates, .. } = open(options).await?;
    let login = match &address {
        Address::Server(info) => Some(info),
        Address::Master(sentinels) => sentinels.sentinels.first(),
        Address::Cluster(seeds) => seeds.first(),
    };
    let login = login.unwrap_or(server).redis_settings().clone();
    connect_for_query(&server.clone().set_redis_settings(login), certificates.as_ref()).await
}

/// The address with the current content of the files.
async fn open(options: &RedisOptions) -> Result<OpenedAddress, LinkError> {
    let (bound, to_open) = (options.connect_timeout, options.clone());
    // The files may be on a network file system, so reading them may block.
    let opening = timeout(bound, spawn_blocking(move || to_open.open()));
    let Ok(opened) = opening.await else { return Err(LinkError::ConnectTimeout(bound)) };
    opened.unwrap_or(Err(LinkError::Panicked))
}

/// The login of the seeds at this node.
fn at_node(seeds: &[ConnectionInfo], node: &NodeAddress) -> Result<ConnectionInfo, LinkError> {
    let seed = seeds.first().ok_or_else(not_a_cluster)?;
    Ok(at_endpoint(seed, node.host.clone(), node.port))
}

/// Not reached: the URL of a cluster has at least one host.
fn not_a_cluster() -> LinkError {
    LinkError::NoSlotMap("broker.url names no cluster".into())
}

async fn of_connect<T>(connecting: impl Future<Output = RedisResult<T>>) -> Result<T, LinkError> {
    connecting.await.map_err(|error| LinkError::of_connect(&error))
}

/// Bounds an attempt to connect, handshake included.
async fn within<T>(
    bound: Duration,
    connecting: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    timeout(bound, connecting).await.unwrap_or(Err(LinkError::ConnectTimeout(bound)))
}
