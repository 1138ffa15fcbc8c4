//! Resuming: a client that sends its last position receives the missed messages, or `"recovered":false`.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::redis_server::RedisServer;

/// Runs a check with both brokers.
fn on_both(plan: &Plan, check: impl Fn(&TestGateway)) {
    check(&plan.spawn());
    let redis = RedisServer::start();
    let gateway = plan.clone().redis(&redis).spawn();
    gateway.wait_ready();
    check(&gateway);
}

/// Identifies as user 42 and resumes these channels. Returns their status in Ready.
#[track_caller]
fn resume(gateway: &TestGateway, channels: &[(&str, Option<&str>)]) -> (Client, Vec<Value>) {
    let mut client = gateway.connect_v2();
    let channels: Vec<_> = channels
        .iter()
        .map(|(channel, since)| match since {
            Some(since) => json!({"channel": channel, "since": since}),
            None => json!({"channel": channel}),
        })
        .collect();
    client.send_text(&json!({"op": 1, "token": "42", "channels": channels}).to_string());
    let ready = client.expect_ready();
    (client, ready["channels"].as_array().unwrap().clone())
}

/// Publishes numbers durably; returns their positions.
fn publish(gateway: &TestGateway, channel: &str, numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|number| gateway.publish_durably(channel, &number.to_string())).collect()
}

#[track_caller]
fn expect_numbers(
    client: &mut Client,
    channel: &str,
    numbers: std::ops::RangeInclusive<u32>,
    positions: &[String],
) {
    for (number, position) in numbers.zip(positions) {
        client.expect_text(&format!(
            r#"{{"op":3,"channel":"{channel}","position":"{position}","message":{number}}}"#
        ));
    }
}

fn channel_status<'a>(channels: &'a [Value], name: &str) -> &'a Value {
    channels.iter().find(|channel| channel["channel"] == name).unwrap()
}

