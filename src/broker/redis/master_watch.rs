//! Watches whether a link still leads to the right master, as more than half of the sentinels or of the nodes of a
//! cluster name it.
//!
//! A master that was replaced may answer as a master for a while, and a master that the other nodes of its cluster have
//! forgotten does so for ever. Publishers use the new master or other nodes, so a link to such a master looks healthy
//! and receives only its own probes.
//!
//! Where there is a link to each master of a cluster, the same queries tell when the map of the slots is stale.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::ConnectionInfo;
use redis::aio::MultiplexedConnection;
use tokio::time::{sleep, timeout};

use super::address::{Address, Sentinels};
use super::cluster::{OwnerWatch, ask_for_map};
use super::connect::connect_to_ask;
use super::link_error::LinkError;
use super::options::RedisOptions;
use super::process::ProcessState;
use super::sentinel::{MasterAddress, ask};

/// The longest time between two queries of a server, so that a long `probe_interval` does not delay a failover.
const MAX_INTERVAL: Duration = Duration::from_millis(500);
/// The shortest time between two queries of any servers, on average: the map of a large cluster is large.
const MIN_SPACING: Duration = Duration::from_millis(25);

/// The servers that name the master of a link, and the master that they named.
pub(super) enum MasterWatch {
    Sentinels(Sentinels, MasterAddress),
    Cluster(OwnerWatch),
}

impl MasterWatch {
    /// Returns when more than half of the servers name the same other master, or those of a cluster none. Servers that
    /// do not answer, or a minority that disagrees, do not end a link.
    pub(super) async fn until_moved(&self, process: &ProcessState) -> LinkError {
        let pace = Pace::new(&process.options);
        match self {
            Self::Sentinels(sentinels, master) => {
                let servers = || sentinels.sentinels.clone();
                let ask = async |_: &ConnectionInfo, connection: &mut MultiplexedConnection| {
                    ask(connection, &sentinels.name).await
                };
                let decide = |answers: &[Option<&MasterAddress>]| {
                    let (host, port) = other_master(answers, master)?;
                    Some(LinkError::MasterMoved(format!("{host}:{port}")))
                };
                pace.ask_until(servers, ask, decide).await
            }
            Self::Cluster(watch) => {
                let servers = || process.cluster.nodes(&watch.seeds);
                let decide = |answers: &[Option<&_>]| watch.decide(&process.cluster, answers);
                pace.ask_until(servers, ask_for_map, decide).await
            }
        }
    }
}

/// Notes that the map of the slots is stale when more than half of the nodes of a cluster name other owners than it.
/// Never ends.
pub(super) async fn watch_map(process: &ProcessState) -> Infallible {
    if let Ok(Address::Cluster(seeds)) = process.options.address() {
        let servers = || process.cluster.nodes(&seeds);
        let decide = |answers: &[Option<&_>]| {
            if process.cluster.is_stale(answers) {
                process.map_stale.notify_one();
            }
            None
        };
        Pace::new(&process.options).ask_until(servers, ask_for_map, decide).await;
    }
    std::future::pending().await
}

/// How servers are asked.
struct Pace<'a> {
    options: &'a RedisOptions,
    /// The time between two queries of a server.
    interval: Duration,
    /// The longest time of a query.
    bound: Duration,
}

/// A server with its last answer; `None`: it did not answer.
struct AskedServer<A> {
    server: ConnectionInfo,
    answer: Option<A>,
}

/// The end of one query. The connection is kept for the next one; `None` after a failure.
struct QueryEnd<A> {
    server: ConnectionInfo,
    connection: Option<MultiplexedConnection>,
    answer: Option<A>,
}

impl<'a> Pace<'a> {
    fn new(options: &'a RedisOptions) -> Self {
        let interval = options.probe_interval.min(MAX_INTERVAL);
        Self { options, interval, bound: options.connect_timeout }
    }

