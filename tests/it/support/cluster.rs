//! A real Redis Cluster on loopback for one test.

mod changes;
mod client;
mod tests;
mod view;

use std::time::Duration;

use redis::{Connection, cmd};

use super::certificates::Authority;
use super::deadline::eventually;
use super::fault_proxy::hold;
use super::redis_server::{BUS_OFFSET, RedisServer};

pub(crate) use client::{ClusterClient, slot_of};
use view::View;

/// The number of slots of a cluster.
pub(crate) const SLOTS: u16 = 16_384;
/// The deadline for the nodes to agree, including a failover.
pub(crate) const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between two questions to all nodes, which need the cores to agree.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Masters and their Redis replicas. A node keeps its index for the lifetime of the cluster, whatever its role becomes:
/// first the masters, then the Redis replicas, then the masters that were added. Servers are killed on drop.
pub(crate) struct TestCluster {
    nodes: Vec<Node>,
    plan: ClusterPlan,
    /// The owner of each slot that was deleted from the cluster.
    deleted: Vec<(u16, usize)>,
}

struct Node {
    server: RedisServer,
    tls_port: Option<u16>,
    /// The id in the cluster.
    id: String,
    /// Whether the node has left the cluster for good.
    is_removed: bool,
}

/// The options of a cluster to be started.
pub(crate) struct ClusterPlan {
    masters: usize,
    replicas_each: usize,
    arguments: Vec<String>,
    authority: Option<Authority>,
}

impl ClusterPlan {
    /// Adds an argument of every `redis-server` and its value.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Every node announces the host name `localhost`.
    pub(crate) fn with_host_names(self) -> Self {
        self.with("--cluster-announce-hostname", "localhost")
    }

    /// Every node also accepts TLS, with a certificate of this authority for 127.0.0.1 and localhost.
    pub(crate) fn with_tls(mut self, authority: Authority) -> Self {
        self.authority = Some(authority);
        self
    }

    /// Starts the cluster and waits until all nodes agree on it.
    pub(crate) fn start(self) -> TestCluster {
        let count = self.masters * (1 + self.replicas_each);
        let mut cluster = TestCluster { nodes: Vec::new(), plan: self, deleted: Vec::new() };
        (0..count).for_each(|_| cluster.launch_node());
        cluster.nodes.iter_mut().for_each(Node::wait_up);
        cluster.assign_slots();
        let pairs = (0..count).flat_map(|one| (one + 1..count).map(move |other| (one, other)));
        pairs.for_each(|(one, other)| cluster.introduce(one, other));
        cluster.wait_acquainted();
        let masters = cluster.plan.masters;
        (masters..count).for_each(|replica| cluster.replicate(replica, (replica - masters) % masters));
        cluster.settle();
        cluster
    }
}

impl TestCluster {
    /// Starts a cluster with this number of masters and of Redis replicas for each of them.
    pub(crate) fn start(masters: usize, replicas_each: usize) -> Self {
        Self::plan(masters, replicas_each).start()
    }

    /// Plans a cluster.
    pub(crate) fn plan(masters: usize, replicas_each: usize) -> ClusterPlan {
        ClusterPlan { masters, replicas_each, arguments: Vec::new(), authority: None }
    }

    /// The URL for the gateway, with all nodes as seeds.
    pub(crate) fn url(&self) -> String {
        format!("redis+cluster://{}", self.seeds(Node::port))
    }

    /// The URL for the gateway over TLS, with all nodes as seeds.
    pub(crate) fn tls_url(&self) -> String {
        format!("rediss+cluster://{}", self.seeds(|node| node.tls_port.expect("the cluster has TLS")))
    }

    fn seeds(&self, port: impl Fn(&Node) -> u16) -> String {
        let seeds: Vec<_> = self.members().map(|at| format!("127.0.0.1:{}", port(&self.nodes[at]))).collect();
        seeds.join(",")
    }

    /// The server of a node.
    pub(crate) fn server(&self, node: usize) -> &RedisServer {
        &self.nodes[node].server
    }

    /// The server of a node, to kill, stop or restart it.
    pub(crate) fn server_mut(&mut self, node: usize) -> &mut RedisServer {
        &mut self.nodes[node].server
    }

    /// A connection to one node, which follows no redirection.
    pub(crate) fn connection(&self, node: usize) -> Connection {
        self.server(node).client()
    }

    /// A client that finds the owner of each key.
    pub(crate) fn client(&self) -> ClusterClient {
        ClusterClient::new(self.members().map(|node| self.server(node).address()).collect())
    }

    /// The node that owns a slot, as the first running node that knows an owner says.
    pub(crate) fn owner(&self, slot: u16) -> usize {
        let owner = self.views().find_map(|view| view.owner(slot).map(str::to_owned));
        self.index(&owner.unwrap_or_else(|| panic!("slot {slot} has no owner")))
    }

    /// The node that owns the slot of a key.
    pub(crate) fn owner_of_key(&self, key: &str) -> usize {
        self.owner(slot_of(key))
    }

    /// The running masters that own slots.
    pub(crate) fn masters(&self) -> Vec<usize> {
        let owns_slots = |&node: &usize| View::of(self.server(node)).is_some_and(|view| view.owns_slots());
        self.running().filter(owns_slots).collect()
    }

