//! Op 10 and 11, and silence.

use super::*;

const ACK: &str = r#"{"op":11}"#;

fn beat_at(after: Duration) -> String {
    format!(r#"{{"op":10,"time":{}}}"#, UNIX_START_MS + after.as_millis() as u64)
}

#[test]
fn the_first_beat_comes_where_the_jitter_puts_it_and_the_others_an_interval_apart() {
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
fn a_jitter_out_of_range_still_beats_within_the_first_interval() {
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
fn the_gateway_beats_before_identify_as_well() {
    let mut client = ScriptedClient::connect_with(rules(), Version::V1, 0.1);
    assert_eq!(client.advance(9 * SECOND), [beat_at(4_500 * MS)]);
}

#[test]
fn a_client_s_beat_is_answered_at_once_with_its_own_time() {
    for mut client in [
        ScriptedClient::connect(Version::V1),
        ScriptedClient::verifying(),
        ScriptedClient::joining(),
        ScriptedClient::identified(),
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
fn a_client_that_only_answers_beats_lives_on() {
    let mut client = ScriptedClient::identified_as(Version::V1, token_of("42"));
    client.advance(22_500 * MS);
    for _ in 0..100 {
        client.send(ACK);
        assert_eq!(client.advance(45 * SECOND).len(), 1);
    }
}

#[test]
fn silence_for_interval_and_grace_closes_with_4002_at_that_time_and_not_before() {
    let mut client = ScriptedClient::connect(Version::V1);
    client.advance(5 * SECOND);
    client.identify_as(token_of("42"));
    assert_eq!(client.advance(60 * SECOND - MS), [beat_at(22_500 * MS)]);
    assert_eq!(client.advance(MS), ["close 4002"]);
}

#[test]
fn silence_counts_while_the_hub_has_not_answered() {
    let mut client = ScriptedClient::joining();
    assert_eq!(client.advance(60 * SECOND), [beat_at(22_500 * MS).as_str(), "close 4002"]);
}

#[test]
fn any_frame_is_a_sign_of_life() {
    for sign in [
        Input::Text(ACK),
        Input::Text(r#"{"op":10}"#),
        Input::Text(r#"{"op":5,"channel":"room:1"}"#),
        Input::ControlFrame,
    ] {
        let mut client = ScriptedClient::identified();
        client.advance(60 * SECOND - MS);
        client.handle(sign.clone());
        assert!(!client.advance(60 * SECOND - MS).contains(&"close 4002".to_owned()));
        assert_eq!(client.advance(MS), ["close 4002"]);
    }
}

#[test]
fn what_the_system_says_is_not_a_sign_of_life() {
    let mut client = ScriptedClient::identified();
    client.send(r#"{"op":4,"channel":"room:1"}"#);
    client.advance(60 * SECOND - MS);
    client.subscribed(2);
    assert_eq!(client.advance(MS), ["close 4002"]);
}

#[test]
fn after_a_stall_of_several_intervals_one_beat_is_owed() {
    let mut client = ScriptedClient::identified_as(Version::V1, token_of("42"));
    client.stall(200 * SECOND);
    client.send(ACK);
    assert_eq!(client.handle(Input::DeadlinePassed), [beat_at(200 * SECOND)]);
    assert_eq!(client.advance(45 * SECOND - MS), no_actions());
    assert_eq!(client.advance(MS), [beat_at(245 * SECOND)]);
}

#[test]
fn a_deadline_that_is_noticed_too_early_does_nothing() {
    let mut client = ScriptedClient::identified();
    let due = client.conversation.next_deadline();
    client.stall(SECOND);
    assert_eq!(client.handle(Input::DeadlinePassed), no_actions());
    assert_eq!(client.conversation.next_deadline(), due);
}
