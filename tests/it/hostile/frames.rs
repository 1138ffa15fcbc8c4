//! A table of invalid frames after the upgrade, each with its exact outcome.

use super::{HealthyPeer, frame, header};
use crate::support::gateway::TestGateway;
use crate::support::raw_socket::RawSocket;

/// The gateway's reaction to a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The gateway sends Close with this code.
    Closed(u16),
    /// The gateway echoes the client's Close.
    Answered(Option<u16>),
    /// The socket stays open.
    Open,
}

use Outcome::{Answered, Closed, Open};

type Case = (&'static str, Vec<u8>, Outcome);

#[test]
fn each_malformed_frame_has_its_exact_outcome() {
    let plan = TestGateway::with("session.max_message_bytes", "1024").with("session.max_fragments", "16");
    let mut peer = HealthyPeer::of(&plan);
    let all = [framing(), lengths(), fragments(), texts(), closes(), payloads()].concat();
    assert!(all.len() >= 60, "only {} cases", all.len());
    for (name, bytes, wanted) in all {
        let mut raw = peer.attacker();
        raw.write(&bytes);
        assert_eq!(outcome(&mut raw), wanted, "{name}: {bytes:02X?}");
        peer.assert_served(name);
    }
}

/// Reads the outcome. Skips answers to complete messages before it.
#[track_caller]
fn outcome(raw: &mut RawSocket) -> Outcome {
    // An open socket answers this message, a closing one ignores it.
    raw.try_write(&frame(0x81, br#"{"op":10,"time":77}"#));
    loop {
        let (first, payload) = raw.frame();
        match first {
            0x88 if payload.is_empty() || payload.len() == 2 => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                assert!(raw.ends_within(crate::support::process::SOON), "the connection stays open");
                return Answered(code);
            }
            0x88 => {
                raw.try_write(&frame(0x88, &payload[..2]));
                assert!(raw.ends_within(crate::support::process::SOON), "the connection stays open");
                return Closed(u16::from_be_bytes([payload[0], payload[1]]));
            }
            0x81 if payload == br#"{"op":11,"time":77}"# => return Open,
            0x81 | 0x8A => {}
            other => panic!("frame {other:02X}: {payload:02X?}"),
        }
    }
}

fn framing() -> Vec<Case> {
    let mut cases = vec![
        ("RSV1 on a text", frame(0xC1, b"{}"), Closed(1002)),
        ("RSV2 on a text", frame(0xA1, b"{}"), Closed(1002)),
        ("RSV3 on a text", frame(0x91, b"{}"), Closed(1002)),
        ("all reserved bits", frame(0xF1, b"{}"), Closed(1002)),
        ("RSV1 on a Ping", frame(0xC9, b""), Closed(1002)),
        ("RSV1 on a Close", frame(0xC8, b""), Closed(1002)),
        ("RSV1 on a continuation", [frame(0x01, b"{"), frame(0xC0, b"}")].concat(), Closed(1002)),
        ("an unmasked text", b"\x81\x02{}".to_vec(), Closed(1002)),
        ("an unmasked empty text", b"\x81\x00".to_vec(), Closed(1002)),
        ("an unmasked binary", b"\x82\x01x".to_vec(), Closed(1002)),
        ("an unmasked Ping", b"\x89\x00".to_vec(), Closed(1002)),
        ("an unmasked Close", b"\x88\x02\x03\xE8".to_vec(), Closed(1002)),
        ("an unmasked continuation", [frame(0x01, b"{"), b"\x80\x01}".to_vec()].concat(), Closed(1002)),
        ("a Ping in fragments", frame(0x09, b""), Closed(1002)),
        ("a Pong in fragments", frame(0x0A, b""), Closed(1002)),
        ("a Close in fragments", frame(0x08, b""), Closed(1002)),
        ("a Ping of 126 bytes", header(0x89, 126), Closed(1002)),
        ("a Pong of 126 bytes", header(0x8A, 126), Closed(1002)),
        ("a Close of 126 bytes", header(0x88, 126), Closed(1002)),
        ("a Ping of 64 KiB", header(0x89, 0x1_0000), Closed(1002)),
        ("a second HTTP request", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), Closed(1002)),
        ("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03".to_vec(), Closed(1002)),
        ("zeros", vec![0; 64], Closed(1002)),
        ("ones", vec![0xFF; 64], Closed(1002)),
        ("an unsolicited Pong", frame(0x8A, b"?"), Open),
    ];
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        cases.push(("a reserved opcode", frame(0x80 | opcode, b""), Closed(1002)));
    }
    cases
}

