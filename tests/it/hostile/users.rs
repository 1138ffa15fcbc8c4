//! Identified users that keep the gateway busy.

use super::HealthyPeer;
use crate::support::client::Client;
use crate::support::gateway::TestGateway;

/// Builds an Identify with a hundred channels.
fn identify(user: &str) -> String {
    let channels: Vec<_> = (0..100).map(|room| format!(r#"{{"channel":"public:{room}"}}"#)).collect();
    format!(r#"{{"op":1,"token":"{user}","channels":[{}]}}"#, channels.join(","))
}

/// Identifies with a hundred channels; returns the Ready client, or the code of the Close.
#[track_caller]
fn try_identify(peer: &HealthyPeer, user: &str) -> Result<Client, u16> {
    let mut client = peer.gateway.connect_v2();
    client.send_text(&identify(user));
    match client.next_or_code() {
        Ok(_) => Ok(client),
        Err(code) => Err(code.unwrap()),
    }
}

#[test]
fn a_user_identifying_in_a_loop_is_closed_with_4007() {
    let mut peer = HealthyPeer::of(&TestGateway::with("limits.identifies_per_minute_per_user", "6"));
    let loops: Vec<_> = (0..60).map(|_| try_identify(&peer, "42").map(drop)).collect();
    let accepted = loops.iter().filter(|outcome| outcome.is_ok()).count();
    // The rate allows one more every ten seconds, which leaves room for a slow machine.
    assert!((6..20).contains(&accepted), "{accepted} of 60");
    assert!(loops.iter().all(|outcome| matches!(outcome, Ok(()) | Err(4007))), "{loops:?}");
    assert!(peer.gateway.metric("identifies_total{result=\"too_many_identifies\"}") >= 40);
    peer.assert_served("a user in a loop");
    // Other users are not affected, and the loops leave no state.
    drop(try_identify(&peer, "44").unwrap());
    peer.gateway.wait_metric("sessions", 1);
    peer.gateway.wait_metric("subscriptions", 2);
    peer.gateway.wait_metric("channels", 2);
}

#[test]
fn a_user_refreshing_in_a_loop_is_closed_with_4007() {
    let mut peer = HealthyPeer::of(&TestGateway::with("limits.identifies_per_minute_per_user", "6"));
    let mut client = try_identify(&peer, "42").unwrap();
    let mut answers = 0;
    for _ in 0..60 {
        // An invalid token counts as much as a valid one.
        client.send_text(r#"{"op":12,"token":""}"#);
    }
    while let Some(answer) = client.next_or_close_with(4007) {
        answers += usize::from(answer.contains("refresh_failed"));
    }
    assert!((5..20).contains(&answers), "{answers} of 60");
    peer.assert_served("a user that refreshes");
}

#[test]
fn short_sessions_leave_no_work_queued() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    for _ in 0..50 {
        let mut client = peer.gateway.connect_v2();
        client.send_text(&identify("42"));
        // The client leaves before Ready.
        drop(client);
    }
    peer.assert_served("sessions that do not stay");
    peer.gateway.wait_metric("connections", 1);
    peer.gateway.wait_metric("sessions", 1);
    peer.gateway.wait_metric("subscriptions", 2);
    peer.gateway.wait_metric("channels", 2);
}
