//! Signals of the client, and how they are coalesced.

use super::*;

fn signal(number: u64) -> String {
    signal_on("room:7", &number.to_string())
}

fn signal_on(channel: &str, signal: &str) -> String {
    format!(r#"{{"op":18,"channel":"{channel}","signal":{signal}}}"#)
}

fn sent(number: u64) -> String {
    format!("signal {number} on room:7")
}

/// A client that is subscribed to room:7.
fn in_the_room() -> ScriptedClient {
    in_the_room_with(rules())
}

fn in_the_room_with(rules: Rules) -> ScriptedClient {
    let mut client = ScriptedClient::connect_with(rules, Version::V2, 0.5);
    client.identify_as(token_of("42"));
    client.send(r#"{"op":4,"channel":"room:7"}"#);
    client.subscribed(2);
    client
}

#[test]
fn the_newest_signal_of_an_interval_goes_out_when_it_ends() {
    let mut client = in_the_room();
    assert_eq!(client.send(&signal(1)), [sent(1)]);
    for number in 2..5 {
        assert_eq!(client.send(&signal(number)), no_actions());
    }
    assert_eq!(client.advance(249 * MS), no_actions());
    assert_eq!(client.advance(MS), [sent(4)]);
    assert_eq!(client.send(&signal(5)), no_actions(), "the next interval has begun");
    assert_eq!(client.advance(250 * MS), [sent(5)]);
    assert_eq!(client.advance(10 * SECOND), no_actions(), "each signal goes out once");
    assert_eq!(client.send(&signal(6)), [sent(6)]);
}

#[test]
fn an_overdue_signal_yields_to_a_newer_one() {
    let mut client = in_the_room();
    client.send(&signal(1));
    client.send(&signal(2));
    client.stall(SECOND);
    assert_eq!(client.send(&signal(3)), [sent(3)]);
    assert_eq!(client.advance(SECOND), no_actions());
}

#[test]
fn each_channel_has_its_own_interval() {
    let mut client = in_the_room();
    client.send(r#"{"op":4,"channel":"room:8"}"#);
    client.send(&signal(1));
    assert_eq!(client.send(&signal_on("room:8", "1")), ["signal 1 on room:8"]);
    client.send(&signal(2));
    client.advance(100 * MS);
    client.send(&signal_on("room:8", "2"));
    assert_eq!(client.advance(150 * MS), [sent(2), "signal 2 on room:8".into()]);
}

#[test]
fn a_waiting_signal_ends_with_its_subscription() {
    let leave: [fn(&mut ScriptedClient) -> Vec<String>; 3] = [
        |client| client.send(r#"{"op":5,"channel":"room:7"}"#),
        |client| client.handle(Input::SetSubscription { channel: room(), is_subscribed: false }),
        |client| {
            client.send(r#"{"op":12,"token":"t"}"#);
            client.verified(Identity { grants: vec![], ..token_of("42") })
        },
    ];
    for leave in leave {
        let mut client = in_the_room();
        client.send(&signal(1));
        client.send(&signal(2));
        leave(&mut client);
        assert_eq!(client.advance(SECOND), no_actions());
        assert!(client.send(&signal(3))[0].contains("not_allowed"));
    }
}

#[test]
fn only_a_subscriber_where_signals_are_on_may_send_one() {
    let mut client = in_the_room();
    client.send(r#"{"op":4,"channel":"news:1"}"#);
    for channel in ["room:8", "news:1", "bank:1", "user:42", "all", ""] {
        assert_eq!(
            client.send(&signal_on(channel, "1")),
            [format!(
                r#"{{"op":9,"code":"not_allowed","detail":"the session may not ask this of the channel","channel":"{channel}"}}"#
            )]
        );
    }
}

#[test]
fn a_signal_has_at_most_1024_bytes() {
    let mut client = in_the_room();
    let text = |length: usize| format!(r#""{}""#, "x".repeat(length - 2));
    assert_eq!(
        client.send(&signal_on("room:7", &text(1_025))),
        [r#"{"op":9,"code":"too_big","detail":"the message is too long","channel":"room:7"}"#]
    );
    assert!(client.send(&signal_on("room:7", &text(1_024)))[0].starts_with("signal"));
}

#[test]
fn signals_over_their_budget_are_dropped() {
    let rules = Rules { messages_per_minute: 4, signals_per_minute: 2, ..rules() };
    let mut client = in_the_room_with(rules);
    for number in [1, 2] {
        assert_eq!(client.send(&signal(number)), [sent(number)]);
        client.advance(250 * MS);
    }
    for number in [3, 4] {
        assert_eq!(client.send(&signal(number)), no_actions(), "it takes one of the other messages");
    }
    assert_eq!(client.send(&signal(5)), ["close 4007"]);
}

#[test]
fn a_session_without_signals_holds_no_state_for_them() {
    let client = in_the_room();
    let ConversationState::Ready(verified) = &client.conversation.state else { panic!("not ready") };
    assert!(verified.on_demand.is_none());
    assert!(size_of::<VerifiedSession>() <= 64, "{}", size_of::<VerifiedSession>());
}
