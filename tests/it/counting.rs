//! Metrics of sockets, deliveries, the admin port and the process.

use crate::support::gateway::TestGateway;

#[test]
fn admin_requests_are_counted_by_route_and_status() {
    let gateway = TestGateway::spawn();
    for _ in 0..2 {
        assert_eq!(gateway.get("/v1/status").status, 200);
    }
    assert_eq!(gateway.post("/v1/publish", "nonsense").status, 400);
    assert_eq!(gateway.get("/v1/publish").status, 405);
    assert_eq!(gateway.post("/v1/sessions/0123456789abcdef0123456789abcdef/disconnect", "").status, 404);
    assert_eq!(gateway.get("/nowhere?token=secret").status, 404);
    let metrics = gateway.metrics();
    let count = |route: &str, status: u16| {
        metrics[&format!("gateway_admin_requests_total{{route=\"{route}\",status=\"{status}\"}}")]
    };
    assert_eq!(count("/v1/status", 200), 2.0);
    assert_eq!((count("/v1/publish", 400), count("/v1/publish", 405)), (1.0, 1.0));
    assert_eq!(count("/v1/sessions/{id}/disconnect", 404), 1.0);
    assert_eq!(count("other", 404), 1.0);
}

#[test]
fn bytes_on_sockets_are_counted_both_ways() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.ready_client("42");
    let before = (gateway.metric("received_bytes_total"), gateway.metric("sent_bytes_total"));
    let message = format!("\"{}\"", "x".repeat(100_000));
    gateway.publish("user:42", &message);
    client.expect_text(&format!("{{\"op\":3,\"message\":{message}}}"));
    // A header of two bytes and a mask of four bytes.
    client.send_text(r#"{"op":10,"time":1}"#);
    client.expect_text(r#"{"op":11,"time":1}"#);
    gateway.wait_metric("received_bytes_total", before.0 + 6 + 18);
    let frame = |text: usize| if text < 126 { 2 + text } else { 10 + text } as i64;
    let sent = frame(r#"{"op":3,"message":}"#.len() + message.len()) + frame(18);
    gateway.wait_metric("sent_bytes_total", before.1 + sent);
}

/// Three clients of one worker are one fan-out. A message of 3 MB is written in several turns and measured after the
/// last.
#[test]
fn latency_is_measured_once_per_publication_and_worker() {
    let gateway = TestGateway::with("server.workers", "1").spawn();
    let mut clients = ["42", "43", "44"].map(|user| gateway.ready_client(user));
    let mut publish = |length| {
        let message = format!("\"{}\"", "x".repeat(length));
        gateway.publish("all", &message);
        clients.iter_mut().for_each(|client| {
            client.expect_text(&format!("{{\"op\":3,\"message\":{message}}}"));
        });
    };
    // Publications held until a subscription is live are not measured. All subscriptions are live here.
    publish(2);
    gateway.wait_metric("publications_delivered_total", 3);
    let before = gateway.metric("delivery_latency_seconds_count");
    for (count, length) in [(1, 1), (2, 1_000_000)] {
        publish(length);
        gateway.wait_metric("delivery_latency_seconds_count", before + count);
    }
    gateway.publish("user:45", "1");
    assert_eq!(gateway.metric("delivery_latency_seconds_count"), before + 2, "no client received it");
    assert!(gateway.metrics()["gateway_delivery_latency_seconds_sum"] > 0.0);
}

#[test]
fn process_metrics_have_their_usual_names() {
    let gateway = TestGateway::spawn();
    let metrics = gateway.metrics();
    let open = metrics["process_open_fds"];
    assert!((3.0..metrics["process_max_fds"]).contains(&open), "{open}");
    assert!(metrics["process_resident_memory_bytes"] > 1e6 && metrics["process_cpu_seconds_total"] >= 0.0);
    assert!(metrics["process_start_time_seconds"] > 1e9);
}

#[test]
fn a_draining_replica_reports_it() {
    let gateway = TestGateway::with("drain.delay", "10s").with("drain.timeout", "40s").spawn();
    assert_eq!(gateway.metric("draining"), 0);
    gateway.terminate();
    gateway.wait_metric("draining", 1);
}
