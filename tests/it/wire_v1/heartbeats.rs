//! Heartbeats, in both directions.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_tungstenite::tungstenite::Message;

use crate::support::gateway::{TestGateway, ms};

#[test]
fn a_client_s_heartbeat_is_acknowledged_with_its_own_time() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.connect();
    // Before and after Identify.
    for _ in 0..2 {
        client.send_text(r#"{"op":10,"time":1579276740336}"#);
        client.expect_text(r#"{"op":11,"time":1579276740336}"#);
        client.send_text(r#"{"op":10}"#);
        client.expect_text(r#"{"op":11}"#);
        client.send_text(r#"{"time":1.50,"op":10,"more":null}"#);
        client.expect_text(r#"{"op":11,"time":1.50}"#);
        if gateway.metric("sessions") == 0 {
            client.identify("42");
            client.expect_ready();
        }
    }
}

#[test]
fn heartbeats_arrive_at_the_interval_that_hello_names() {
    let gateway = TestGateway::with("session.heartbeat_interval", "100ms").spawn();
    let mut client = gateway.try_connect("/").unwrap();
    client.expect_text(r#"{"op":0,"heartbeat_interval":100}"#);
    client.identify("42");
    client.expect_ready();
    let started = Instant::now();
    let times: Vec<u64> = (0..5).map(|_| client.expect_heartbeat()).collect();
    // A late timer sends fewer heartbeats, never more. The first may arrive at once, then four intervals pass.
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    assert!(times.is_sorted());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(now.abs_diff(times[4]) < 60_000, "the time is Unix time in milliseconds");
}

#[test]
fn any_frame_keeps_a_session_alive_and_silence_ends_it() {
    let (interval, grace) = (Duration::from_millis(200), Duration::from_millis(2_000));
    let gateway = TestGateway::with("session.heartbeat_interval", &ms(interval))
        .with("session.heartbeat_grace", &ms(grace))
        .spawn();
    let mut deployed = gateway.ready_client("1").answering_heartbeats();
    let mut pinging = gateway.ready_client("2");
    let mut client_with_heartbeats = gateway.ready_client("3");
    let mut silent = gateway.ready_client("4");
    let started = Instant::now();
    while started.elapsed() < interval + grace + Duration::from_millis(1_000) {
        assert_eq!(
            deployed.next_within(interval),
            None,
            "only heartbeats arrive, and the client answers them"
        );
        pinging.send(Message::Ping("x".into()));
        client_with_heartbeats.send_text(r#"{"op":10,"time":1}"#);
        client_with_heartbeats.expect_text(r#"{"op":11,"time":1}"#);
    }
    silent.expect_close(4002);
    gateway.publish("all", "1");
    for client in [&mut deployed, &mut pinging, &mut client_with_heartbeats] {
        client.expect_text(r#"{"op":3,"message":1}"#);
    }
    assert_eq!(gateway.closes(4002), 1);
}
