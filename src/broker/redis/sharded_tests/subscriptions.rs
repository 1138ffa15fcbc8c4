//! The subscriber's sharded channels at real nodes.

use std::time::Duration;

use redis::IntoConnectionInfo as _;
use tokio::time::timeout;

use super::super::cluster::slot::Slot;
use super::super::link_error::LinkError;
use super::super::subscriber::{self, ChannelRefusal, Messages, SubscribeKind, SubscriberEvent};
use super::node::Node;

const DEADLINE: Duration = Duration::from_secs(10);

/// The next event in a form that can be kept.
async fn next(messages: &mut Messages) -> Result<String, LinkError> {
    Ok(match timeout(DEADLINE, messages.next()).await.unwrap()? {
        SubscriberEvent::Message { channel, payload } => {
            format!("{channel} {}", String::from_utf8_lossy(payload))
        }
        SubscriberEvent::SlotLeft { channel } => format!("{channel} has left"),
    })
}

/// Runs `call` while messages are received.
async fn run<T>(messages: &mut Messages, call: impl Future<Output = Result<T, LinkError>>) -> T {
    tokio::select! {
        biased;
        outcome = call => outcome.unwrap(),
        event = next(messages) => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn sharded_channels_are_followed_until_their_slot_leaves() {
    let (mut first, mut second) = Node::start_two().await;
    let channels: Vec<_> = (0..512).map(|number| format!("room:{number}")).collect();
    let slots: Vec<Slot> = channels.iter().map(|channel| first.names().slot_of(channel)).collect();
    let keys: Vec<_> = channels.iter().map(|channel| first.names().channel(channel)).collect();
    let of_first: Vec<usize> = (0..512).filter(|index| slots[*index].number() < 8_192).collect();
    let [fence, followed, leaving] = [of_first[0], of_first[1], of_first[2]];

    let info = first.options.url.as_str().into_connection_info().unwrap();
    let kind = (SubscribeKind::Sharded, keys[fence].as_str());
    let (mut subscriptions, mut messages) =
        subscriber::connect(&info, None, kind, Duration::from_secs(5)).await.unwrap();
    let confirmed = run(&mut messages, subscriptions.subscribe(&keys)).await;
    let owner = format!("127.0.0.1:{}", second.port);
    let moved =
        |refusal: &ChannelRefusal| matches!(refusal, ChannelRefusal::Moved { to, .. } if *to == owner);
    assert!(confirmed.refused.iter().all(|(_, refusal)| moved(refusal)), "{confirmed:?}");
    let refused: Vec<_> = confirmed.refused.iter().map(|(channel, _)| channel).collect();
    let of_second = (0..512).filter(|index| !of_first.contains(index)).map(|index| &keys[index]);
    assert_eq!(refused, of_second.collect::<Vec<_>>());

    let heard: u64 = first.run_words(&["SPUBLISH", &keys[followed], "hello"]).await.unwrap();
    assert_eq!(heard, 1);
    assert_eq!(next(&mut messages).await, Ok(format!("{} hello", keys[followed])));

    first.move_slot(slots[leaving], &mut second).await;
    assert_eq!(next(&mut messages).await, Ok(format!("{} has left", keys[leaving])));
    // The answer for the channel that has left is MOVED.
    let ended = [keys[leaving].clone(), keys[followed].clone()];
    run(&mut messages, subscriptions.unsubscribe(&ended)).await;
    let heard: u64 = first.run_words(&["SPUBLISH", &keys[followed], "nobody"]).await.unwrap();
    assert_eq!(heard, 0);
}
