//! What a crowd is counted as.

use super::deployment::Crowd;
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
    /// The sorted set of the names in `counts`, for pages.
    pub(super) pages: Option<&'static str>,
    /// Whether the names are channels, which a client can leave without disconnecting.
    pub(super) is_channel: bool,
    /// How many clients each replica may have.
    pub(super) slots: usize,
    /// The name of the client in a slot. Several slots may have the same.
    pub(super) name: fn(usize) -> String,
    /// Connects, and requests everything that makes the name present. The replica may be without Redis.
    pub(super) arrive: fn(&TestGateway, usize) -> Client,
    /// Waits until the replica has confirmed that, after as many departures from the channel.
    pub(super) wait_arrived: fn(&mut Client, usize),
    /// Checks what else must be the truth.
    pub(super) check_more: fn(&Crowd),
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
    pages: None,
    is_channel: false,
    slots: 8,
    name: |slot| slot.to_string(),
    arrive: |gateway, slot| {
        let mut client = gateway.connect();
        client.identify(&slot.to_string());
        client
    },
    wait_arrived: |client, _| {
        client.expect_ready();
    },
    check_more: |_| {},
};

/// Channels are present while they have a subscriber. Those of `team` have members, the others have counts.
pub(super) const CHANNELS: Kind = Kind {
    counts: "gateway:{presence}:occupied",
    stream: "gateway:{presence}:channels",
    leaving: "gateway:{presence}:leaving:channels",
    rosters: "gateway:{presence}:channels:*",
    field: "channel",
    begins: "occupied",
    ends: "vacated",
    published: None,
    settings: &[
        ("channels.public_namespaces", "room,team"),
        ("namespaces.room.occupancy", "true"),
        ("namespaces.room.presence", "count"),
        ("namespaces.team.occupancy", "true"),
        ("namespaces.team.presence", "members"),
        ("session.messages_per_minute", "0"),
    ],
    pages: Some("gateway:{presence}:in-use"),
    is_channel: true,
    slots: 12,
    name: |slot| format!("{}:{}", ["room", "team"][slot % 2], slot % 8),
    arrive: |gateway, slot| {
        let mut client = gateway.connect_v2();
        let (user, channel) = (subscriber(slot), (CHANNELS.name)(slot));
        client.send_text(&format!(r#"{{"op":1,"token":"{user}","channels":[{{"channel":"{channel}"}}]}}"#));
        client
    },
    wait_arrived: |client, departures| {
        let mut left = departures;
        loop {
            let frame = client.next_json();
            match (frame["op"].as_u64(), frame["state"].as_str()) {
                (Some(6), Some("unsubscribed")) => left -= 1,
                (Some(2), _) | (Some(6), Some("subscribed" | "recovering")) if left == 0 => return,
                (Some(2 | 8 | 14), _) | (Some(6), Some("subscribed" | "recovering")) => {}
                _ => panic!("{frame}"),
            }
        }
    },
    check_more: super::rooms::check,
};

/// The user of the client in a slot. Slots 1 and 9 have the same user in the same channel; 3 and 11 have two.
pub(super) fn subscriber(slot: usize) -> String {
    if slot == 9 { "1".to_owned() } else { slot.to_string() }
}
