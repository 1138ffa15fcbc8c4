//! A replica without sockets: a broker, and hubs that report what a test passes to them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emagine_gateway::broker::redis::RedisOptions;
use emagine_gateway::broker::{
    Broker, HistoryOptions, HubEvent, HubId, Inbox, InboxFull, LocalReport, PresenceOptions,
};
use emagine_gateway::metrics::Metrics;
use emagine_gateway::settings::{NamespaceSettings, Namespaces, RoomPresence};
use protocol::channel::ChannelName;

use super::*;
use crate::support::deadline::eventually;

/// The namespaces of these tests: each has the options of its name.
fn namespaces() -> Namespaces {
    let namespace = |name: &str, presence, occupancy| {
        (name.into(), NamespaceSettings { presence, occupancy, ..Default::default() })
    };
    Namespaces::from_iter([
        namespace("count", RoomPresence::Count, false),
        namespace("members", RoomPresence::Members, true),
        namespace("occupancy", RoomPresence::Off, true),
    ])
}

pub(crate) struct Replica {
    pub(crate) broker: Broker,
    pub(crate) metrics: Metrics,
}

/// A hub that records the events of rooms.
pub(crate) struct Hub {
    broker: Broker,
    id: HubId,
    events: Arc<Recorder>,
}

#[derive(Default)]
struct Recorder(Mutex<VecDeque<String>>);

impl Inbox for Recorder {
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
        if let HubEvent::Room { channel, count, joined, left } = event {
            let mut line = format!("{channel} {count}");
            joined.iter().for_each(|user| line += &format!(" +{user}"));
            left.iter().for_each(|user| line += &format!(" -{user}"));
            self.0.lock().unwrap().push_back(line);
        }
        Ok(())
    }
}

pub(crate) fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).unwrap()
}

fn presence(grace: Duration) -> PresenceOptions {
    PresenceOptions { grace, max_edges: 1_000, max_members: 3, namespaces: Arc::new(namespaces()) }
}

impl Replica {
    pub(crate) fn start(redis: &RedisServer, grace: Duration) -> Self {
        Self::over(&redis.url(), grace)
    }

    pub(crate) fn over(url: &str, grace: Duration) -> Self {
        let metrics = Metrics::default();
        let options = RedisOptions { presence: Some(presence(grace)), ..crate::broker::options(url) };
        let replica = Self { broker: Broker::redis(options, &metrics).unwrap(), metrics };
        eventually_eq(BURIAL, &1, || replica.metrics.presence_lease.get());
        replica
    }

    /// A replica in memory, whose timer runs until it is dropped.
    pub(crate) fn in_memory(grace: Duration) -> Self {
        let metrics = Metrics::default();
        let broker = Broker::memory(
            1_000,
            HistoryOptions::of_size(10),
            Some(presence(grace)),
            Duration::from_secs(60),
            &metrics,
        );
        let Broker::Memory(memory) = broker.clone() else { unreachable!() };
        std::thread::spawn(move || {
            block_on(async {
                while let Some(due) = memory.settle_presence() {
                    tokio::time::sleep(due).await;
                }
            });
        });
        Self { broker, metrics }
    }

    pub(crate) fn hub(&self) -> Hub {
        let events = Arc::new(Recorder::default());
        let id = self.broker.attach(Arc::clone(&events) as Arc<dyn Inbox>);
        Hub { broker: self.broker.clone(), id, events }
    }

    /// The ids of a page of members, and the `next`.
    pub(crate) fn members(
        &self,
        room: &str,
        after: Option<&str>,
        limit: usize,
    ) -> (u64, String, Option<String>) {
        let page = block_on(self.broker.members(&name(room), after, limit)).unwrap();
        (page.count, page.members.join(" "), page.next.map(String::from))
    }

    /// The channels in use of a page, as `channel replicas count`, and the `next`.
    pub(crate) fn channels(
        &self,
        namespace: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<String>, Option<String>) {
        let page = block_on(self.broker.channels(namespace, after, limit)).unwrap();
        let lines = page.channels.iter().map(|found| {
            format!(
                "{} {} {}",
                found.channel,
                found.replicas,
                found.count.map_or_else(|| "-".into(), |count| count.to_string())
            )
        });
        (lines.collect(), page.next.map(String::from))
    }

    /// The number of replicas on which a channel is in use, and its count.
    pub(crate) fn channel(&self, channel: &str) -> Option<(u32, Option<u64>)> {
        let found = block_on(self.broker.channel(&name(channel))).unwrap();
        found.map(|found| (found.replicas, found.count))
    }
}

impl Drop for Replica {
    /// To Redis, the replica was killed: its counts stay.
    fn drop(&mut self) {
        self.broker.shutdown();
    }
}

impl Hub {
    pub(crate) fn count(&self, room: &str, sessions: usize) {
        self.broker.report(self.id, LocalReport::Count { channel: name(room), sessions });
    }

    pub(crate) fn occupied(&self, channel: &str, is_occupied: bool) {
        self.broker.report(self.id, LocalReport::Channel { channel: name(channel), is_occupied });
    }

    pub(crate) fn member(&self, room: &str, user: &str, is_member: bool) {
        let user = ChannelName::of_user(user).unwrap();
        self.broker.report(self.id, LocalReport::Member { channel: name(room), user, is_member });
    }

    /// Waits for the next event of a room.
    #[track_caller]
    pub(crate) fn next(&self) -> String {
        eventually(BURIAL, || self.events.0.lock().unwrap().pop_front())
    }

    /// Waits until the latest event is this one.
    #[track_caller]
    pub(crate) fn wait_latest(&self, expected: &str) {
        eventually_eq(BURIAL, &Some(expected.to_owned()), || self.events.0.lock().unwrap().back().cloned());
        self.events.0.lock().unwrap().clear();
    }

    /// Waits until this event has come, after any others.
    #[track_caller]
    pub(crate) fn wait_for(&self, event: &str) {
        while self.next() != event {}
    }

    /// Waits until the latest event of each room begins with one of these texts, and drops all events.
    #[track_caller]
    pub(crate) fn wait_settled(&self, expected: [&str; 2]) {
        let mut latest = BTreeMap::new();
        eventually_eq(BURIAL, &expected.map(|_| true), || {
            for event in self.rest() {
                latest.insert(event.split(' ').next().unwrap().to_owned(), event);
            }
            expected.map(|expected| latest.values().any(|event| event.starts_with(expected)))
        });
    }

    /// The events that [`next`](Self::next) has not returned.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.events.0.lock().unwrap().drain(..).collect()
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
