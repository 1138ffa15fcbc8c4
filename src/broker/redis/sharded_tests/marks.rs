//! The marker and the settings of each slot.

use std::time::Duration;

use redis::RedisResult;

use super::super::cluster::slot::Slot;
use super::super::data_settings::DataSettings;
use super::super::dataset::mark_slots_command;
use super::super::history;
use super::node::Node;

type MarkAnswer = (String, String, String, Vec<String>);

impl Node {
    pub(super) async fn mark(&mut self, slots: &[Slot], is_first: bool) -> RedisResult<MarkAnswer> {
        mark_slots_command(&self.options, slots, is_first).query_async(&mut self.commands).await
    }

    /// Since when the data of these channels is whole.
    pub(super) async fn whole_since(&mut self, channels: &[&str]) -> Vec<u64> {
        let names: Vec<_> = channels.iter().map(|channel| self.names().channel(channel)).collect();
        let tails = history::tails(&mut self.commands.clone(), &self.options, &names).await.unwrap();
        tails.into_iter().map(|tail| tail.unwrap().whole_since_ms).collect()
    }

    fn slots_of(&self, channels: &[&str]) -> Vec<Slot> {
        channels.iter().map(|channel| self.names().slot_of(channel)).collect()
    }

    async fn history_ttl(&mut self, channel: &str) -> Duration {
        let key = self.names().channel(channel);
        let ttl: u64 = self.run(&format!("PTTL {key}")).await.unwrap();
        Duration::from_millis(ttl)
    }
}

#[tokio::test]
async fn each_slot_has_its_own_marker_and_settings() {
    let mut node = Node::start().await;
    each_slot_is_whole_since_it_was_marked(&mut node).await;
    all_slots_are_marked_in_batches(&mut node).await;
}

async fn each_slot_is_whole_since_it_was_marked(node: &mut Node) {
    node.renew().await;
    let channels = ["room:1", "room:2", "online:7"];
    let slots = node.slots_of(&channels);
    assert_eq!(node.whole_since(&channels).await, [u64::MAX; 3]);
    let (since, settings, _, skipped) = node.mark(&slots[..2], true).await.unwrap();
    assert_eq!((settings, skipped), (DataSettings::own(&node.options).to_text(), vec![]));
    let since: u64 = since.parse().unwrap();
    assert_eq!(node.whole_since(&channels).await, [since, since, u64::MAX]);
    node.mark(&slots, false).await.unwrap();
    let all = node.whole_since(&channels).await;
    assert_eq!(all[..2], [since, since], "a marker is written once");
    assert!(all[2] != u64::MAX);
    node.run::<()>("FLUSHALL").await.unwrap();
    assert_eq!(node.whole_since(&channels).await, [u64::MAX; 3]);
    node.mark(&slots, false).await.unwrap();
    assert!(
        node.whole_since(&channels).await.into_iter().all(|renewed| renewed > since && renewed != u64::MAX)
    );
}

#[tokio::test]
async fn a_started_process_puts_its_settings_into_force_in_each_slot() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let mut node = Node::start().await;
    let slots = node.slots_of(&["room:1", "room:2"]);
    node.mark(&slots, true).await.unwrap();
    let day = node.options.history.ttl;
    node.options.history.ttl = HOUR;
    node.mark(&slots, false).await.unwrap();
    node.publish::<String>(&["room:1"], &["1"]).await.unwrap();
    assert!(node.history_ttl("room:1").await > day - HOUR, "a running process keeps the settings");
    node.mark(&slots[..1], true).await.unwrap();
    node.publish::<String>(&["room:1"], &["1"]).await.unwrap();
    assert!(node.history_ttl("room:1").await <= HOUR);
    let lost = node.names().dataset_keys(slots[0]);
    node.run::<()>(&format!("DEL {}", lost.settings)).await.unwrap();
    node.publish::<String>(&["room:1"], &["1"]).await.unwrap();
    assert!(node.history_ttl("room:1").await <= HOUR, "the last known settings apply");
    assert_eq!(node.whole_since(&["room:1"]).await, [u64::MAX]);
}

async fn all_slots_are_marked_in_batches(node: &mut Node) {
    node.renew().await;
    let all: Vec<_> = Slot::all().collect();
    for batch in all.chunks(256) {
        node.mark(batch, true).await.unwrap();
    }
    assert_eq!(node.run::<usize>("DBSIZE").await.unwrap(), 2 * all.len());
    let whole = node.whole_since(&["room:1", "room:2", "online:7"]).await;
    assert!(whole.iter().all(|since| *since != u64::MAX), "{whole:?}");
    let error = node.mark(&all[..257], false).await.unwrap_err();
    assert_eq!(error.code(), Some("ERR"), "one call marks at most 256 slots");
}
