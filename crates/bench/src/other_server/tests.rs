use super::*;
use crate::wire::{Stamp, message};

const STAMP: Stamp = Stamp { at_us: 1_234_567, phase: 2 };
const CENTRIFUGO: Protocol = Protocol::Other(Product::Centrifugo);
const ANYCABLE: Protocol = Protocol::Other(Product::AnyCable);

#[test]
fn messages_of_each_server_are_recognised() {
    let message = message(STAMP, 128);
    let push = format!(r#"{{"push":{{"channel":"bench:all","pub":{{"data":{message}}}}}}}"#);
    assert_eq!(CENTRIFUGO.parse(push.as_bytes()), ServerEvent::Message(STAMP));
    let broadcast = format!(r#"{{"identifier":"{{\"channel\":\"$pubsub\"}}","message":{message}}}"#);
    assert_eq!(ANYCABLE.parse(broadcast.as_bytes()), ServerEvent::Message(STAMP));
    // AnyCable parses each message and sorts its fields.
    let sorted = r#"{"identifier":"i","message":{"at":"0000000001234567","filling":"xx","phase":2}}"#;
    assert_eq!(ANYCABLE.parse(sorted.as_bytes()), ServerEvent::Message(STAMP));
}

#[test]
fn a_frame_of_centrifugo_may_hold_several_messages() {
    let frame = b"{\"id\":1,\"connect\":{\"client\":\"c\"}}\n{}";
    let events: Vec<_> = CENTRIFUGO.messages(frame).map(|line| CENTRIFUGO.parse(line)).collect();
    assert_eq!(events, [ServerEvent::Ready, ServerEvent::Heartbeat("")]);
    assert_eq!(Protocol::Gateway.messages(frame).count(), 1);
}

#[test]
fn anycable_is_ready_after_its_last_subscription() {
    let confirmed = |stream: &str| {
        let text = format!(
            r#"{{"type":"confirm_subscription","identifier":"{{\"channel\":\"$pubsub\",\"stream_name\":\"{stream}\"}}"}}"#
        );
        ANYCABLE.parse(text.as_bytes()) == ServerEvent::Ready
    };
    let [all, user] = &*Product::AnyCable.channels("u7") else { panic!("two streams") };
    assert!(!confirmed(all) && confirmed(user));
    let ping = ANYCABLE.parse(br#"{"type":"ping","message":5}"#);
    assert_eq!((ping, ANYCABLE.heartbeat_answer("")), (ServerEvent::Heartbeat(""), None));
}

#[test]
fn only_known_servers_are_accepted() {
    assert_eq!("centrifugo=/bin/c".parse::<OtherServer>().unwrap().product, Product::Centrifugo);
    for text in ["centrifugo", "gateway=/bin/g", "=/bin/x"] {
        assert!(text.parse::<OtherServer>().is_err(), "{text}");
    }
}
