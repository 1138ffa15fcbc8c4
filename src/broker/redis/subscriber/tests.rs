//! The subscriber against a scripted server, and against a real one with sharded channels.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::super::link_error::LinkError;
use super::buffer::ReadBuffer;
use super::{ChannelRefusal, Confirmed, Messages, SubscribeKind, SubscriberEvent, Subscriptions, split};

mod cluster_node;
mod logins;
mod streams;

/// The channel of the probe.
const FENCE: &str = "gateway:probe/1";
const DEADLINE: Duration = Duration::from_secs(10);

/// A subscriber, and the server's end of its connection, which holds at most `capacity` bytes in each direction.
fn connection(kind: SubscribeKind, capacity: usize) -> (Subscriptions, Messages, DuplexStream) {
    let (client, server) = duplex(capacity);
    let (subscriptions, messages) =
        split(Box::new(client), ReadBuffer::new(), (kind, FENCE), Duration::from_secs(2));
    (subscriptions, messages, server)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("gateway:room:{number}")).collect()
}

fn message(channel: &str, payload: &str) -> String {
    let (length, bytes) = (channel.len(), payload.len());
    format!("*3\r\n$7\r\nmessage\r\n${length}\r\n{channel}\r\n${bytes}\r\n{payload}\r\n")
}

fn change(kind: &str, channel: &str) -> String {
    format!("*3\r\n${}\r\n{kind}\r\n${}\r\n{channel}\r\n:1\r\n", kind.len(), channel.len())
}

