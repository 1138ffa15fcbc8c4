//! Finds Redis and makes the connections of a link.

use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisResult};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::address::{Address, OpenedAddress, open_client};
use super::dataset;
use super::inbox_state::MAX_SENDING;
use super::link_error::LinkError;
use super::master_watch::MasterWatch;
use super::options::RedisOptions;
use super::process::MAX_PUBLISHING;
use super::role::RoleQuery;
use super::sentinel;
use super::server_check::{ServerCheck, first_error};
use super::state::RedisState;

/// The server to connect to now, with the credentials for it.
pub(super) struct Endpoint {
    pub(super) client: Client,
    /// Only where sentinels name the server.
    watch: Option<MasterWatch>,
}

/// The connections of a link.
pub(super) struct LinkConnections {
    /// Only subscribes and receives.
    pub(super) subscriber: PubSub,
    /// Publishes and probes.
    pub(super) commands: MultiplexedConnection,
    /// How to query the server's role.
    pub(super) role: RoleQuery,
    /// How to check that the server serves the keys.
    pub(super) check: ServerCheck,
}

impl Endpoint {
    /// Finds the server. Each link calls this again, because files may have changed and the master may have moved.
    pub(super) async fn resolve(options: &RedisOptions) -> Result<Self, LinkError> {
        let bound = options.connect_timeout;
        let to_open = options.clone();
        // The files may be on a network file system, so reading them may block.
        let opening = timeout(bound, spawn_blocking(move || to_open.open()));
        let Ok(opened) = opening.await else { return Err(LinkError::ConnectTimeout(bound)) };
        let OpenedAddress { address, certificates } = opened.unwrap_or(Err(LinkError::Panicked))?;
        let (info, watch) = match address {
            Address::Server(info) => (info, None),
            Address::Master(sentinels) => {
                let master = sentinel::find_master(&sentinels, certificates.as_ref(), bound).await?;
                let info = sentinels.master_at(master.0.clone(), master.1);
                (info, Some(MasterWatch::new(sentinels, certificates.clone(), master)))
            }
        };
        Ok(Self { client: open_client(info, certificates.as_ref())?, watch })
    }

    /// Returns when the sentinels name another server. Never returns without sentinels.
    pub(super) async fn until_moved(&self, options: &RedisOptions) -> LinkError {
        match &self.watch {
            Some(watch) => watch.until_moved(options).await,
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
        let subscriber = within(bound, of_connect(self.client.get_async_pubsub()));
        let (subscriber, mut commands) = tokio::try_join!(subscriber, self.connect_commands(&state.options))?;
        // Checked here, before the link subscribes to thousands of channels.
        let mut role = RoleQuery::default();
        let mut check = ServerCheck::new(dataset::checked_keys(&state.options), self.cluster_url());
        let mut for_check = commands.clone();
        within(bound, async {
            let verifying = (check.verify(state, &mut for_check), role.verify_master(state, &mut commands));
            let (check, role) = tokio::join!(verifying.0, verifying.1);
            first_error(check, role)
        })
        .await?;
        Ok(LinkConnections { subscriber, commands, role, check })
    }

    /// The URL for this server if it belongs to a Redis Cluster, without user and password.
    fn cluster_url(&self) -> Option<String> {
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

async fn of_connect<T>(connecting: impl Future<Output = RedisResult<T>>) -> Result<T, LinkError> {
    connecting.await.map_err(|error| LinkError::of_connect(&error))
}

/// Bounds an attempt to connect. redis-rs bounds neither the connection nor the handshake of a subscriber.
async fn within<T>(
    bound: Duration,
    connecting: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    timeout(bound, connecting).await.unwrap_or(Err(LinkError::ConnectTimeout(bound)))
}
