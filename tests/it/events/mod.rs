//! Event streams: the stream of version 2 as server-sent events.
//!
//! - `ends`: how a stream ends, and what a hostile client gets
//! - `requests`: which requests are refused, and the rules for pages

mod ends;
mod requests;

use serde_json::json;

use crate::support::event_stream::EventStream;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::redis_server::RedisServer;

const ROOM: &str = "/events?channels=room:7";

/// Plans a gateway whose namespace `room` is public.
fn plan() -> Plan {
    TestGateway::with("namespaces.room.subscribe", "public")
}

#[test]
fn a_stream_carries_the_events_of_version_2() {
    let redis = RedisServer::start();
    let gateway = plan()
        .with("presence.enabled", "true")
        .with("namespaces.room.presence", "count")
        .redis(&redis)
        .spawn();
    gateway.wait_ready();
    let mut stream = EventStream::open(gateway.public, "/events?channels=bank:1,room:7", "42");
    assert!(stream.head.contains("\r\ncontent-type: text/event-stream\r\n"), "{}", stream.head);
    let ready = stream.expect("ready");
    assert_eq!((&ready["op"], &ready["user"]), (&json!(2), &json!("42")));
    let channels: Vec<_> = ready["channels"].as_array().unwrap().iter().map(|one| &one["channel"]).collect();
    assert_eq!(channels, ["user:42", "all", "room:7"]);
    let of_ready = stream.last_id.clone();
    let (mut refusals, mut counts) = (0, 0);
    while (refusals, counts) != (1, 1) {
        let event = stream.next().unwrap();
        match event.name.as_str() {
            "subscription" => {
                let refused =
                    json!({"op": 6, "channel": "bank:1", "state": "refused", "reason": "not_allowed"});
                assert_eq!(event.json(), refused);
                refusals += 1;
            }
            _ => {
                assert_eq!((event.name.as_str(), &event.json()["channel"]), ("room", &json!("room:7")));
                counts = 1;
            }
        }
    }
    // A message may have line breaks between its tokens.
    let broken = "{\r\n  \"a\": \"\\n\"\n}";
    redis::cmd("PUBLISH").arg("gateway:room:7").arg(broken).exec(&mut redis.client()).unwrap();
    let plain = stream.expect("message");
    assert_eq!(plain, json!({"op": 3, "channel": "room:7", "message": {"a": "\n"}}));
    assert_eq!(stream.last_id, of_ready);
    let position = gateway.publish_durably("room:7", "1");
    let durable = stream.expect("message");
    assert_eq!(durable, json!({"op": 3, "channel": "room:7", "position": position, "message": 1}));
    assert_ne!(stream.last_id, of_ready);
    drop(stream);
    gateway.assert_empty();
}

/// Also cuts the connections at any byte, and continues at another replica each time.
#[test]
fn a_cut_stream_continues_without_loss_or_duplicate() {
    const MESSAGES: u64 = 60;
    let redis = RedisServer::start();
    let gateways = [0, 1].map(|_| plan().redis(&redis).spawn());
    gateways.iter().for_each(TestGateway::wait_ready);
    let mut stream = EventStream::open(gateways[0].public, ROOM, "42");
    stream.expect("ready");
    let (mut id, mut received) = (stream.last_id.clone(), Vec::new());
    let mut published = 0..MESSAGES;
    for cut in 0.. {
        for number in published.by_ref().take(5) {
            let channel = ["room:7", "user:42", "all"][number as usize % 3];
            gateways[0].publish_durably(channel, &number.to_string());
        }
        // Less than five messages: more are lost with the connection, one of them in the middle.
        stream.cut_after(150 + 67 * cut % 700);
        while (received.len() as u64) < MESSAGES
            && let Some(event) = stream.next()
        {
            if event.name == "message" {
                received.push(event.json()["message"].as_u64().unwrap());
            }
            id.clone_from(&stream.last_id);
        }
        if received.len() as u64 == MESSAGES {
            break;
        }
        assert!(cut < 100, "received {received:?}");
        let gateway = &gateways[cut % 2];
        stream = if cut % 3 == 0 {
            let query = id.replace(' ', "%20");
            EventStream::open(gateway.public, &format!("{ROOM}&last_event_id={query}"), "42")
        } else {
            EventStream::resume(gateway.public, ROOM, "42", &id)
        };
        let ready = stream.expect("ready");
        for channel in ready["channels"].as_array().unwrap() {
            assert_eq!(channel["recovered"], true, "{channel}");
        }
    }
    // There is no order between channels.
    received.sort_unstable();
    assert_eq!(received, (0..MESSAGES).collect::<Vec<_>>());
}

/// Its id has two channels more than a client may request.
#[test]
fn a_stream_of_as_many_channels_as_allowed_continues() {
    let gateway = plan().with("limits.subscriptions_per_session", "1000").spawn();
    let channels: Vec<_> = (0..1_000).map(|number| format!("room:{number}")).collect();
    let path = format!("/events?channels={}", channels.join(","));
    let mut stream = EventStream::open(gateway.public, &path, "42");
    stream.expect("ready");
    let mut resumed = EventStream::resume(gateway.public, &path, "42", &stream.last_id);
    let ready = resumed.expect("ready");
    let channels = ready["channels"].as_array().unwrap();
    assert_eq!(channels.iter().filter(|one| one["recovered"] == true).count(), 1_002);
}

#[test]
fn an_id_of_another_server_is_not_recovered() {
    let gateway = plan().spawn();
    let mut stream = EventStream::resume(gateway.public, ROOM, "42", "1234");
    let ready = stream.expect("ready");
    let room = ready["channels"].as_array().unwrap().iter().find(|one| one["channel"] == "room:7").unwrap();
    assert_eq!(room["recovered"], false);
}