fn lengths() -> Vec<Case> {
    let mask = [0; 4];
    vec![
        ("16 bits of length for 125 bytes", [&b"\x81\xFE\x00\x7D"[..], &mask].concat(), Closed(1002)),
        ("16 bits of length for none", [&b"\x81\xFE\x00\x00"[..], &mask].concat(), Closed(1002)),
        (
            "64 bits of length for 65535 bytes",
            [&b"\x81\xFF\0\0\0\0\0\0\xFF\xFF"[..], &mask].concat(),
            Closed(1002),
        ),
        ("64 bits of length for none", [&b"\x81\xFF\0\0\0\0\0\0\0\0"[..], &mask].concat(), Closed(1002)),
        ("a length with its highest bit", header(0x81, 1 << 63), Closed(1002)),
        ("the longest length in bits", header(0x82, u64::MAX), Closed(1002)),
        ("one byte too many, announced", header(0x81, 1025), Closed(1009)),
        ("64 KiB, announced", header(0x81, 0x1_0000), Closed(1009)),
        ("1 GiB, announced", header(0x81, 1 << 30), Closed(1009)),
        ("the longest length, announced", header(0x81, u64::MAX >> 1), Closed(1009)),
        ("binary that is too big", header(0x82, 1025), Closed(1009)),
        (
            "the maximum size, then one byte announced",
            [frame(0x01, &[b' '; 1024]), header(0x80, 1)].concat(),
            Closed(1009),
        ),
    ]
}

