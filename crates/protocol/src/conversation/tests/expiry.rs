//! Expiring tokens, and clocks that are set.

use super::*;

/// Lets the client answer a heartbeat every 30 seconds. Stops at the first other action and returns it.
fn keep_alive(client: &mut ScriptedClient, time: Duration) -> Vec<String> {
    let end = client.now.monotonic + time;
    while client.now.monotonic < end {
        let step = (end - client.now.monotonic).min(30 * SECOND);
        let mut lines = client.advance(step);
        lines.retain(|line| !line.starts_with(r#"{"op":10,"#));
        if !lines.is_empty() {
            return lines;
        }
        client.send(r#"{"op":11}"#);
    }
    no_actions()
}

#[test]
fn the_session_ends_with_4009_when_its_token_expires() {
    for lifetime in [20 * SECOND, 3_600 * SECOND, 86_400 * SECOND] {
        for version in [Version::V1, Version::V2] {
            let mut client = ScriptedClient::ready_as(version, token_for(lifetime));
            assert_eq!(keep_alive(&mut client, lifetime - MS), no_actions(), "{lifetime:?}");
            assert_eq!(client.advance(MS), ["close 4009"], "{lifetime:?}");
        }
    }
}

#[test]
fn a_token_that_expires_while_joining_ends_the_session() {
    let mut client = ScriptedClient::verifying();
    client.verified(token_for(20 * SECOND));
    assert_eq!(client.advance(20 * SECOND - MS), no_actions());
    assert_eq!(client.advance(MS), ["close 4009"]);
}

#[test]
fn an_already_expired_token_ends_the_session_at_once() {
    let mut client = ScriptedClient::connect(Version::V2);
    client.advance(2 * SECOND);
    client.send(IDENTIFY);
    client.verified(token_for(SECOND));
    assert_eq!(client.advance(Duration::ZERO), ["close 4009"]);
}

#[test]
fn a_token_without_expiry_never_ends_the_session() {
    let mut client = ScriptedClient::ready();
    assert_eq!(keep_alive(&mut client, 40 * 86_400 * SECOND), no_actions());
}

#[test]
fn the_largest_expiry_does_not_end_a_session() {
    let forever = Identity { expires_at_ms: Some(u64::MAX), ..token_of("42") };
    let mut client = ScriptedClient::ready_as(Version::V2, forever);
    assert_eq!(keep_alive(&mut client, 3 * 3_600 * SECOND), no_actions());
}

#[test]
fn a_clock_set_back_does_not_end_a_session_early() {
    let mut client = ScriptedClient::ready_as(Version::V2, token_for(600 * SECOND));
    assert_eq!(keep_alive(&mut client, 300 * SECOND), no_actions());
    client.shift_wall_clock(-300);
    // The scheduled check of the wall clock finds that time is left.
    assert_eq!(keep_alive(&mut client, 300 * SECOND), no_actions());
    assert_eq!(keep_alive(&mut client, 300 * SECOND - MS), no_actions());
    assert_eq!(client.advance(MS), ["close 4009"]);
}

#[test]
fn a_clock_set_back_does_not_end_joining_early() {
    let mut client = ScriptedClient::verifying();
    client.verified(token_for(20 * SECOND));
    client.shift_wall_clock(-15);
    assert_eq!(keep_alive(&mut client, 35 * SECOND - MS), no_actions());
    assert_eq!(client.advance(MS), ["close 4009"]);
}

#[test]
fn a_clock_set_forward_does_not_end_all_sessions() {
    let mut client = ScriptedClient::ready_as(Version::V2, token_for(86_400 * SECOND));
    client.shift_wall_clock(7 * 86_400);
    assert_eq!(client.handle(Input::DeadlinePassed), no_actions());
    // The wall clock is checked at least once an hour. The check ends the session.
    assert_eq!(keep_alive(&mut client, 3_600 * SECOND - MS), no_actions());
    assert_eq!(client.advance(MS), ["close 4009"]);
}

#[test]
fn a_clock_jump_reverted_between_two_checks_has_no_effect() {
    let mut client = ScriptedClient::ready_as(Version::V2, token_for(86_400 * SECOND));
    client.shift_wall_clock(7 * 86_400);
    assert_eq!(keep_alive(&mut client, 1_800 * SECOND), no_actions());
    client.shift_wall_clock(-7 * 86_400);
    assert_eq!(keep_alive(&mut client, 84_600 * SECOND - MS), no_actions());
    assert_eq!(client.advance(MS), ["close 4009"]);
}

#[test]
fn silence_is_measured_without_the_wall_clock() {
    let mut client = ScriptedClient::ready();
    client.shift_wall_clock(86_400);
    assert_eq!(client.advance(60 * SECOND - MS).len(), 1);
    client.shift_wall_clock(-2 * 86_400);
    assert_eq!(client.advance(MS), ["close 4002"]);
}