    /// Asks the servers again and again, until their last answers end the link. Each server has queries of its own, so a
    /// frozen one delays no other.
    async fn ask_until<A: PartialEq>(
        &self,
        servers: impl Fn() -> Vec<ConnectionInfo>,
        ask: impl AsyncFn(&ConnectionInfo, &mut MultiplexedConnection) -> Result<A, LinkError>,
        decide: impl Fn(&[Option<&A>]) -> Option<LinkError>,
    ) -> LinkError {
        let mut asked: Vec<AskedServer<A>> = Vec::new();
        let mut queries = FuturesUnordered::new();
        loop {
            let current = servers();
            let wait = self.interval.max(MIN_SPACING * current.len() as u32);
            for server in &current {
                if !asked.iter().any(|known| known.server.addr() == server.addr()) {
                    asked.push(AskedServer { server: server.clone(), answer: None });
                    queries.push(self.query(&ask, server.clone(), None, wait));
                }
            }
            let Some(QueryEnd { server, connection, answer }) = queries.next().await else {
                // Not reached: there is at least one server, and each query is followed by another one.
                return std::future::pending().await;
            };
            let Some(index) = asked.iter().position(|known| known.server.addr() == server.addr()) else {
                continue;
            };
            if !current.iter().any(|other| other.addr() == server.addr()) {
                asked.swap_remove(index);
                continue;
            }
            if asked[index].answer != answer {
                asked[index].answer = answer;
                let answers: Vec<_> = asked.iter().map(|known| known.answer.as_ref()).collect();
                if let Some(error) = decide(&answers) {
                    return error;
                }
            }
            queries.push(self.query(&ask, server, connection, wait));
        }
    }

    /// Asks one server after about this wait.
    async fn query<A>(
        &self,
        ask: &impl AsyncFn(&ConnectionInfo, &mut MultiplexedConnection) -> Result<A, LinkError>,
        server: ConnectionInfo,
        connection: Option<MultiplexedConnection>,
        wait: Duration,
    ) -> QueryEnd<A> {
        sleep(wait.mul_f64(rand::random_range(0.8..1.2))).await;
        let asking = async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => connect_to_ask(self.options, &server).await?,
            };
            let answer = ask(&server, &mut connection).await?;
            Ok::<_, LinkError>((connection, answer))
        };
        let (connection, answer) = match timeout(self.bound, asking).await {
            Ok(Ok((connection, answer))) => (Some(connection), Some(answer)),
            Ok(Err(error)) => {
                log::debug!("redis: {} did not name the master: {error}", server.addr());
                (None, None)
            }
            Err(_) => (None, None),
        };
        QueryEnd { server, connection, answer }
    }
}

/// The master that more than half of the sentinels name, if it is not this one.
fn other_master<'a>(
    answers: &[Option<&'a MasterAddress>],
    master: &MasterAddress,
) -> Option<&'a MasterAddress> {
    let is_majority = |address: &&MasterAddress| {
        let votes = answers.iter().flatten().filter(|answer| *answer == address).count();
        votes * 2 > answers.len()
    };
    answers.iter().flatten().copied().find(is_majority).filter(|address| *address != master)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_majority_of_all_sentinels_ends_a_link() {
        let address = |port| ("a".to_owned(), port);
        for (answers, moved) in [
            (&[Some(2)][..], Some(2)),
            (&[Some(1)], None),
            (&[None], None),
            (&[Some(2), None, None], None),
            (&[Some(2), Some(1), None], None),
            (&[Some(2), Some(3), Some(1)], None),
            (&[Some(2), None, Some(2)], Some(2)),
            (&[Some(2), Some(1)], None),
        ] {
            let answers: Vec<_> = answers.iter().map(|port| port.map(address)).collect();
            let answers: Vec<_> = answers.iter().map(Option::as_ref).collect();
            assert_eq!(other_master(&answers, &address(1)), moved.map(address).as_ref(), "{answers:?}");
        }
    }
}
