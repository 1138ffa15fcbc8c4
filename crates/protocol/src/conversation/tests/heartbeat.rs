//! Ops 10 and 11, and silent clients.

use super::*;

const ACK: &str = r#"{"op":11}"#;

fn beat_at(after: Duration) -> String {
    format!(r#"{{"op":10,"time":{}}}"#, UNIX_START_MS + after.as_millis() as u64)
}

#[test]
fn jitter_delays_the_first_heartbeat_and_the_rest_follow_regularly() {
    for (jitter, first) in [(0.1, 4_500 * MS), (0.5, 22_500 * MS), (1.0, 45 * SECOND)] {
        let mut client = ScriptedClient::connect_with(rules(), Version::V1, jitter);
        client.identify_as(token_of("42"));
        assert_eq!(client.advance(first - MS), no_actions(), "jitter {jitter}");
        assert_eq!(client.advance(MS), [beat_at(first)], "jitter {jitter}");
        for beat in 1..=3 {
            assert_eq!(client.send(ACK), no_actions());
            assert_eq!(client.advance(45 * SECOND - MS), no_actions());
            assert_eq!(client.advance(MS), [beat_at(first + beat * 45 * SECOND)], "jitter {jitter}");
        }
    }
}

#[test]
fn an_out_of_range_jitter_is_clamped_to_the_interval() {
    for (jitter, first) in [(-1.0, Duration::ZERO), (7.0, 45 * SECOND)] {
        let client = ScriptedClient::connect_with(
            Rules { identify_timeout: 90 * SECOND, ..rules() },
            Version::V1,
            jitter,
        );
        assert_eq!(client.conversation.next_deadline(), Some(client.now.monotonic + first));
    }
}

#[test]
fn heartbeats_are_sent_before_identify() {
    let mut client = ScriptedClient::connect_with(rules(), Version::V1, 0.1);
    assert_eq!(client.advance(9 * SECOND), [beat_at(4_500 * MS)]);
}

#[test]
fn a_client_heartbeat_is_answered_with_its_own_time() {
    for mut client in [
        ScriptedClient::connect(Version::V1),
        ScriptedClient::verifying(),
        ScriptedClient::joining(),
        ScriptedClient::ready(),
    ] {
        for (beat, ack) in [
            (r#"{"op":10,"time":1579276740336}"#, r#"{"op":11,"time":1579276740336}"#),
            (r#"{"time": 1.50e3 ,"op":10}"#, r#"{"op":11,"time":1.50e3}"#),
            (r#"{"op":10}"#, r#"{"op":11}"#),
        ] {
            assert_eq!(client.send(beat), [ack]);
        }
    }
}

#[test]
fn answering_heartbeats_keeps_a_session_open() {
    let mut client = ScriptedClient::ready_as(Version::V1, token_of("42"));
    client.advance(22_500 * MS);
    for _ in 0..100 {
        client.send(ACK);
        assert_eq!(client.advance(45 * SECOND).len(), 1);
    }
}

#[test]
fn silence_for_interval_and_grace_closes_with_4002() {
    let mut client = ScriptedClient::connect(Version::V1);
    client.advance(5 * SECOND);
    client.identify_as(token_of("42"));
    assert_eq!(client.advance(60 * SECOND - MS), [beat_at(22_500 * MS)]);
    assert_eq!(client.advance(MS), ["close 4002"]);
}

#[test]
fn silence_counts_while_the_session_joins() {
    let mut client = ScriptedClient::joining();
    assert_eq!(client.advance(60 * SECOND), [beat_at(22_500 * MS).as_str(), "close 4002"]);
}

#[test]
fn any_client_frame_postpones_the_heartbeat_timeout() {
    for frame in [
        Input::Text(ACK),
        Input::Text(r#"{"op":10}"#),
        Input::Text(r#"{"op":5,"channel":"room:1"}"#),
        Input::ControlFrame,
    ] {
        let mut client = ScriptedClient::ready();
        client.advance(60 * SECOND - MS);
        client.handle(frame.clone());
        assert!(!client.advance(60 * SECOND - MS).contains(&"close 4002".to_owned()));
        assert_eq!(client.advance(MS), ["close 4002"]);
    }
}

#[test]
fn inputs_of_the_gateway_do_not_postpone_the_timeout() {
    let mut client = ScriptedClient::ready();
    client.send(r#"{"op":4,"channel":"room:1"}"#);
    client.advance(60 * SECOND - MS);
    client.subscribed(2);
    assert_eq!(client.advance(MS), ["close 4002"]);
}

#[test]
fn one_heartbeat_follows_a_stall_of_several_intervals() {
    let mut client = ScriptedClient::ready_as(Version::V1, token_of("42"));
    client.stall(200 * SECOND);
    client.send(ACK);
    assert_eq!(client.handle(Input::DeadlinePassed), [beat_at(200 * SECOND)]);
    assert_eq!(client.advance(45 * SECOND - MS), no_actions());
    assert_eq!(client.advance(MS), [beat_at(245 * SECOND)]);
}

#[test]
fn an_early_deadline_does_nothing() {
    let mut client = ScriptedClient::ready();
    let due = client.conversation.next_deadline();
    client.stall(SECOND);
    assert_eq!(client.handle(Input::DeadlinePassed), no_actions());
    assert_eq!(client.conversation.next_deadline(), due);
}