#[test]
fn a_resumed_client_gets_missed_messages_then_live_ones() {
    on_both(&TestGateway::plan(), |gateway| {
        let (mut client, _) = resume(gateway, &[]);
        let seen = publish(gateway, "user:42", 1..=2);
        expect_numbers(&mut client, "user:42", 1..=2, &seen);
        drop(client);
        let missed = publish(gateway, "user:42", 3..=5);
        let (mut client, channels) = resume(gateway, &[("user:42", Some(&seen[1]))]);
        let expected = json!({"channel": "user:42", "position": seen[1], "recovered": true});
        assert_eq!(channel_status(&channels, "user:42"), &expected);
        expect_numbers(&mut client, "user:42", 3..=5, &missed);
        let next = publish(gateway, "user:42", 6..=6);
        expect_numbers(&mut client, "user:42", 6..=6, &next);
        gateway.wait_metric(r#"recoveries_total{result="recovered"}"#, 1);
    });
}

#[test]
fn the_first_message_of_a_channel_is_recovered() {
    on_both(&TestGateway::plan(), |gateway| {
        let (client, channels) = resume(gateway, &[]);
        let before = channel_status(&channels, "user:42")["position"].as_str().unwrap().to_owned();
        assert!(before.ends_with("-0"), "{before}");
        drop(client);
        gateway.wait_metric("sessions", 0);
        let missed = publish(gateway, "user:42", 1..=2);
        let (mut client, channels) = resume(gateway, &[("user:42", Some(&before))]);
        assert_eq!(channel_status(&channels, "user:42")["recovered"], true);
        expect_numbers(&mut client, "user:42", 1..=2, &missed);
    });
}

#[test]
fn a_client_that_missed_nothing_is_recovered() {
    on_both(&TestGateway::plan(), |gateway| {
        let last = publish(gateway, "user:42", 1..=2).remove(1);
        let (client, channels) = resume(gateway, &[]);
        assert_eq!(channel_status(&channels, "user:42"), &json!({"channel": "user:42", "position": last}));
        drop(client);
        expect_no_messages(
            gateway,
            &last,
            &json!({"channel": "user:42", "position": last, "recovered": true}),
        );
    });
}

#[test]
fn an_invalid_position_is_not_recovered() {
    on_both(&TestGateway::plan(), |gateway| {
        let last = publish(gateway, "user:42", 1..=2).remove(1);
        for invalid in ["no position", "", "1", "1-", "-1", "1-2-3"] {
            let status = json!({"channel": "user:42", "position": last, "recovered": false});
            expect_no_messages(gateway, invalid, &status);
        }
        gateway.wait_metric("recoveries_total{result=\"invalid_position\"}", 6);
    });
}

/// Resumes `user:42` from `since`. Expects this status, and no message.
#[track_caller]
fn expect_no_messages(gateway: &TestGateway, since: &str, status: &Value) {
    let (mut client, channels) = resume(gateway, &[("user:42", Some(since)), ("all", None)]);
    assert_eq!(channel_status(&channels, "user:42"), status, "since {since:?}");
    client.send_text(r#"{"op":10,"time":1}"#);
    client.expect_text(r#"{"op":11,"time":1}"#);
}

#[test]
fn a_channel_without_history_can_be_continued_too() {
    on_both(&TestGateway::plan(), |gateway| {
        let (client, channels) = resume(gateway, &[]);
        let before = channel_status(&channels, "all")["position"].as_str().unwrap().to_owned();
        drop(client);
        gateway.wait_metric("sessions", 0);
        let (_client, channels) = resume(gateway, &[("all", Some(&before))]);
        assert_eq!(channel_status(&channels, "all")["recovered"], true, "{before}");
    });
}

#[test]
fn subscribe_resumes_like_identify() {
    on_both(&TestGateway::with("channels.public_namespaces", "room"), |gateway| {
        let positions = publish(gateway, "room:7", 1..=4);
        let (mut client, _) = resume(gateway, &[]);
        client.send_text(&json!({"op": 4, "channel": "room:7", "since": positions[1]}).to_string());
        client.expect_text(&format!(
            r#"{{"op":6,"channel":"room:7","state":"subscribed","position":"{}","recovered":true}}"#,
            positions[1]
        ));
        expect_numbers(&mut client, "room:7", 3..=4, &positions[2..]);
    });
}

#[test]
fn missing_too_much_is_not_recovered_at_all() {
    let plan = TestGateway::with("session.max_recovered_messages", "5").with("broker.history_size", "10");
    on_both(&plan, |gateway| {
        let positions = publish(gateway, "user:42", 1..=8);
        for (since, recovered) in [
            (positions[2].as_str(), true),
            // Six messages are missing.
            (&positions[1], false),
            // A position of another history.
            ("1-1", false),
            // Positions that were never assigned.
            ("99999999999999-5", false),
            ("18446744073709551615-18446744073709551615", false),
            ("x", false),
        ] {
            let (mut client, channels) = resume(gateway, &[("user:42", Some(since))]);
            let channel_status = channel_status(&channels, "user:42");
            assert_eq!(channel_status["recovered"], recovered, "{since}");
            if recovered {
                expect_numbers(&mut client, "user:42", 4..=8, &positions[3..]);
            } else {
                assert_eq!(channel_status["position"], *positions[7], "{since}");
            }
            client.send_text(r#"{"op":10,"time":1}"#);
            client.expect_text(r#"{"op":11,"time":1}"#);
        }
    });
}

#[test]
fn recovered_bytes_are_bounded_across_all_channels() {
    let plan =
        TestGateway::with("session.max_outbound_bytes", "20000").with("channels.public_namespaces", "room");
    on_both(&plan, |gateway| {
        let text = format!("{:?}", "x".repeat(3_000));
        let mut positions = Vec::new();
        for channel in ["room:1", "room:2"] {
            positions.push(gateway.publish_durably(channel, "0"));
            (0..2).for_each(|_| drop(gateway.publish_durably(channel, &text)));
        }
        let (mut client, channels) =
            resume(gateway, &[("room:1", Some(&positions[0])), ("room:2", Some(&positions[1]))]);
        assert_eq!(channel_status(&channels, "room:1")["recovered"], true);
        assert_eq!(channel_status(&channels, "room:2")["recovered"], false, "the bound does not allow both");
        for _ in 0..2 {
            assert_eq!(client.next_json()["channel"], "room:1");
        }
    });
}

#[test]
fn a_long_message_is_recovered_together_with_others() {
    on_both(&TestGateway::with("session.max_outbound_bytes", "1048576"), |gateway| {
        let long = format!("{:?}", "x".repeat(1_048_000));
        let since = gateway.publish_durably("user:42", "0");
        let since_all = gateway.publish_durably("all", "0");
        for message in ["1", &long, "2"] {
            gateway.publish_durably("user:42", message);
        }
        gateway.publish_durably("all", "3");
        let (mut client, channels) = resume(gateway, &[("all", Some(&since_all)), ("user:42", Some(&since))]);
        for channel in ["all", "user:42"] {
            assert_eq!(channel_status(&channels, channel)["recovered"], true, "{channel}");
        }
        let mut lengths: Vec<_> = (0..4).map(|_| client.next_json()["message"].to_string().len()).collect();
        lengths.sort_unstable();
        assert_eq!(lengths, [1, 1, 1, 1_048_002]);
    });
}

#[test]
fn any_replica_resumes_sessions_of_another() {
    let redis = RedisServer::start();
    let [one, two] = [(); 2].map(|()| TestGateway::redis(&redis).spawn());
    one.wait_ready();
    two.wait_ready();
    let (mut client, _) = resume(&one, &[]);
    let seen = publish(&two, "user:42", 1..=2);
    expect_numbers(&mut client, "user:42", 1..=2, &seen);
    drop((client, one));
    let missed = publish(&two, "user:42", 3..=4);
    let (mut client, channels) = resume(&two, &[("user:42", Some(&seen[0]))]);
    assert_eq!(channel_status(&channels, "user:42")["recovered"], true);
    expect_numbers(&mut client, "user:42", 2..=2, &seen[1..]);
    expect_numbers(&mut client, "user:42", 3..=4, &missed);
}

#[test]
fn version_1_receives_durable_messages_with_exactly_its_fields() {
    on_both(&TestGateway::plan(), |gateway| {
        let mut client = gateway.ready_client("42");
        publish(gateway, "user:42", 1..=2);
        client.expect_text(r#"{"op":3,"message":1}"#);
        client.expect_text(r#"{"op":3,"message":2}"#);
    });
}

/// Counts the `XRANGE` commands that Redis has run, including those in functions and transactions.
fn history_reads(connection: &mut redis::Connection) -> u64 {
    let info: redis::InfoDict = redis::cmd("INFO").arg("commandstats").query(connection).unwrap();
    let line: Option<String> = info.get("cmdstat_xrange");
    line.map_or(0, |line| {
        let calls = line.trim_start_matches("calls=").split(',').next().unwrap();
        calls.parse().unwrap()
    })
}

/// Within one epoch, two positions show how many messages lie between them.
#[test]
fn over_the_recovery_bound_no_history_is_read() {
    let redis = RedisServer::start();
    let gateway = TestGateway::with("session.max_recovered_messages", "5").redis(&redis).spawn();
    gateway.wait_ready();
    let positions = publish(&gateway, "user:42", 1..=8);
    let mut admin = redis.client();
    // With a replica that is not subscribed to the channel yet, and with one that is.
    for others in 0..2 {
        let _others: Vec<Client> = (0..others).map(|_| resume(&gateway, &[]).0).collect();
        let before = history_reads(&mut admin);
        let (_client, channels) = resume(&gateway, &[("user:42", Some(&positions[1]))]);
        assert_eq!(
            channel_status(&channels, "user:42"),
            &json!({"channel": "user:42", "position": positions[7], "recovered": false})
        );
        assert_eq!(history_reads(&mut admin), before, "the history was read needlessly");
        let (mut client, channels) = resume(&gateway, &[("user:42", Some(&positions[2]))]);
        assert_eq!(channel_status(&channels, "user:42")["recovered"], true);
        expect_numbers(&mut client, "user:42", 4..=8, &positions[3..]);
        assert!(history_reads(&mut admin) > before, "reading a history must increase this count");
    }
}
