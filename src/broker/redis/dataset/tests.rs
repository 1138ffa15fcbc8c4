use std::time::Duration;

use super::super::history::tests::Redis;
use super::*;
use crate::settings::{NamespaceSettings, Namespaces};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Waits until Redis' clock shows a later millisecond than `ms`.
async fn wait_past(redis: &mut Redis, ms: u64) {
    while redis.page("1-0", 1).await.tail.epoch <= ms {}
}

/// Since when the data is whole by a marker that was renewed after `before`.
async fn renewed(redis: &mut Redis, before: u64) -> u64 {
    let since = redis.whole_since_ms().await;
    assert!(before < since && since < u64::MAX, "{since} after {before}");
    wait_past(redis, since).await;
    since
}

#[tokio::test]
async fn the_data_is_whole_since_it_was_marked() {
    let mut redis = Redis::start().await;
    assert_eq!(redis.whole_since_ms().await, u64::MAX);
    let dataset = redis.mark().await;
    let since = renewed(&mut redis, 0).await;
    assert_eq!(dataset.whole_since_ms_of_marker, since);
    assert_eq!((dataset.settings, dataset.eviction_policy), (DataSettings::own(&redis.options), None));
    redis.mark().await;
    assert_eq!(redis.whole_since_ms().await, since, "the marker is written once");
    redis.run("FLUSHALL").await;
    assert_eq!(redis.whole_since_ms().await, u64::MAX);
    redis.mark().await;
    renewed(&mut redis, since).await;
}

#[tokio::test]
async fn the_data_is_not_whole_beyond_the_ttl() {
    let mut redis = Redis::start().await;
    redis.mark().await;
    redis.run("SET gateway:dataset {\"whole_since_ms\":5,\"history_ttl_ms\":86400000}").await;
    let page = redis.page("1-0", 1).await;
    assert_eq!(page.whole_since_ms, page.tail.epoch - 86_400_000);
    redis.run("SET gateway:dataset nonsense").await;
    assert_eq!(redis.whole_since_ms().await, u64::MAX);
}

#[tokio::test]
async fn a_started_process_puts_its_settings_into_force() {
    let mut redis = Redis::start().await;
    let day = redis.start_process(24 * HOUR).await;
    redis.options.history.ttl = HOUR;
    assert_eq!(redis.mark().await.settings, day.settings, "only a started process changes the settings");
    let hour = redis.start_process(HOUR).await;
    assert_eq!(hour.settings.history_ttl_ms, 3_600_000);
    redis.run("SET gateway:settings nonsense").await;
    assert_eq!(redis.mark().await.settings, hour.settings, "invalid settings are replaced");
}

#[tokio::test]
async fn each_change_of_the_ttl_renews_the_marker() {
    let mut redis = Redis::start().await;
    redis.start_process(24 * HOUR).await;
    let first = renewed(&mut redis, 0).await;
    redis.start_process(24 * HOUR).await;
    assert_eq!(redis.whole_since_ms().await, first);
    redis.start_process(HOUR).await;
    let shorter = renewed(&mut redis, first).await;
    redis.start_process(24 * HOUR).await;
    renewed(&mut redis, shorter).await;
}

#[tokio::test]
async fn deleted_or_edited_settings_invalidate_the_marker() {
    let mut redis = Redis::start().await;
    redis.mark().await;
    let first = renewed(&mut redis, 0).await;
    redis.run("DEL gateway:settings").await;
    assert_eq!(redis.whole_since_ms().await, u64::MAX, "the defaults are in force");
    redis.mark().await;
    let second = renewed(&mut redis, first).await;
    redis.options.history.ttl = Duration::from_secs(1);
    let other = DataSettings::own(&redis.options);
    redis.run(&format!("SET gateway:settings {}", other.to_text())).await;
    assert_eq!(redis.whole_since_ms().await, u64::MAX, "the marker has another TTL");
    redis.mark().await;
    renewed(&mut redis, second).await;
}

#[tokio::test]
async fn data_that_redis_may_evict_is_not_whole() {
    let mut redis = Redis::start().await;
    redis.mark().await;
    let first = renewed(&mut redis, 0).await;
    redis.run("CONFIG SET maxmemory-policy volatile-ttl").await;
    redis.mark().await;
    assert_eq!(redis.whole_since_ms().await, first, "without maxmemory no key is evicted");
    redis.run("CONFIG SET maxmemory 1gb").await;
    let dataset = redis.mark().await;
    assert_eq!((dataset.whole_since_ms_of_marker, redis.whole_since_ms().await), (u64::MAX, u64::MAX));
    assert_eq!(dataset.eviction_policy.as_deref(), Some("volatile-ttl"));
    redis.run("ACL SETUSER default -info").await;
    assert_eq!(redis.mark().await, dataset, "a user without INFO keeps the marker's values");
    redis.run("ACL SETUSER default +info").await;
    redis.run("CONFIG SET maxmemory-policy noeviction").await;
    assert_eq!(redis.mark().await.eviction_policy, None);
    renewed(&mut redis, first).await;
}

