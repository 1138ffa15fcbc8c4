//! A slot that moves from one node to another.

use redis::RedisResult;

use super::super::cluster::slot::Slot;
use super::node::Node;

/// Each step moves the slot of another channel, because two nodes serve only two seconds after their start.
#[tokio::test]
async fn a_slot_keeps_its_data_and_marker_when_it_moves() {
    let (mut from, mut to) = Node::start_two().await;
    let is_of_first = |channel: &String| from.names().slot_of(channel).number() < 8_192;
    let channels: Vec<_> = (1..).map(|number| format!("room:{number}")).filter(is_of_first).take(4).collect();
    the_marker_of_a_slot_moves_with_it(&mut from, &mut to, &channels[0]).await;
    an_epoch_is_continued_only_by_the_node_that_began_it(&mut from, &mut to, &channels[3]).await;
    a_slot_that_is_emptied_is_not_taken_for_whole(&mut from, &mut to, &channels[1]).await;
    no_function_writes_half_of_what_it_must_while_its_slot_moves(&mut from, &mut to, &channels[2]).await;
}

async fn the_marker_of_a_slot_moves_with_it(from: &mut Node, to: &mut Node, channel: &str) {
    let slot = from.names().slot_of(channel);
    from.mark(&[slot], true).await.unwrap();
    let since = from.whole_since(&[channel]).await;
    let position: String = from.publish(&[channel], &["1", "key"]).await.unwrap();
    from.move_slot(slot, to).await;
    assert_eq!(to.whole_since(&[channel]).await, since);
    let repeated: String = to.publish(&[channel], &["1", "key"]).await.unwrap();
    assert_eq!(repeated, position, "the receipt moves with its channel");
    let (_, _, _, skipped) = from.mark(&[slot, Slot::new(0).unwrap()], false).await.unwrap();
    assert_eq!(skipped, [slot.tag()], "the slot is elsewhere");
}

/// The node before may have lost the last messages of the epoch in a failover. Found by the simulation.
async fn an_epoch_is_continued_only_by_the_node_that_began_it(from: &mut Node, to: &mut Node, channel: &str) {
    let slot = from.names().slot_of(channel);
    let is_of_second = |channel: &String| to.names().slot_of(channel).number() >= 8_192;
    let others: Vec<_> = (1..).map(|number| format!("room:{number}")).filter(is_of_second).take(2).collect();
    from.mark(&[slot], true).await.unwrap();
    // The epoch lies between two of the other node.
    to.publish::<String>(&[&others[0]], &["1"]).await.unwrap();
    let first: String = from.publish(&[channel], &["1"]).await.unwrap();
    let second: String = from.publish(&[channel], &["2"]).await.unwrap();
    assert_eq!(second, first.replace("-1", "-2"), "the node continues its own epoch");
    to.publish::<String>(&[&others[1]], &["1"]).await.unwrap();
    from.move_slot(slot, to).await;
    let third: String = to.publish(&[channel], &["3"]).await.unwrap();
    let epoch_of = |position: &str| position.split('-').next().unwrap().to_owned();
    assert_ne!(epoch_of(&third), epoch_of(&second));
    assert!(third.ends_with("-1"), "{third}");
    let fourth: String = to.publish(&[channel], &["4"]).await.unwrap();
    assert_eq!(fourth, third.replace("-1", "-2"), "and its own one again");
}

async fn a_slot_that_is_emptied_is_not_taken_for_whole(from: &mut Node, to: &mut Node, channel: &str) {
    let slot = from.names().slot_of(channel);
    from.mark(&[slot], true).await.unwrap();
    let of_second = Slot::new(16_000).unwrap();
    to.mark(&[of_second], true).await.unwrap();
    from.run::<()>("FLUSHALL").await.unwrap();
    from.move_slot(slot, to).await;
    assert_eq!(to.whole_since(&[channel]).await, [u64::MAX], "the marker of another slot says nothing of it");
}

async fn no_function_writes_half_of_what_it_must_while_its_slot_moves(
    from: &mut Node,
    to: &mut Node,
    channel: &str,
) {
    let slot = from.names().slot_of(channel);
    from.mark(&[slot], true).await.unwrap();
    from.publish::<String>(&[channel], &["1", "key"]).await.unwrap();
    from.begin_move(slot, to).await;
    let keys = from.names().dataset_keys(slot);
    for key in [keys.settings, keys.marker, format!("gateway:{channel}:once:{{gateway:{channel}}}:key")] {
        from.move_key(&key, to).await;
    }
    let again: RedisResult<String> = from.publish(&[channel], &["1", "key"]).await;
    assert_eq!(again.unwrap_err().code(), Some("TRYAGAIN"), "the receipt is at the other node");
    let (_, _, _, skipped) = from.mark(&[slot], false).await.unwrap();
    assert_eq!(skipped, [slot.tag()]);
    let second: String = from.publish(&[channel], &["2"]).await.unwrap();
    assert!(second.ends_with("-2"), "without a receipt the history suffices: {second}");

    let presence = Slot::of_key("presence");
    let (from, to) = if presence.number() < 8_192 { (from, to) } else { (to, from) };
    const REPLICAS: &str = "gateway:{presence}:replicas";
    from.call::<Vec<String>>("gateway_beat", REPLICAS, &["p-1", "5000", "enter"]).await.unwrap();
    from.call::<u8>("gateway_enter", REPLICAS, &["users", "p-1", "100", "1"]).await.unwrap();
    from.begin_move(presence, to).await;
    from.move_key("gateway:{presence}:online", to).await;
    let before: u32 = from.run("SCARD gateway:{presence}:users:p-1").await.unwrap();
    let entered: RedisResult<u8> = from.call("gateway_enter", REPLICAS, &["users", "p-1", "100", "2"]).await;
    assert_eq!(entered.unwrap_err().code(), Some("TRYAGAIN"));
    assert_eq!(from.run::<u32>("SCARD gateway:{presence}:users:p-1").await.unwrap(), before);
}
