//! The link is lost each time it becomes ready.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::cmd;
use serde_json::Value;

use super::*;
use crate::support::client::{Client, Version};

/// How long the link flaps.
const FLAP_TIME: Duration = Duration::from_secs(12);
/// A channel gets at most one gap in this time.
const MIN_GAP_INTERVAL: Duration = Duration::from_secs(10);
/// How much more a busy machine may delay the first of two gaps than the second.
const MARGIN: Duration = Duration::from_secs(1);
const CHANNEL: &str = "public:room";

/// The times at which a client received a gap, by channel.
type Gaps = HashMap<String, Vec<Instant>>;

/// Runs a client that calls `gaps` with the channel of each gap, until the test is over.
fn note_gaps(address: SocketAddr, is_over: &AtomicBool, gaps: impl Fn(&str)) {
    let mut client = Client::connect(address, Version::V2).answering_heartbeats();
    client.send_text(r#"{"op":1,"token":"42","channels":[{"channel":"public:room"}]}"#);
    while !is_over.load(Ordering::SeqCst) {
        let Some(frame) = client.next_within(Duration::from_millis(20)) else { continue };
        let frame: Value = serde_json::from_str(&frame).unwrap();
        if frame["op"] == 8 {
            gaps(frame["channel"].as_str().unwrap());
        }
    }
}

/// Resets the link each time it is ready. Returns the time of each reset and the number of connections until then.
fn flap(gateway: &TestGateway, link: &FaultProxy) -> Vec<(Instant, usize)> {
    let end = Instant::now() + FLAP_TIME;
    let mut flaps = Vec::new();
    while Instant::now() < end {
        if gateway.readyz().0 == 200 {
            flaps.push((Instant::now(), link.accepted()));
            link.reset_open();
            eventually(SOON, || (gateway.readyz().0 != 200).then_some(()));
        }
        hold(Duration::from_millis(2));
    }
    flaps
}

/// Returns a copy, so that a failed assertion does not poison the lock.
fn snapshot(gaps: &Mutex<Gaps>) -> Gaps {
    gaps.lock().unwrap().clone()
}

#[track_caller]
fn assert_gaps_are_rare(client: usize, gaps: &Gaps) {
    for (channel, times) in gaps {
        let close = times.windows(2).find(|pair| pair[1] - pair[0] < MIN_GAP_INTERVAL - MARGIN);
        assert!(
            close.is_none(),
            "client {client} received {} gaps on {channel}, two of them too close together",
            times.len()
        );
    }
}

/// Asserts that the delay between connects grows: the second half has fewer losses than the first.
#[track_caller]
fn assert_backoff_grows(start: Instant, flaps: &[(Instant, usize)]) {
    let early = flaps.iter().filter(|(at, _)| *at - start < FLAP_TIME / 2).count();
    let connects = flaps.last().expect("the link was lost at least once").1;
    let late = flaps.len() - early;
    let shown = format!("{early} losses in the first half, {late} in the second, {connects} connections");
    // Delays with jitter double from 50 ms to 5 s: about eight in the first half and three in the second.
    assert!(late < early && flaps.len() <= 30 && connects <= 150, "the delays do not grow: {shown}");
}

#[test]
fn a_flapping_link_backs_off_and_reports_few_gaps() {
    let redis = RedisServer::start();
    let link = FaultProxy::start(redis.address());
    let gateway = TestGateway::with("broker.url", &format!("redis://{}", link.address))
        .with("broker.probe_interval", "100ms")
        .with("broker.min_reconnect_delay", "50ms")
        .with("channels.public_namespaces", "public")
        .spawn();
    gateway.wait_ready();
    let gaps_by_client: [Mutex<Gaps>; 2] = Default::default();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for gaps in &gaps_by_client {
            let note = |channel: &str| {
                gaps.lock().unwrap().entry(channel.to_owned()).or_default().push(Instant::now());
            };
            let (public, is_over) = (gateway.public, &is_over);
            scope.spawn(move || note_gaps(public, is_over, note));
        }
        scope.spawn(|| {
            let mut backend = redis.client();
            while !is_over.load(Ordering::SeqCst) {
                cmd("PUBLISH").arg(format!("gateway:{CHANNEL}")).arg("1").exec(&mut backend).unwrap();
                hold(Duration::from_millis(5));
            }
        });
        // A failure must not leave these threads running.
        let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            gateway.wait_metric("sessions", 2);
            let start = Instant::now();
            let flaps = flap(&gateway, &link);
            gaps_by_client
                .iter()
                .enumerate()
                .for_each(|(client, gaps)| assert_gaps_are_rare(client, &snapshot(gaps)));
            assert_backoff_grows(start, &flaps);
            let last = flaps.last().expect("the link was lost at least once").0;
            // Clients also get a gap for the last loss, at the latest when the minimum interval has passed.
            for gaps in &gaps_by_client {
                let is_reported =
                    || snapshot(gaps).get(CHANNEL).and_then(|gaps| gaps.last().copied()) > Some(last);
                eventually(2 * SOON, || is_reported().then_some(()));
            }
            gaps_by_client
                .iter()
                .enumerate()
                .for_each(|(client, gaps)| assert_gaps_are_rare(client, &snapshot(gaps)));
        }));
        is_over.store(true, Ordering::SeqCst);
        if let Err(panic) = judged {
            std::panic::resume_unwind(panic);
        }
    });
}
