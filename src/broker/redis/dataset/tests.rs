use std::time::Duration;

use super::super::history::tests::Redis;
use super::*;

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
    let other = DataSettings { history_ttl_ms: 1000, ..DataSettings::own(&redis.options) };
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
