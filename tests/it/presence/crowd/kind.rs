//! What a crowd is counted as.

use crate::support::client::Client;
use crate::support::gateway::TestGateway;

/// What Redis counts, by its keys, and how one of a crowd comes to a replica.
pub(super) struct Kind {
    /// The hash of counts.
    pub(super) counts: &'static str,
    /// The stream of edges.
    pub(super) stream: &'static str,
    /// The names with count 0.
    pub(super) leaving: &'static str,
    /// The keys of the rosters.
    pub(super) rosters: &'static str,
    /// The field of an edge that has the name.
    pub(super) field: &'static str,
    /// The state of an edge that begins.
    pub(super) begins: &'static str,
    /// The state of an edge that ends.
    pub(super) ends: &'static str,
    /// The channels on which the edges are published too; the name follows.
    pub(super) published: Option<&'static str>,
    /// Settings of the replicas.
    pub(super) settings: &'static [(&'static str, &'static str)],
    /// The name of one of the crowd.
    pub(super) name: fn(usize) -> String,
    /// Connects, and requests everything that makes the name present. The replica may be without Redis.
    pub(super) arrive: fn(&TestGateway, &str) -> Client,
    /// Waits until the replica has confirmed that.
    pub(super) wait_arrived: fn(&mut Client),
}

/// Users are present while they have a session.
pub(super) const USERS: Kind = Kind {
    counts: "gateway:{presence}:online",
    stream: "gateway:{presence}:edges",
    leaving: "gateway:{presence}:leaving:users",
    rosters: "gateway:{presence}:users:*",
    field: "user",
    begins: "online",
    ends: "offline",
    published: Some("gateway:online:"),
    settings: &[],
    name: |index| index.to_string(),
    arrive: |gateway, name| {
        let mut client = gateway.connect();
        client.identify(name);
        client
    },
    wait_arrived: |client| {
        client.expect_ready();
    },
};