fn fragments() -> Vec<Case> {
    let begun = || frame(0x01, b"{");
    vec![
        ("a continuation of nothing", frame(0x80, b"{}"), Closed(1002)),
        ("a first continuation of nothing", frame(0x00, b"{"), Closed(1002)),
        (
            "a continuation after the end",
            [frame(0x81, br#"{"op":10}"#), frame(0x80, b"")].concat(),
            Closed(1002),
        ),
        ("a text inside a text", [begun(), frame(0x81, b"}")].concat(), Closed(1002)),
        ("a binary inside a text", [begun(), frame(0x82, b"}")].concat(), Closed(1002)),
        ("a begun text inside a text", [begun(), begun()].concat(), Closed(1002)),
        (
            "too big by its second fragment",
            [frame(0x01, &[b' '; 1000]), header(0x00, 25)].concat(),
            Closed(1009),
        ),
        ("1 GiB in the second fragment", [begun(), header(0x80, 1 << 30)].concat(), Closed(1009)),
        ("too many fragments", [begun(), frame(0x00, b" ").repeat(16)].concat(), Closed(1008)),
        ("too many empty fragments", [begun(), frame(0x00, b"").repeat(16)].concat(), Closed(1008)),
        (
            "too many, the last one last",
            [begun(), frame(0x00, b"").repeat(15), frame(0x80, b"")].concat(),
            Closed(1008),
        ),
        (
            "too many, with Pings between",
            [begun(), [frame(0x00, b""), frame(0x89, b"")].concat().repeat(16)].concat(),
            Closed(1008),
        ),
    ]
}

fn texts() -> Vec<Case> {
    vec![
        ("a broken sequence", frame(0x81, b"\xC3\x28"), Closed(1007)),
        ("an overlong slash", frame(0x81, b"\xC0\xAF"), Closed(1007)),
        ("half a surrogate pair", frame(0x81, b"\xED\xA0\x80"), Closed(1007)),
        ("a character above the last", frame(0x81, b"\xF4\x90\x80\x80"), Closed(1007)),
        ("a byte that never occurs", frame(0x81, b"\xFF"), Closed(1007)),
        ("a continuation byte alone", frame(0x81, b"\x80"), Closed(1007)),
        ("an end inside a character", frame(0x81, b"\xE2\x82"), Closed(1007)),
        (
            "a character broken between fragments",
            [frame(0x01, b"\xF0\x9F"), frame(0x00, b"\xFF")].concat(),
            Closed(1007),
        ),
        (
            "fragments that end inside a character",
            [frame(0x01, b"\xF0\x9F"), frame(0x80, b"\x98")].concat(),
            Closed(1007),
        ),
        (
            "wrong bytes before the frame's end",
            [header(0x81, 100), b"\xC3\x28".to_vec()].concat(),
            Closed(1007),
        ),
        (
            "wrong bytes around a Ping",
            [frame(0x01, b"\xC3"), frame(0x89, b"\xA4"), frame(0x80, b"\x28")].concat(),
            Closed(1007),
        ),
    ]
}

fn closes() -> Vec<Case> {
    let close = |code: u16| frame(0x88, &code.to_be_bytes());
    let mut cases = vec![
        ("half a close code", frame(0x88, b"\x03"), Closed(1002)),
        ("a close reason that is not UTF-8", frame(0x88, b"\x03\xE8\xFF"), Closed(1007)),
        ("a close without a code", frame(0x88, b""), Answered(None)),
        (
            "the longest close reason",
            frame(0x88, &[b"\x03\xE8", &[b'x'; 123][..]].concat()),
            Answered(Some(1000)),
        ),
        ("a text after Close", [close(1000), frame(0x81, b"x")].concat(), Answered(Some(1000))),
        ("a violation after Close", [close(1001), vec![0xFF; 4096]].concat(), Answered(Some(1001))),
        ("a second Close", [close(3000), close(999)].concat(), Answered(Some(3000))),
        ("a Ping after Close", [close(4999), frame(0x89, b"?")].concat(), Answered(Some(4999))),
        ("Close inside a text", [frame(0x01, b"{"), close(1000)].concat(), Answered(Some(1000))),
    ];
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(("a close code that must not be sent", close(code), Closed(1002)));
    }
    cases
}

/// The deepest nesting that fits into a message.
fn nested() -> String {
    format!(r#"{{"op":10,"more":{}{}}}"#, "[".repeat(480), "]".repeat(480))
}

fn payloads() -> Vec<Case> {
    let text = |text: &str| frame(0x81, text.as_bytes());
    vec![
        ("binary", frame(0x82, br#"{"op":10}"#), Closed(1003)),
        ("empty binary", frame(0x82, b""), Closed(1003)),
        ("binary in fragments", [frame(0x02, b"x"), frame(0x80, b"y")].concat(), Closed(1003)),
        ("an empty text", text(""), Closed(4001)),
        ("NUL", text("\0"), Closed(4001)),
        ("a byte order mark", text("\u{FEFF}{\"op\":10}"), Closed(4001)),
        ("arrays inside arrays", text(&"[".repeat(1024)), Closed(4001)),
        ("objects inside objects", text(&r#"{"op":"#.repeat(170)), Closed(4001)),
        ("a number out of range", text(r#"{"op":1e999}"#), Closed(4001)),
        ("a time out of range, echoed verbatim", text(r#"{"op":10,"time":1e999}"#), Open),
        ("an op out of range", text(r#"{"op":18446744073709551616}"#), Closed(4001)),
        ("half a surrogate pair, escaped", text(r#"{"op":1,"token":"\ud800"}"#), Closed(4001)),
        ("half a surrogate pair before another", text(r#"{"op":1,"token":"\ud800\ud800"}"#), Closed(4001)),
        ("NUL inside a text", text("{\"op\":1,\"token\":\"\0\"}"), Closed(4001)),
        ("NUL after the object", text("{\"op\":10}\0"), Closed(4001)),
        ("arrays inside an unknown field", text(&nested()), Open),
        ("a doubled token", text(r#"{"op":1,"token":"42","token":"43"}"#), Closed(4001)),
        ("a doubled op, escaped", text(r#"{"op":10,"\u006fp":1}"#), Closed(4001)),
        ("a doubled op", text(r#"{"op":10,"op":1}"#), Closed(4001)),
        ("two objects", text(r#"{"op":10}{"op":10}"#), Closed(4001)),
    ]
}
