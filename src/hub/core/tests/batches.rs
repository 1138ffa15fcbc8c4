//! Subscribe and Unsubscribe of many channels.

use super::*;

impl TestHub {
    /// Subscribes to channels in one request, with request ids from 1.
    fn subscribe_to(&mut self, session: u128, specs: &[ChannelSpec<'_>]) -> Vec<String> {
        let channels = (1..).zip(specs).map(|(request_id, spec)| wanted(*spec, request_id)).collect();
        self.on(HubInput::Subscribe { session: SessionId(session), channels })
    }
}

#[test]
fn a_batch_is_answered_once_when_every_channel_is_known() {
    let mut hub = TestHub::linked();
    let sink = hub.live_session(1);
    let lines = hub.subscribe_to(1, &[("room:1", None), ("room:2", None)]);
    let call = last_id(&lines);
    assert_eq!(lines, [format!("subscribe {call}: room:1 room:2")]);
    assert_eq!(hub.ack_at(call, "room:2", at(5)), [""; 0]);
    hub.publish(&durable("room:2", 6));
    assert_eq!(hub.ack_at(call, "room:1", at(1)), ["1 subscribed room:1 #1: 9-1, room:2 #2: 9-5"]);
    assert_eq!(sink.texts(), [""; 0], "no message before the answer");
    hub.go_live(1, Some("room:1"));
    assert_eq!(sink.texts(), [""; 0], "each channel goes live on its own");
    hub.go_live(1, Some("room:2"));
    assert_eq!(sink.take_messages(), ["6"]);
}

#[test]
fn a_recovering_channel_of_a_batch_is_answered_alone_later() {
    let mut hub = TestHub::linked();
    let _sink = hub.live_session(1);
    let call = last_id(&hub.subscribe_to(1, &[("room:1", None), ("room:2", Some("9-1"))]));
    hub.ack_at(call, "room:1", at(1));
    assert_eq!(
        hub.advance(TIMEOUT),
        ["1 subscribed room:1 #1: 9-1, room:2 #2: recovering from 9-1"],
        "at the deadline"
    );
    assert_eq!(hub.ack_at(call, "room:2", at(1)), ["1 subscribed room:2 #2: 9-1 recovered"]);
}

#[test]
fn leaving_the_last_unknown_channel_answers_the_batch() {
    let mut hub = TestHub::linked();
    let _sink = hub.live_session(1);
    let call = last_id(&hub.subscribe_to(1, &[("room:1", None), ("room:2", None)]));
    hub.ack_at(call, "room:1", at(1));
    assert_eq!(hub.unsubscribe(1, "room:2"), ["1 subscribed room:1 #1: 9-1", "unsubscribe room:2"]);
    assert_eq!(hub.advance(TIMEOUT), [""; 0], "answered once");
}

#[test]
fn a_session_that_has_left_gets_no_answer_to_its_batch() {
    let mut hub = TestHub::linked();
    let _sink = hub.live_session(1);
    let call = last_id(&hub.subscribe_to(1, &[("room:1", None), ("room:2", None)]));
    hub.ack_at(call, "room:1", at(1));
    let lines = hub.leave(1);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("unsubscribe "), "{lines:?}");
}

#[test]
fn the_answer_to_unsubscribe_follows_the_last_message_of_each_channel() {
    let mut hub = TestHub::linked();
    let sink = hub.live_session(1);
    let call = last_id(&hub.subscribe_to(1, &[("room:1", None), ("room:2", None)]));
    hub.ack_at(call, "room:1", at(0));
    hub.ack_at(call, "room:2", at(0));
    hub.go_live(1, Some("room:1"));
    hub.go_live(1, Some("room:2"));
    hub.publish(&durable("room:2", 1));
    let answer = protocol::frame::encode(protocol::frame::FrameKind::Text, br#"{"op":6}"#);
    let channels = vec![channel("room:1"), channel("room:2")];
    let input = HubInput::Unsubscribe { session: SessionId(1), channels, answer: Some(answer) };
    assert_eq!(hub.on(input), ["unsubscribe room:1 room:2"]);
    hub.publish(&durable("room:2", 2));
    let texts = sink.texts();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert_eq!(texts[1], r#"{"op":6}"#);
}
