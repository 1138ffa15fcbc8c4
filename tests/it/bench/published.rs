//! The work of tests that other projects publish.

use super::*;

#[test]
fn a_profile_of_idle_sets_the_interval_of_heartbeats() {
    let report = report("idle", &["--profile", "anycable", "--seconds", "2"]);
    let gateway = &report["gateway"];
    assert_eq!(figure(gateway, "heartbeat_interval_seconds"), 3.0);
    // With the default interval it would be one.
    assert!(figure(gateway, "heartbeats") > 4.0, "{gateway}");
}

#[test]
fn clients_that_are_often_offline_get_every_message_once() {
    for broker in [&["--redis"][..], &[]] {
        let absences = ["--offline", "0.2", "--offline-every", "0.8", "--seconds", "1.6", "--rate", "20"];
        let report = report("jitter", &[broker, &absences[..], &["--threads", "2"]].concat());
        let gateway = &report["gateway"];
        assert_exact(gateway);
        assert_eq!(figure(gateway, "deliveries"), 32.0 * SOCKETS as f64);
        assert_eq!(figure(gateway, "delivered_percent"), 100.0);
        assert_eq!(figure(gateway, "absences"), 2.0 * SOCKETS as f64);
        assert_eq!(figure(gateway, "recovered") + figure(gateway, "not_recovered"), 2.0 * SOCKETS as f64);
        assert_eq!(figure(gateway, "not_recovered"), 0.0);
        assert!(figure(gateway, "missed") > 0.0);
        ["back", "replay", "latency"].iter().for_each(|name| assert_ordered(gateway, name));
    }
}