/// Reads commands until `count` have arrived.
async fn read_commands(server: &mut DuplexStream, count: usize) -> String {
    let mut text = String::new();
    while text.matches("SUBSCRIBE\r\n").count() < count || !text.ends_with("\r\n") {
        let mut bytes = [0; 4096];
        let read = timeout(DEADLINE, server.read(&mut bytes)).await.unwrap().unwrap();
        assert!(read > 0, "the subscriber closed the connection after {text}");
        text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    text
}

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
async fn run<T>(
    messages: &mut Messages,
    call: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    let receiving = async {
        loop {
            if let Err(error) = next(messages).await {
                return error;
            }
        }
    };
    tokio::select! {
        biased;
        outcome = call => outcome,
        error = receiving => Err(error),
    }
}

/// Found by the simulation (seed 66196): the last messages of one subscription counted as the first ones of the next.
#[tokio::test]
async fn an_unsubscription_ends_after_its_last_message_is_handled() {
    for (kind, answer) in [(SubscribeKind::Plain, "unsubscribe"), (SubscribeKind::Sharded, "sunsubscribe")] {
        for waits_first in [true, false] {
            let (mut subscriptions, mut messages, mut server) = connection(kind, 1 << 20);
            // More than the runtime reads in one poll of a task.
            let sent: String =
                (0..5_000).map(|number| message("gateway:room:0", &number.to_string())).collect();
            let fence =
                if kind == SubscribeKind::Plain { String::new() } else { change("ssubscribe", FENCE) };
            let all = [sent, change(answer, "gateway:room:0"), fence].concat();
            let script = async {
                read_commands(&mut server, 1).await;
                server.write_all(all.as_bytes()).await.unwrap();
            };
            let seen = RefCell::new(0);
            let receiving = pin!(async {
                loop {
                    next(&mut messages).await.unwrap();
                    *seen.borrow_mut() += 1;
                }
            });
            let unsubscribing = pin!(async {
                let call = async {
                    subscriptions.unsubscribe(&names(1)).await.unwrap();
                    *seen.borrow()
                };
                tokio::join!(call, script).0
            });
            let ended = if waits_first {
                match select(unsubscribing, receiving).await {
                    Either::Left((ended, _)) => ended,
                    Either::Right((never, _)) => never,
                }
            } else {
                match select(receiving, unsubscribing).await {
                    Either::Right((ended, _)) => ended,
                    Either::Left((never, _)) => never,
                }
            };
            assert_eq!(ended, 5_000, "{kind:?}, waits first: {waits_first}");
        }
    }
}

#[tokio::test]
async fn only_refused_channels_of_a_batch_are_not_subscribed() {
    let (mut subscriptions, mut messages, mut server) = connection(SubscribeKind::Plain, 1 << 20);
    let channels = names(512);
    let script = async {
        let first = read_commands(&mut server, 1).await;
        assert!(first.starts_with("*513\r\n"), "one command: {first}");
        server.write_all(b"-NOPERM No permissions to access a channel\r\n").await.unwrap();
        let second = read_commands(&mut server, 513).await;
        assert!(second.ends_with(&format!("{FENCE}\r\n")));
        for (number, channel) in channels.iter().enumerate() {
            let answer = match number {
                7 | 300 | 511 => "-NOPERM No permissions to access a channel\r\n".to_owned(),
                _ => change("subscribe", channel),
            };
            server.write_all(answer.as_bytes()).await.unwrap();
        }
        server.write_all(change("subscribe", FENCE).as_bytes()).await.unwrap();
    };
    let call = async { tokio::join!(subscriptions.subscribe(&channels), script).0 };
    let confirmed = run(&mut messages, call).await.unwrap();
    let refused: Vec<_> = confirmed.refused.iter().map(|(channel, _)| channel.as_str()).collect();
    assert_eq!(refused, ["gateway:room:7", "gateway:room:300", "gateway:room:511"]);
    assert!(confirmed.refused.iter().all(|(_, refusal)| matches!(refusal, ChannelRefusal::NoPermission(_))));
}

#[tokio::test]
async fn a_user_without_any_right_to_subscribe_ends_the_link() {
    let (mut subscriptions, mut messages, mut server) = connection(SubscribeKind::Plain, 1 << 20);
    // For the command, for its channel alone, and for the fence.
    let refusal = b"-NOPERM No permissions to access a channel\r\n";
    server.write_all(&refusal.repeat(3)).await.unwrap();
    let error = run(&mut messages, subscriptions.subscribe(&names(1))).await.unwrap_err();
    assert!(error.is_no_permission(), "{error}");
}

#[tokio::test]
async fn a_channel_of_another_server_is_refused_with_its_owner() {
    let (mut subscriptions, mut messages, mut server) = connection(SubscribeKind::Sharded, 1 << 20);
    let channels = names(3);
    let answers = [
        change("ssubscribe", &channels[0]),
        "-MOVED 1234 10.0.0.7:6380\r\n".into(),
        change("ssubscribe", &channels[2]),
        change("ssubscribe", FENCE),
    ];
    server.write_all(answers.concat().as_bytes()).await.unwrap();
    let confirmed = run(&mut messages, subscriptions.subscribe(&channels)).await.unwrap();
    let [(channel, ChannelRefusal::Moved { slot: 1234, to, .. })] = &confirmed.refused[..] else {
        panic!("{confirmed:?}")
    };
    assert_eq!((channel.as_str(), to.as_str()), ("gateway:room:1", "10.0.0.7:6380"));
}

/// The push for a channel of the batch came before the answer, which is an error then.
#[tokio::test]
async fn a_slot_that_leaves_during_an_unsubscription_does_not_confuse_answers() {
    let (mut subscriptions, mut messages, mut server) = connection(SubscribeKind::Sharded, 1 << 20);
    let channels = names(3);
    let answers = [
        change("sunsubscribe", &channels[1]),
        change("sunsubscribe", &channels[0]),
        "-MOVED 1234 10.0.0.7:6380\r\n".into(),
        change("sunsubscribe", &channels[2]),
        change("ssubscribe", FENCE),
    ];
    server.write_all(answers.concat().as_bytes()).await.unwrap();
    run(&mut messages, subscriptions.unsubscribe(&channels)).await.unwrap();
    let answers = [change("ssubscribe", "gateway:room:9"), change("ssubscribe", FENCE)];
    server.write_all(answers.concat().as_bytes()).await.unwrap();
    let next = ["gateway:room:9".to_owned()];
    assert_eq!(run(&mut messages, subscriptions.subscribe(&next)).await, Ok(Confirmed::default()));
}

#[tokio::test]
async fn an_unasked_unsubscription_is_an_event_in_its_order() {
    let (_subscriptions, mut messages, mut server) = connection(SubscribeKind::Sharded, 1 << 20);
    let sent = [message("a", "1"), change("sunsubscribe", "a"), message("b", "2")];
    server.write_all(sent.concat().replace("$7\r\nmessage", "$8\r\nsmessage").as_bytes()).await.unwrap();
    for expected in ["a 1", "a has left", "b 2"] {
        assert_eq!(next(&mut messages).await.as_deref(), Ok(expected));
    }
}

/// Neither side reads while it writes more than the other side's buffer holds.
#[tokio::test]
async fn commands_and_their_answers_do_not_wait_for_each_other() {
    let (mut subscriptions, mut messages, mut server) = connection(SubscribeKind::Sharded, 256);
    let channels = names(512);
    let script = async {
        let mut commands = String::new();
        let mut answered = 0;
        loop {
            let mut bytes = [0; 64];
            let read = server.read(&mut bytes).await.unwrap();
            commands.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            // Redis answers a command before it reads the next one.
            while answered < commands.matches("gateway:room:").count().saturating_sub(1) {
                let answer = change("ssubscribe", &channels[answered]);
                server.write_all(answer.as_bytes()).await.unwrap();
                answered += 1;
            }
            if commands.ends_with(&format!("{FENCE}\r\n")) {
                let end = [change("ssubscribe", &channels[answered]), change("ssubscribe", FENCE)];
                server.write_all(end.concat().as_bytes()).await.unwrap();
                return;
            }
        }
    };
    let call = async { tokio::join!(subscriptions.subscribe(&channels), script).0 };
    assert_eq!(run(&mut messages, call).await, Ok(Confirmed::default()));
}

#[tokio::test]
async fn a_server_that_closes_in_a_batch_ends_the_link() {
    let (mut subscriptions, mut messages, mut server) = connection(SubscribeKind::Plain, 1 << 20);
    server.write_all(change("subscribe", "gateway:room:0").as_bytes()).await.unwrap();
    drop(server);
    let outcome = run(&mut messages, subscriptions.subscribe(&names(3))).await;
    assert_eq!(outcome, Err(LinkError::Closed));
}

#[tokio::test]
async fn an_error_between_batches_ends_the_link_with_its_reason() {
    let (_subscriptions, mut messages, mut server) = connection(SubscribeKind::Plain, 1 << 20);
    server.write_all(b"-NOAUTH Authentication required.\r\n").await.unwrap();
    let error = next(&mut messages).await.unwrap_err();
    assert_eq!(error, LinkError::Access("NOAUTH Authentication required.".into()));
}

#[tokio::test]
async fn a_batch_without_answers_ends_at_its_deadline() {
    let (client, server) = duplex(256);
    let bound = Duration::from_millis(50);
    let (mut subscriptions, mut messages) =
        split(Box::new(client), ReadBuffer::new(), (SubscribeKind::Plain, FENCE), bound);
    let outcome = run(&mut messages, subscriptions.subscribe(&names(512))).await;
    assert_eq!(outcome, Err(LinkError::SubscribeTimeout(bound)));
    drop(server);
}
