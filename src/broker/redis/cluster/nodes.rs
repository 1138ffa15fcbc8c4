//! Asks the nodes of a cluster which master owns each slot.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, ConnectionInfo, TlsCertificates, Value};
use tokio::time::{Instant, timeout_at};

use super::super::address::{at_endpoint, connect_for_query, is_tls};
use super::super::link_error::LinkError;
use super::map::{NodeAddress, SlotMap, Votes};
use super::shards::{self, Asked};
use super::slot::Slot;

/// What this process knows of the nodes of a cluster.
#[derive(Default)]
pub(in super::super) struct ClusterNodes {
    known: Mutex<KnownNodes>,
}

#[derive(Default)]
struct KnownNodes {
    map: Arc<SlotMap>,
    /// The masters of the map, and earlier ones while a slot has no master. The hosts of the URL may all have been
    /// replaced meanwhile.
    masters: BTreeSet<NodeAddress>,
}

impl ClusterNodes {
    /// The last map; before the first one, no slot has an owner.
    pub(in super::super) fn map(&self) -> Arc<SlotMap> {
        Arc::clone(&self.known.lock().map)
    }

    /// Asks all `seeds` and all masters that were known before at once, for at most `bound`, and keeps the answer of
    /// the majority. Does not wait for the others when more than half agree about `slots`. The seeds have the login at
    /// every node.
    pub(in super::super) async fn read(
        &self,
        seeds: &[ConnectionInfo],
        certificates: Option<&TlsCertificates>,
        slots: impl Iterator<Item = Slot> + Clone,
        bound: Duration,
    ) -> Result<Arc<SlotMap>, LinkError> {
        let deadline = Instant::now() + bound;
        let nodes = self.nodes(seeds);
        let queries = nodes.iter().map(|node| async move {
            let answer = timeout_at(deadline, query(node, certificates)).await;
            answer.unwrap_or(Err(LinkError::ConnectTimeout(bound))).inspect_err(|error| {
                log::debug!("redis at {}: no map of the slots: {error}", node.addr());
            })
        });
        let mut answers: FuturesUnordered<_> = queries.collect();
        let (mut votes, mut failure) = (Votes::default(), None);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(map) => votes.count(map),
                Err(error) => note_failure(&mut failure, error),
            }
            if votes.is_settled(nodes.len(), slots.clone()) {
                break;
            }
        }
        if votes.is_empty() {
            return Err(no_map(failure));
        }
        Ok(self.keep(votes.result(&self.map())))
    }

    /// Whether more than half of the nodes agree about all slots, and not with the last map. `None`: a node did not
    /// answer.
    pub(in super::super) fn is_stale(&self, answers: &[Option<&SlotMap>]) -> bool {
        let (votes, map) = (Votes::of(answers), self.map());
        votes.is_settled(answers.len(), Slot::all()) && votes.result(&map) != *map
    }

    /// The nodes to ask: the seeds, and the masters that are no seeds.
    pub(in super::super) fn nodes(&self, seeds: &[ConnectionInfo]) -> Vec<ConnectionInfo> {
        let mut nodes = seeds.to_vec();
        let Some(login) = seeds.first() else { return nodes };
        let known = self.known.lock().masters.clone();
        let is_seed = |master: &NodeAddress| {
            seeds.iter().any(|seed| endpoint(seed) == Some((master.host.as_str(), master.port)))
        };
        let masters = known.into_iter().filter(|master| !is_seed(master));
        nodes.extend(masters.map(|master| at_endpoint(login, master.host, master.port)));
        nodes
    }

    pub(super) fn keep(&self, map: SlotMap) -> Arc<SlotMap> {
        let mut known = self.known.lock();
        if map.unowned().next().is_none() {
            known.masters.clear();
        }
        known.masters.extend(map.masters().cloned());
        known.map = Arc::new(map);
        Arc::clone(&known.map)
    }
}

/// A refused password takes precedence, because an operator must fix it.
fn note_failure(failure: &mut Option<LinkError>, error: LinkError) {
    if failure.is_none() || error.needs_an_operator() {
        *failure = Some(error);
    }
}

/// What a server without cluster mode answers to `CLUSTER SHARDS`, on every engine.
const NO_CLUSTER_MODE: &str = "cluster support disabled";

/// Why no node gave a map.
fn no_map(failure: Option<LinkError>) -> LinkError {
    match failure {
        Some(LinkError::Access(reason)) => LinkError::Access(format!("by a node of the cluster: {reason}")),
        Some(LinkError::Refused(reason)) if reason.contains(NO_CLUSTER_MODE) => LinkError::NotACluster,
        Some(error) => LinkError::NoSlotMap(error.to_string()),
        // Not reached: there is at least one seed, and each one answers or fails.
        None => LinkError::NoSlotMap("no node was asked".into()),
    }
}

/// The host and the port of a node; `None`: a Unix socket.
fn endpoint(node: &ConnectionInfo) -> Option<(&str, u16)> {
    match node.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Some((host, *port)),
        _ => None,
    }
}

async fn query(node: &ConnectionInfo, certificates: Option<&TlsCertificates>) -> Result<SlotMap, LinkError> {
    // The caller has a deadline for the whole query.
    ask_for_map(node, &mut connect_for_query(node, certificates).await?).await
}

