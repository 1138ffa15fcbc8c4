//! The functions as a backend calls them.

use super::super::cluster::slot::Slot;
use super::super::function;
use super::super::names::Layout;
use super::node::Node;
use super::subscriber::ShardedSubscriber;

const REPLICAS: &str = "gateway:{presence}:replicas";

/// One node for all, because a node serves only two seconds after its start.
#[tokio::test]
async fn all_functions_serve_a_sharded_cluster() {
    let mut node = Node::start().await;
    lua_and_rust_agree_on_every_slot(&mut node).await;
    sharded_subscribers_receive_durable_messages(&mut node).await;
    one_call_publishes_on_channels_of_one_slot_only(&mut node).await;
    push_is_refused_with_its_reason(&mut node).await;
    the_documented_rights_suffice(&mut node).await;
    presence_publishes_in_its_own_slot(&mut node).await;
    control_and_the_inbox_each_have_one_slot(&mut node).await;
}

async fn lua_and_rust_agree_on_every_slot(node: &mut Node) {
    node.renew().await;
    let more = "
        redis.register_function('gateway_tags', function() local tags = {} for slot = 0, 16383 do
            tags[slot + 1] = slots.tag(slot) end return tags end)
        redis.register_function('gateway_slots_of', function(_, keys) local found = {} for at, key in ipairs(keys) do
            found[at] = slots.of(key) end return found end)";
    node.load(&format!("{}{more}", function::code(Layout::Slots))).await;
    let tags: Vec<String> = node.run("FCALL gateway_tags 0").await.unwrap();
    assert_eq!(tags, Slot::all().map(Slot::tag).collect::<Vec<_>>());
    let mut keys: Vec<String> =
        tags.iter().step_by(40).map(|tag| format!("gateway:{tag}:{{{tag}}}")).collect();
    keys.extend(
        ["", "a", "{}x", "x{y", "x}y{z}", "{{a}b}", "gateway:user:7", "\u{e9}{\u{e9}}"].map(str::to_owned),
    );
    let mut call = redis::cmd("FCALL");
    let slots: Vec<u16> =
        call.arg("gateway_slots_of").arg(0).arg(&keys).query_async(&mut node.commands).await.unwrap();
    for (key, slot) in keys.iter().zip(slots) {
        let by_redis: u16 = node.run_words(&["CLUSTER", "KEYSLOT", key]).await.unwrap();
        assert_eq!((slot, Slot::of_key(key).number()), (by_redis, by_redis), "{key}");
    }
}

async fn sharded_subscribers_receive_durable_messages(node: &mut Node) {
    node.renew().await;
    let mut user = ShardedSubscriber::subscribe(node.port, "gateway:user:7");
    let first: String = node.publish(&["user:7"], &["1", "key"]).await.unwrap();
    assert_eq!(user.next(), format!("@{first} 1"));
    let again: String = node.publish(&["user:7"], &["1", "key"]).await.unwrap();
    assert_eq!(again, first);
    let second: String = node.publish(&["user:7"], &["2"]).await.unwrap();
    assert_eq!(user.next(), format!("@{second} 2"), "the repeated message was published once");
    let keys = ["gateway:user:7", "gateway:user:7:once:{gateway:user:7}:key"];
    assert_eq!(node.keys().await, keys);
}

async fn one_call_publishes_on_channels_of_one_slot_only(node: &mut Node) {
    node.renew().await;
    let slot = node.names().slot_of("room:0");
    let is_beside = |number: &u32| node.names().slot_of(&format!("room:{number}")) == slot;
    let beside = format!("room:{}", (1..).find(is_beside).unwrap());
    let both: Vec<String> = node.publish(&["room:0", &beside], &["1"]).await.unwrap();
    assert_eq!(both.len(), 2);
    let error = node.publish::<Vec<String>>(&["room:0", "room:1"], &["1"]).await.unwrap_err();
    assert_eq!(error.code(), Some("CROSSSLOT"));
    let mut whole = redis::cmd("FCALL");
    whole.arg("gateway_publish").arg(2).arg("{gateway}:room:0").arg("{gateway}:room:1").arg("1").arg("key");
    let positions: Vec<String> = whole.query_async(&mut node.commands).await.unwrap();
    assert_eq!(positions.len(), 2, "a prefix in braces has all its channels in one slot");
}

