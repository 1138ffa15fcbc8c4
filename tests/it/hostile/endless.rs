//! Frames and messages that are announced but not sent, or that never end.

use std::time::{Duration, Instant};

use super::{HealthyPeer, frame, header};
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::raw_socket::RawSocket;

/// Asserts that the next frame is a Close with `code`.
#[track_caller]
fn expect_close(raw: &mut RawSocket, code: u16) {
    let (first, payload) = raw.frame();
    assert_eq!((first, &payload[..2]), (0x88, &code.to_be_bytes()[..]));
}

#[cfg(target_os = "linux")]
#[test]
fn an_announced_gigabyte_is_refused_at_once_without_memory() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    // The first violation also loads code and allocates buffers, which the measurement excludes.
    let mut first = peer.attacker();
    first.write(&header(0x82, 1 << 30));
    expect_close(&mut first, 1009);
    peer.assert_served("a first violation");

    let before = peer.gateway.peak_memory();
    let mut raw = peer.attacker();
    let started = Instant::now();
    raw.write(&header(0x82, 1 << 30));
    expect_close(&mut raw, 1009);
    let refused_after = started.elapsed();
    let piece = vec![0; 1 << 20];
    let sent = (0..100).take_while(|_| raw.try_write(&piece)).count();
    peer.assert_served("a gigabyte");
    let grown = peer.gateway.peak_memory() - before;
    // One round trip on a busy machine; no byte of the payload was sent.
    assert!(refused_after < Duration::from_secs(2), "refused after {refused_after:?}");
    assert!(grown < 1024, "{sent} MiB were sent, and memory grew by {grown} KiB");
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_frees_the_memory_of_a_sent_long_message() {
    let peer = HealthyPeer::of(&TestGateway::plan());
    let long = "x".repeat(60_000);
    let identify = format!(r#"{{"op":1,"token":"42","ignored":"{long}"}}"#);
    let identified = || {
        let mut raw = peer.attacker();
        raw.write(&frame(0x81, identify.as_bytes()));
        raw.expect_text(r#"{"op":2,"user":"42"}"#);
        raw
    };
    // The first one also loads code and allocates buffers, which the measurement excludes.
    let first = identified();
    let before = peer.gateway.peak_memory();
    let sockets: Vec<_> = (0..100).map(|_| identified()).collect();
    let grown = peer.gateway.peak_memory() - before;
    assert!(grown < 2_048, "memory grew by {grown} KiB for {} messages of 60 kB", sockets.len());
    drop(first);
}

#[test]
fn a_million_empty_continuations_are_refused_with_1008() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    let mut raw = peer.attacker();
    raw.write(&frame(0x01, b""));
    let thousand = frame(0x00, b"").repeat(1_000);
    raw.write(&thousand);
    expect_close(&mut raw, 1008);
    let sent = (1..1_000).take_while(|_| raw.try_write(&thousand)).count();
    peer.assert_served(&format!("{sent} thousand empty frames"));
    assert!(raw.ends_within(SOON));
    assert_eq!(peer.gateway.closes(1008), 1);
}

#[test]
fn a_message_in_one_byte_frames_is_refused_with_1008() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    let mut raw = peer.attacker();
    raw.write(&frame(0x01, b"\""));
    raw.write(&frame(0x00, b"x").repeat(255));
    // The maximum number of frames; Pings between them do not count.
    raw.write(&frame(0x89, b"still there?"));
    assert_eq!(raw.frame(), (0x8A, b"still there?".to_vec()));
    peer.assert_served("256 frames");
    raw.write(&frame(0x00, b"x"));
    expect_close(&mut raw, 1008);
    peer.assert_served("257 frames");
}

#[test]
fn a_growing_message_is_refused_with_1009_by_its_header() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    let mut raw = peer.attacker();
    raw.write(&frame(0x01, &[b' '; 32_768]));
    raw.write(&frame(0x00, &[b' '; 32_768]));
    raw.write(&frame(0x89, b"still there?"));
    assert_eq!(raw.frame(), (0x8A, b"still there?".to_vec()));
    raw.write(&header(0x80, 1));
    expect_close(&mut raw, 1009);
    peer.assert_served("65537 bytes");
}

#[cfg(target_os = "linux")]
#[test]
fn announced_but_unsent_messages_cost_almost_no_memory() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    let mut first = peer.attacker();
    first.write(&header(0x81, 65_536));
    peer.assert_served("one announcement");
    let before = peer.gateway.peak_memory();
    let announced: Vec<_> = (0..100)
        .map(|_| {
            let mut raw = peer.attacker();
            raw.write(&header(0x81, 65_536));
            raw
        })
        .collect();
    peer.assert_served("a hundred announcements");
    let grown = peer.gateway.peak_memory() - before;
    // 6.4 MiB were announced.
    assert!(grown < 3_072, "memory grew by {grown} KiB for {} sockets", announced.len());
}