/// Asks a node for its map. Without a bound.
pub(in super::super) async fn ask_for_map(
    node: &ConnectionInfo,
    connection: &mut MultiplexedConnection,
) -> Result<SlotMap, LinkError> {
    let mut command = redis::cmd("CLUSTER");
    let answer: Value =
        command.arg("SHARDS").query_async(connection).await.map_err(|error| LinkError::of_connect(&error))?;
    let (host, _) = endpoint(node).unwrap_or_default();
    shards::parse(&answer, Asked { host, is_tls: is_tls(node) })
        .map_err(|error| LinkError::NoSlotMap(error.to_string()))
}

#[cfg(test)]
mod tests {
    use redis::IntoConnectionInfo as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn node(port: u16) -> ConnectionInfo {
        format!("redis://127.0.0.1:{port}").into_connection_info().unwrap()
    }

    /// A server that answers every command, `answer` to `CLUSTER SHARDS`. Returns its port.
    async fn serve(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while let Ok(1..) = socket.read(&mut bytes).await {
                        let commands = String::from_utf8_lossy(&bytes).matches('*').count();
                        let is_shards = String::from_utf8_lossy(&bytes).contains("SHARDS");
                        let text = if is_shards { answer.to_owned() } else { "+OK\r\n".repeat(commands) };
                        socket.write_all(text.as_bytes()).await.unwrap();
                        bytes.fill(0);
                    }
                });
            }
        });
        port
    }

    /// Master `a` at port 7 has all slots.
    const ALL: &str = "*1\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n*8\r\n$2\r\nid\r\n$1\r\na\r\n\
                       $4\r\nport\r\n:7\r\n$8\r\nendpoint\r\n$0\r\n\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";

    async fn read(cluster: &ClusterNodes, ports: &[u16]) -> Result<Arc<SlotMap>, LinkError> {
        let seeds: Vec<_> = ports.iter().map(|port| node(*port)).collect();
        cluster.read(&seeds, None, Slot::all(), Duration::from_millis(500)).await
    }

    fn owner(map: &SlotMap) -> String {
        map.owner(Slot::of_key("{gateway}:")).unwrap().to_string()
    }

    #[tokio::test]
    async fn seeds_that_are_down_or_no_cluster_are_skipped() {
        let cluster = ClusterNodes::default();
        let (good, single, garbage) = (
            serve(ALL).await,
            serve("-ERR This instance has cluster support disabled\r\n").await,
            serve("+nonsense\r\n").await,
        );
        let closed = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port() };
        let map = read(&cluster, &[closed, single, garbage, good]).await.unwrap();
        assert_eq!((owner(&map), cluster.map()), ("127.0.0.1:7".into(), map));
        for (port, reason) in [
            (closed, "no node of the cluster knows its slots: cannot connect: connection refused"),
            (single, "broker.url leads to a server that is not in cluster mode"),
            (garbage, "no node of the cluster knows its slots: the answer to CLUSTER SHARDS is not valid"),
        ] {
            let error = read(&ClusterNodes::default(), &[port]).await.unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[tokio::test]
    async fn a_silent_node_delays_only_a_vote_without_majority() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = silent.local_addr().map(|address| (silent, address.port())).unwrap();
        let (first, second) = (serve(ALL).await, serve(ALL).await);
        for (ports, is_late) in [(&[silent.1, first, second][..], false), (&[silent.1, first], true)] {
            let started = Instant::now();
            assert_eq!(owner(&read(&ClusterNodes::default(), ports).await.unwrap()), "127.0.0.1:7");
            assert_eq!(started.elapsed() >= Duration::from_millis(500), is_late, "{ports:?}");
        }
    }

    #[test]
    fn a_map_is_stale_when_most_nodes_name_other_owners() {
        let map = |master: &str, slots: u16| {
            let mut map = SlotMap::default();
            let address = NodeAddress { host: master.into(), port: 7 };
            map.assign(master, address, Slot::all().take(slots.into()));
            map
        };
        let cluster = ClusterNodes::default();
        let (known, other, part) = (map("a", 16_384), map("b", 16_384), map("a", 9));
        cluster.keep(known.clone());
        for (answers, is_stale) in [
            ([Some(&known), Some(&known), Some(&other)], false),
            ([Some(&known), None, Some(&other)], false),
            ([None, None, Some(&other)], false),
            ([Some(&other), None, Some(&other)], true),
            // The nodes have forgotten the owner of most slots.
            ([Some(&known), Some(&part), Some(&part)], true),
        ] {
            assert_eq!(cluster.is_stale(&answers), is_stale, "{answers:?}");
        }
    }

    #[test]
    fn masters_are_asked_too_until_others_have_all_slots() {
        let cluster = ClusterNodes::default();
        let at = |port| NodeAddress { host: "127.0.0.1".into(), port };
        let map = |masters: &[u16], slots: u16| {
            let mut map = SlotMap::default();
            for &port in masters {
                map.assign(&port.to_string(), at(port), Slot::all().take(slots.into()));
            }
            map
        };
        let asked = || {
            let nodes = cluster.nodes(&[node(1), node(2)]);
            nodes.iter().filter_map(|node| Some(endpoint(node)?.1)).collect::<Vec<_>>()
        };
        assert_eq!(asked(), [1, 2]);
        cluster.keep(map(&[2, 3], 16_384));
        assert_eq!(asked(), [1, 2, 3]);
        cluster.keep(map(&[4], 1));
        assert_eq!(asked(), [1, 2, 3, 4]);
        cluster.keep(map(&[5], 16_384));
        assert_eq!(asked(), [1, 2, 5]);
    }
}