async fn push_is_refused_with_its_reason(node: &mut Node) {
    node.renew().await;
    node.run::<()>("FCALL gateway_beat 1 gateway:{presence}:replicas p-1 5000 enter").await.unwrap();
    let error = node.publish::<String>(&["user:7"], &["1", "", "push"]).await.unwrap_err();
    assert!(error.to_string().contains("push needs broker.shards = \"one\""), "{error}");
    let keys = node.keys().await;
    assert!(keys.iter().all(|key| key.starts_with("gateway:{presence}:")), "{keys:?}");
}

async fn the_documented_rights_suffice(node: &mut Node) {
    node.renew().await;
    let rules = backend_of_page();
    let set_rules = |rules: &str| format!("ACL SETUSER rooms reset {rules}");
    node.run::<()>(&set_rules(&rules)).await.unwrap();
    let client =
        redis::Client::open(format!("redis://rooms:change-this-password@127.0.0.1:{}", node.port)).unwrap();
    let mut backend = client.get_multiplexed_async_connection().await.unwrap();
    let mut call = redis::cmd("FCALL");
    call.arg("gateway_publish").arg(1).arg("gateway:room:1").arg("1").arg("key");
    let first: String = call.query_async(&mut backend).await.unwrap();
    assert_eq!(call.query_async::<String>(&mut backend).await.unwrap(), first);
    redis::cmd("SPUBLISH").arg("gateway:room:1").arg("1").exec_async(&mut backend).await.unwrap();
    let keys = node.keys().await;
    let mut call = redis::cmd("FCALL");
    call.arg("gateway_publish").arg(1).arg("gateway:room:2").arg("1");
    for lacking in ["-spublish", "-get"] {
        node.run::<()>(&set_rules(&format!("{rules} {lacking}"))).await.unwrap();
        let error = call.query_async::<String>(&mut backend).await.unwrap_err();
        assert!(error.to_string().contains("may not run"), "{lacking}: {error}");
    }
    assert_eq!(node.keys().await, keys, "nothing is written");
}

/// The rules of the backend for some channels in docs/cluster.md.
fn backend_of_page() -> String {
    let page = include_str!("../../../../docs/cluster.md");
    let command = page.split("ACL SETUSER rooms ").nth(1).unwrap().split("\n```").next().unwrap();
    command.replace(['\'', '\\', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn presence_publishes_in_its_own_slot(node: &mut Node) {
    node.renew().await;
    let mut online = ShardedSubscriber::subscribe(node.port, &node.names().channel("online:7"));
    let mut rooms = ShardedSubscriber::subscribe(node.port, &node.names().presence("rooms"));
    let enter = node.call::<Vec<String>>("gateway_beat", REPLICAS, &["p-1", "5000", "enter"]).await.unwrap();
    assert_eq!(enter, ["1", ""]);
    assert_eq!(node.call::<u8>("gateway_enter", REPLICAS, &["users", "p-1", "100", "7"]).await.unwrap(), 1);
    assert!(online.next().starts_with("{\"online\":true,\"at\":1"));
    let member = ["members", "p-1", "100", "room:1 7"];
    assert_eq!(node.call::<u8>("gateway_enter", REPLICAS, &member).await.unwrap(), 1);
    assert!(rooms.next().contains("\"joined\":[\"7\"]"));
    let error = node.call::<String>("gateway_publish", "gateway:online:7", &["1"]).await.unwrap_err();
    assert!(error.to_string().contains("online:<user> is at <prefix>:{presence}:online:<user>"), "{error}");
    let position: String = node.publish(&["online:7"], &["1"]).await.unwrap();
    assert_eq!(online.next(), format!("@{position} 1"));
}

async fn control_and_the_inbox_each_have_one_slot(node: &mut Node) {
    node.renew().await;
    let commands = node.names().control("commands");
    let mut announcements = ShardedSubscriber::subscribe(node.port, &commands);
    let revoke = ["{\"revoke\":{\"user\":\"7\"}}", "count"];
    let (id, receivers): (String, u32) = node.call("gateway_control", &commands, &revoke).await.unwrap();
    assert_eq!((announcements.next(), receivers), (id, 1));
    let (inbox, session) = (node.names().inbox(), "0".repeat(32));
    let message = ["7", &session, "room:1", "a", "{}"];
    let entry: String = node.call("gateway_send", &inbox, &message).await.unwrap();
    assert_eq!(node.call::<String>("gateway_send", &inbox, &message).await.unwrap(), entry);
    assert_eq!(node.run::<u32>("XLEN gateway:inbox").await.unwrap(), 1);
    for key in node.keys().await {
        let of_control = key.contains("{control}");
        let expected = if of_control { "control" } else { "gateway:inbox" };
        assert_eq!(Slot::of_key(&key), Slot::of_key(expected), "{key}");
    }
}