#[tokio::test]
async fn an_eviction_between_two_marks_renews_the_marker() {
    let mut redis = Redis::start().await;
    redis.mark().await;
    let first = renewed(&mut redis, 0).await;
    redis.run("SET gateway:room:1 text PX 60000").await;
    redis.run("CONFIG SET maxmemory-policy volatile-ttl maxmemory 1").await;
    // Redis evicts the key before it refuses this command.
    assert!(redis::cmd("SET").arg("key").arg(1).exec_async(&mut redis.commands).await.is_err());
    redis.run("CONFIG SET maxmemory-policy noeviction maxmemory 0").await;
    redis.mark().await;
    let second = renewed(&mut redis, first).await;
    redis.mark().await;
    assert_eq!(redis.whole_since_ms().await, second, "the eviction is already in the marker");
    redis.run("CONFIG RESETSTAT").await;
    redis.mark().await;
    renewed(&mut redis, second).await;
}

#[tokio::test]
async fn a_full_redis_can_be_marked() {
    let mut redis = Redis::start().await;
    redis.run("CONFIG SET maxmemory 1").await;
    let marked = redis.mark().await.whole_since_ms_of_marker;
    // Reading needs MULTI, which a full Redis refuses.
    redis.run("CONFIG SET maxmemory 0").await;
    assert_eq!(renewed(&mut redis, 0).await, marked);
}

/// Puts settings into force in which the histories of `room` have this TTL, in seconds, and all others one day.
async fn start_with_room_ttl(redis: &mut Redis, seconds: u64) -> Dataset {
    let room = NamespaceSettings { history_ttl: Duration::from_secs(seconds), ..Default::default() };
    redis.options.history.namespaces = Namespaces::from_iter([("room".to_owned(), room)]).into();
    redis.start_process(24 * HOUR).await
}

#[tokio::test]
async fn each_change_of_a_namespaces_ttl_renews_the_marker() {
    let mut redis = Redis::start().await;
    redis.start_process(24 * HOUR).await;
    let mut last = renewed(&mut redis, 0).await;
    start_with_room_ttl(&mut redis, 24 * 3600).await;
    assert_eq!(redis.whole_since_ms().await, last, "the TTL of every channel is the same");
    for seconds in [3600, 1800, 7200, 24 * 3600] {
        start_with_room_ttl(&mut redis, seconds).await;
        last = renewed(&mut redis, last).await;
        start_with_room_ttl(&mut redis, seconds).await;
        redis.mark().await;
        assert_eq!(redis.whole_since_ms().await, last, "the same settings keep the marker");
    }
}

#[tokio::test]
async fn histories_are_whole_within_the_ttl_of_their_namespace() {
    let mut redis = Redis::start().await;
    start_with_room_ttl(&mut redis, 60).await;
    let marker: String =
        redis::cmd("GET").arg("gateway:dataset").query_async(&mut redis.commands).await.unwrap();
    let ttls =
        r#""history_ttl_ms":60000,"history_ttls_ms":{"default":86400000,"online":86400000,"room":60000},"#;
    assert!(marker.contains(ttls), "{marker}");
    let since = marker.split([':', ',']).nth(1).unwrap().to_owned();
    let aged = marker.replace(&since, "5");
    redis.run(&format!("SET gateway:dataset {aged}")).await;
    let room = redis.page("1-0", 1).await;
    assert_eq!(room.whole_since_ms, room.tail.epoch - 60_000);
    let keys = ["gateway:team:1".to_owned(), "gateway:room:1".to_owned()];
    let tails = super::super::history::tails(&mut redis.commands, &redis.options, &keys).await.unwrap();
    let ages: Vec<u64> =
        tails.into_iter().map(|tail| tail.unwrap()).map(|tail| tail.now_ms - tail.whole_since_ms).collect();
    assert_eq!(ages, [86_400_000, 60_000]);
}

/// An older gateway applies one TTL to all channels. It reads the field `history_ttl_ms` of both keys.
#[test]
fn an_older_gateway_claims_nothing_while_a_namespace_has_a_shorter_ttl() {
    let view = |marker: &str, settings: &DataSettings| {
        let view = DatasetView::parse(Some(marker.as_bytes()), Some(settings.to_text().as_bytes()));
        ["room", "team", "online"].map(|namespace| view.whole_since_ms(namespace, 1_000_000_000))
    };
    let settings = DataSettings::own(&RedisOptions::of_url("redis://localhost"));
    let older = DataSettings { namespaces: None, ..settings.clone() };
    let marker = r#"{"whole_since_ms":999000000,"history_ttl_ms":60000,"history_ttls_ms":{"default":86400000,"online":86400000,"room":60000}}"#;
    assert_ne!(older.history_ttl_ms, 60_000, "an older gateway finds another TTL in the marker");
    assert_eq!(view(marker, &older), [u64::MAX, 999_000_000, 999_000_000], "no settings of namespaces");
    assert_eq!(view(marker, &settings), [u64::MAX, 999_000_000, 999_000_000]);
    let of_older = r#"{"whole_since_ms":999000000,"history_ttl_ms":86400000}"#;
    assert_eq!(view(of_older, &settings), [999_000_000; 3]);
}

#[tokio::test]
async fn settings_of_an_older_gateway_have_one_ttl() {
    let mut redis = Redis::start().await;
    start_with_room_ttl(&mut redis, 60).await;
    let first = renewed(&mut redis, 0).await;
    let own = DataSettings::own(&redis.options);
    let older = DataSettings { namespaces: None, ..own.clone() };
    redis.run(&format!("SET gateway:settings {}", older.to_text())).await;
    assert_eq!(redis.whole_since_ms().await, u64::MAX, "the marker has another TTL of the namespace");
    assert_eq!(redis.mark().await.settings, older);
    renewed(&mut redis, first).await;
    assert!(older.differences(&own).is_empty());
}
