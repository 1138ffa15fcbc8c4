//! What must hold for the counts and the members of the channels of a crowd.

use std::collections::{BTreeMap, BTreeSet};

use redis::Connection;
use serde_json::{Value, json};

use super::super::BURIAL;
use super::deployment::Crowd;
use super::kind::{CHANNELS, subscriber};
use crate::support::deadline::eventually_eq;
use crate::support::gateway::TestGateway;

/// Every replica answers the truth, and Redis has that and nothing else.
pub(super) fn check(crowd: &Crowd) {
    let rooms = truth(crowd);
    let answers: BTreeMap<&str, Value> =
        rooms.iter().map(|(name, room)| (&**name, room.answers(name))).collect();
    for replica in &crowd.replicas {
        eventually_eq(BURIAL, &answers, || {
            rooms.keys().map(|name| (&**name, ask(&replica.gateway, name))).collect()
        });
    }
    let mut backend = crowd.redis.client();
    eventually_eq(BURIAL, &Stored::expected(&rooms), || Stored::read(&mut backend));
}

/// Who is subscribed to a channel.
#[derive(Default)]
struct Room {
    /// The users of the sessions on each replica that has some, by its process.
    replicas: BTreeMap<String, Vec<String>>,
}

/// The truth of each channel, also of those without a subscriber.
fn truth(crowd: &Crowd) -> BTreeMap<String, Room> {
    let mut rooms: BTreeMap<String, Room> =
        (0..CHANNELS.slots).map(|slot| ((CHANNELS.name)(slot), Room::default())).collect();
    for replica in &crowd.replicas {
        let process = replica.gateway.get("/v1/status").json()["replica"].as_str().unwrap().to_owned();
        for slot in replica.slots() {
            let room = rooms.get_mut(&(CHANNELS.name)(slot)).unwrap();
            room.replicas.entry(process.clone()).or_default().push(subscriber(slot));
        }
    }
    rooms
}

fn has_members(channel: &str) -> bool {
    channel.starts_with("team:")
}

impl Room {
    fn members(&self) -> BTreeSet<String> {
        self.replicas.values().flatten().cloned().collect()
    }

    /// What HTTP must answer about the channel and its members.
    fn answers(&self, name: &str) -> Value {
        let (replicas, members) = (self.replicas.len(), self.members());
        let sessions = self.replicas.values().map(Vec::len).sum();
        let count = if has_members(name) { members.len() } else { sessions };
        let channel =
            json!({"channel": name, "occupied": replicas > 0, "replicas": replicas, "count": count});
        let members = json!({"channel": name, "count": count, "members": members, "next": null});
        json!([channel, has_members(name).then_some(members)])
    }
}

fn ask(gateway: &TestGateway, name: &str) -> Value {
    let path = format!("/v1/channels/{name}");
    let members = has_members(name).then(|| gateway.get(&format!("{path}/members")).json());
    json!([gateway.get(&path).json(), members])
}

/// What Redis has of rooms, without keys that do not exist.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stored {
    /// The sessions in each channel, by replica.
    counts: BTreeMap<String, BTreeMap<String, usize>>,
    /// The channels that each replica has counted.
    counted: BTreeMap<String, BTreeSet<String>>,
    /// The members of each channel.
    members: BTreeMap<String, BTreeSet<String>>,
    /// The members that each replica has reported.
    reported: BTreeMap<String, BTreeSet<String>>,
    /// On how many replicas each member is.
    joined: BTreeMap<String, usize>,
}

impl Stored {
    fn expected(rooms: &BTreeMap<String, Room>) -> Self {
        let mut stored = Self::default();
        for (name, room) in rooms {
            for (process, users) in &room.replicas {
                if has_members(name) {
                    stored.add_members(name, process, users);
                } else {
                    stored.counts.entry(name.clone()).or_default().insert(process.clone(), users.len());
                    stored.counted.entry(process.clone()).or_default().insert(name.clone());
                }
            }
        }
        stored
    }

    fn add_members(&mut self, channel: &str, process: &str, users: &[String]) {
        for user in users.iter().collect::<BTreeSet<_>>() {
            let member = format!("{channel} {user}");
            self.members.entry(channel.to_owned()).or_default().insert(user.clone());
            *self.joined.entry(member.clone()).or_default() += 1;
            self.reported.entry(process.to_owned()).or_default().insert(member);
        }
    }

    fn read(backend: &mut Connection) -> Self {
        let leases: Vec<String> =
            redis::cmd("ZRANGE").arg("gateway:{presence}:replicas").arg(&["0", "-1"]).query(backend).unwrap();
        let replica_of = |lease: String| match lease.rsplit_once('-') {
            Some((process, _)) if leases.contains(&lease) => process.to_owned(),
            _ => format!("{lease}, which is not alive"),
        };
        let counts: BTreeMap<String, BTreeMap<String, usize>> = read_all(backend, "room:", &["HGETALL"]);
        let counts = counts.into_iter().map(|(name, room)| {
            (name, room.into_iter().map(|(lease, sessions)| (replica_of(lease), sessions)).collect())
        });
        let mut sets = |kind| -> BTreeMap<String, BTreeSet<String>> {
            let sets: BTreeMap<String, _> = read_all(backend, kind, &["SMEMBERS"]);
            sets.into_iter().map(|(lease, names)| (replica_of(lease), names)).collect()
        };
        Self {
            counts: counts.collect(),
            counted: sets("rooms:"),
            reported: sets("joined:"),
            members: read_all(backend, "members:", &["ZRANGE", "0", "-1"]),
            joined: redis::cmd("HGETALL").arg("gateway:{presence}:joined").query(backend).unwrap(),
        }
    }
}

/// Reads each key of a kind by a command with its arguments.
fn read_all<T: redis::FromRedisValue>(
    backend: &mut Connection,
    kind: &str,
    command: &[&str],
) -> BTreeMap<String, T> {
    let prefix = format!("gateway:{{presence}}:{kind}");
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{prefix}*")).query(backend).unwrap();
    let mut read = |key: String| {
        let value = redis::cmd(command[0]).arg(&key).arg(&command[1..]).query(backend).unwrap();
        (key.strip_prefix(&prefix).unwrap().to_owned(), value)
    };
    keys.into_iter().map(&mut read).collect()
}
