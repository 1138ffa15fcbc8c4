//! Messages for the backend.

use super::*;

fn send_on(channel: &str, id: &str) -> String {
    format!(r#"{{"op":16,"id":"{id}","channel":"{channel}","message":{{"text": "hi"}}}}"#)
}

fn refused(code: &str, detail: &str, id: &str) -> String {
    format!(r#"{{"op":9,"code":"{code}","detail":"{detail}","id":"{id}"}}"#)
}

const NOT_ALLOWED: &str = "the session may not ask this of the channel";
const BUSY: &str = "too many messages wait; send it again later";

fn sent(client: &mut ScriptedClient, id: &str, outcome: Result<(), SendError>) -> Vec<String> {
    client.handle(Input::Sent { id: id.into(), outcome })
}

#[test]
fn a_message_is_acknowledged_once_the_inbox_has_it() {
    let mut client = ScriptedClient::ready();
    assert_eq!(
        client.send(&send_on("room:7", "c1")),
        [r#"put {"text": "hi"} of room:7 into the inbox for c1"#],
        "a session that may subscribe may send"
    );
    assert_eq!(sent(&mut client, "c1", Ok(())), [r#"{"op":17,"id":"c1"}"#]);
    assert_eq!(sent(&mut client, "c1", Ok(())), no_actions(), "acknowledged once");
}

#[test]
fn each_error_of_the_inbox_is_told_with_the_id() {
    let mut client = ScriptedClient::ready();
    for (error, answer) in [
        (SendError::NotAllowed, refused("not_allowed", NOT_ALLOWED, "c1")),
        (SendError::IdReused, refused("not_allowed", "this id was used with another message", "c1")),
        (SendError::Unavailable, refused("unavailable", "the request cannot be answered now", "c1")),
        (
            SendError::Busy { after_ms: 500 },
            format!(r#"{{"op":9,"code":"busy","detail":"{BUSY}","id":"c1","after":500}}"#),
        ),
    ] {
        client.send(&send_on("room:7", "c1"));
        assert_eq!(sent(&mut client, "c1", Err(error)), [answer]);
    }
}

#[test]
fn only_an_allowed_channel_takes_messages() {
    let mut client = ScriptedClient::ready();
    for channel in ["bank:1", "news:1", "all", "user:42", "user:43", "no channel", ""] {
        assert_eq!(
            client.send(&send_on(channel, "c1")),
            [refused("not_allowed", NOT_ALLOWED, "c1")],
            "{channel}"
        );
    }
}

#[test]
fn a_subscription_of_the_backend_is_enough_to_send() {
    let mut client = ScriptedClient::ready_as(Version::V2, Identity { grants: vec![], ..token_of("42") });
    assert_eq!(client.send(&send_on("room:7", "c1")), [refused("not_allowed", NOT_ALLOWED, "c1")]);
    client.handle(Input::SetSubscription { channel: room(), is_subscribed: true });
    assert_eq!(client.send(&send_on("room:7", "c1")).len(), 1);
    client.handle(Input::SetSubscription { channel: room(), is_subscribed: false });
    assert_eq!(client.send(&send_on("room:7", "c1")), [refused("not_allowed", NOT_ALLOWED, "c1")]);
}

#[test]
fn a_message_over_the_limit_is_too_big() {
    let mut client = ScriptedClient::ready();
    for (length, is_too_big) in [(62, false), (63, true)] {
        let message =
            format!(r#"{{"op":16,"id":"c1","channel":"room:7","message":"{}"}}"#, "x".repeat(length));
        assert_eq!(client.send(&message)[0].contains("too_big"), is_too_big, "{length}");
    }
}

#[test]
fn at_most_sixteen_messages_wait_for_an_answer() {
    let mut client = ScriptedClient::ready();
    for number in 0..MAX_OPEN_SENDS {
        assert!(client.send(&send_on("room:7", &format!("c{number}")))[0].starts_with("put"));
    }
    let busy = format!(r#"{{"op":9,"code":"busy","detail":"{BUSY}","id":"c16","after":1000}}"#);
    assert_eq!(client.send(&send_on("room:7", "c16")), [busy]);
    sent(&mut client, "c0", Err(SendError::Unavailable));
    assert!(client.send(&send_on("room:7", "c16"))[0].starts_with("put"));
}

#[test]
fn messages_have_their_own_budget() {
    let rules = Rules { messages_per_minute: 4, sends_per_minute: 2, ..rules() };
    let mut client = ScriptedClient::connect_with(rules, Version::V2, 0.5);
    client.identify_as(token_of("42"));
    for id in ["c1", "c2"] {
        assert!(client.send(&send_on("room:7", id))[0].starts_with("put"));
        sent(&mut client, id, Ok(()));
    }
    let limited = |id| [refused("rate_limited", "too many messages in a minute", id)];
    for id in ["c3", "c4", "c5"] {
        assert_eq!(client.send(&send_on("room:7", id)), limited(id), "it takes one of the other messages");
    }
    assert_eq!(client.send(&send_on("room:7", "c6")), ["close 4007"], "Identify took one, refusals three");
}

#[test]
fn the_budget_of_messages_refills() {
    let rules = Rules { sends_per_minute: 2, ..rules() };
    let mut client = ScriptedClient::connect_with(rules, Version::V2, 0.5);
    client.identify_as(token_of("42"));
    client.send(&send_on("room:7", "c1"));
    client.send(&send_on("room:7", "c2"));
    assert!(client.send(&send_on("room:7", "c3"))[0].contains("rate_limited"));
    client.stall(30 * SECOND);
    assert!(client.send(&send_on("room:7", "c3"))[0].starts_with("put"));
}

#[test]
fn a_message_before_ready_waits_in_order() {
    let rules = Rules { sends_per_minute: 2, ..rules() };
    let mut client = ScriptedClient::connect_with(rules, Version::V2, 0.5);
    client.send(IDENTIFY);
    client.verified(token_of("42"));
    for id in ["c1", "c2", "c3"] {
        assert_eq!(client.send(&send_on("room:7", id)), no_actions());
    }
    let lines = client.joined();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[2].ends_with("for c1") && lines[3].ends_with("for c2"), "{lines:?}");
    assert!(lines[4].contains("rate_limited"), "{lines:?}");
}

#[test]
fn a_message_before_identify_closes_the_session() {
    let mut client = ScriptedClient::connect(Version::V2);
    assert_eq!(client.send(&send_on("room:7", "c1")), ["close 4006"]);
}

#[test]
fn an_acknowledgement_follows_a_refresh() {
    let mut client = ScriptedClient::ready();
    client.send(&send_on("room:7", "c1"));
    client.send(r#"{"op":12,"token":"t"}"#);
    client.verified(Identity { grants: vec![], ..token_of("42") });
    assert_eq!(sent(&mut client, "c1", Ok(())), [r#"{"op":17,"id":"c1"}"#]);
}

#[test]
fn a_closed_session_gets_no_acknowledgement() {
    let mut client = ScriptedClient::ready();
    client.send(&send_on("room:7", "c1"));
    client.handle(Input::Disconnected(None));
    assert_eq!(sent(&mut client, "c1", Ok(())), no_actions());
}
