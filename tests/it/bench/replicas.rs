//! Several replicas, with the sockets in processes of their own.

use super::*;

#[test]
fn replicas_and_their_generators_add_up() {
    let heartbeats = ["--replicas", "2", "--seconds", "1", "--set", "session.heartbeat_interval=100ms"];
    let idle = report("idle", &heartbeats);
    assert!(figure(&idle["gateway"], "heartbeats") >= SOCKETS as f64, "{idle}");
    assert_eq!((&idle["arguments"]["replicas"], &idle["published_by"]), (&2.into(), &"Redis".into()));
    let storm = report("storm", &["--replicas", "2"]);
    assert_exact(&storm["gateway"]);
    assert_eq!(figure(&storm["gateway"], "recovered"), SOCKETS as f64);
    assert_ordered(&storm["gateway"], "back");
}

#[test]
fn clients_of_an_ended_replica_resume_at_the_others() {
    let report = report("scale", &["--set", "drain.window=500ms"]);
    let gateway = &report["gateway"];
    assert_exact(gateway);
    assert_ordered(gateway, "latency");
    // One replica for all sockets, and two that end: a third of the clients, then half of them.
    assert_eq!(report["arguments"]["replicas"], 3);
    for (ended, clients) in [("kill", SOCKETS / 3), ("drain", SOCKETS / 2)] {
        for figures in ["clients", "recovered"] {
            assert_eq!(figure(gateway, &format!("{ended}_{figures}")), clients as f64, "{report}");
        }
    }
}