    /// The slots that a node owns.
    pub(crate) fn slots_of(&self, node: usize) -> Vec<u16> {
        let view = View::of(self.server(node)).expect("the node runs");
        view.slots_of(&self.nodes[node].id)
    }

    /// The running Redis replicas of a node.
    pub(crate) fn replicas_of(&self, node: usize) -> Vec<usize> {
        let id = &self.nodes[node].id;
        let follows =
            |&other: &usize| View::of(self.server(other)).is_some_and(|view| view.own_master() == Some(id));
        self.running().filter(follows).collect()
    }

    /// Waits until all running nodes serve the cluster, agree on the owners, and every Redis replica is connected.
    #[track_caller]
    pub(crate) fn settle(&self) {
        eventually_agreed(|| {
            let mut layouts = Vec::new();
            for node in self.running() {
                let view = View::of(self.server(node))?;
                (view.is_serving() && view.is_following()).then_some(())?;
                layouts.push(view.layout(self.running().map(|other| &*self.nodes[other].id))?);
            }
            layouts.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
        });
    }

    /// The nodes that have not left the cluster.
    pub(crate) fn members(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|&node| !self.nodes[node].is_removed)
    }

    /// The members whose server runs.
    fn running(&self) -> impl Iterator<Item = usize> {
        self.members().filter(|&node| self.server(node).is_running())
    }

    fn views(&self) -> impl Iterator<Item = View> {
        self.running().filter_map(|node| View::of(self.server(node)))
    }

    fn index(&self, id: &str) -> usize {
        self.nodes.iter().position(|node| node.id == id).expect("every node is of this cluster")
    }

    /// Starts a node that knows no other one; [`Node::wait_up`] waits for it.
    fn launch_node(&mut self) {
        let fixed =
            ["--cluster-enabled yes", "--cluster-node-timeout 1500", "--cluster-announce-ip 127.0.0.1"];
        let fast = ["--cluster-replica-validity-factor 0", "--repl-diskless-sync-delay 0"];
        let pairs = fixed.iter().chain(&fast).flat_map(|pair| pair.split(' '));
        let arguments: Vec<_> = pairs.chain(self.plan.arguments.iter().map(String::as_str)).collect();
        let issued = self.plan.authority.as_ref().map(|authority| (authority.issue(), &*authority.pem));
        let tls = issued.as_ref().map(|(certificate, authority)| (certificate, *authority));
        let (mut server, tls_port) = RedisServer::reserve_node(&arguments, tls);
        server.launch();
        self.nodes.push(Node { server, tls_port, id: String::new(), is_removed: false });
    }

    /// Gives each master its share of the slots. The epochs are set because equal ones take rounds to be resolved.
    fn assign_slots(&self) {
        let masters = self.plan.masters;
        let first_of = |master: usize| usize::from(SLOTS) * master / masters;
        for master in 0..masters {
            let mut connection = self.connection(master);
            let cluster = |name: &str| cmd("CLUSTER").arg(name).to_owned();
            cluster("SET-CONFIG-EPOCH").arg(master + 1).exec(&mut connection).unwrap();
            let (first, last) = (first_of(master), first_of(master + 1) - 1);
            cluster("ADDSLOTSRANGE").arg(first).arg(last).exec(&mut connection).unwrap();
        }
    }

    /// Makes two nodes know each other.
    fn introduce(&self, one: usize, other: usize) {
        let (port, bus) = (self.nodes[other].port_of_cluster(), self.server(other).port() + BUS_OFFSET);
        let mut meet = cmd("CLUSTER");
        meet.arg("MEET").arg("127.0.0.1").arg(port).arg(bus).exec(&mut self.connection(one)).unwrap();
    }

    /// Waits until every running node knows every other one by its id.
    #[track_caller]
    fn wait_acquainted(&self) {
        eventually_agreed(|| {
            let knows_all = |view: View| self.running().all(|node| view.knows(&self.nodes[node].id));
            let mut views = self.running().map(|node| View::of(self.server(node)));
            views.all(|view| view.is_some_and(knows_all)).then_some(())
        });
    }

    fn replicate(&self, replica: usize, master: usize) {
        let mut connection = self.connection(replica);
        let id = &self.nodes[master].id;
        eventually(AGREEMENT_TIMEOUT, || cmd("CLUSTER").arg("REPLICATE").arg(id).exec(&mut connection).ok());
    }
}

/// Waits until the nodes agree on something.
#[track_caller]
fn eventually_agreed<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    eventually(AGREEMENT_TIMEOUT, || {
        let found = probe();
        if found.is_none() {
            hold(POLL_INTERVAL);
        }
        found
    })
}

impl Node {
    fn port(&self) -> u16 {
        self.server.port()
    }

    /// The port by which the nodes name each other: the TLS port where there is one.
    fn port_of_cluster(&self) -> u16 {
        self.tls_port.unwrap_or_else(|| self.port())
    }

    #[track_caller]
    fn wait_up(&mut self) {
        self.server.wait_up();
        self.id = cmd("CLUSTER").arg("MYID").query(&mut self.server.client()).unwrap();
    }
}
