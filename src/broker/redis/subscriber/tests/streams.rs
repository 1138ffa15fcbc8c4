//! Streams of bytes that arrive in parts.

use proptest::prelude::*;

use super::super::buffer::ReadBuffer;
use super::super::frame::{Change, InvalidFrame, RespFrame, parse};
use super::{change, message};

/// A frame with its parts instead of their ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Message(String, Vec<u8>),
    Changed(Change, String),
    Error(String),
    Status,
}

fn owned(buffer: &ReadBuffer, frame: RespFrame) -> Owned {
    let text = |range| buffer.channel(range).to_owned();
    match frame {
        RespFrame::Message { channel, payload } => {
            Owned::Message(text(channel), buffer.bytes(payload).into())
        }
        RespFrame::Changed { change, channel } => Owned::Changed(change, text(channel)),
        RespFrame::Error(error) => Owned::Error(text(error)),
        RespFrame::Status => Owned::Status,
    }
}

/// A frame and its bytes.
fn frames() -> impl Strategy<Value = (Owned, Vec<u8>)> {
    let payload = prop_oneof![
        9 => prop::collection::vec(any::<u8>(), 0..100),
        1 => (60_000..200_000_usize).prop_map(|length| vec![b'x'; length]),
    ];
    prop_oneof![
        ("[a-zß:]{0,20}", payload).prop_map(|(channel, payload)| {
            let head = message(&channel, "");
            let head = head.strip_suffix("$0\r\n\r\n").unwrap();
            let head = format!("{head}${}\r\n", payload.len()).into_bytes();
            let bytes = [head, payload.clone(), b"\r\n".to_vec()].concat();
            (Owned::Message(channel, payload), bytes)
        }),
        ("[a-z:]{0,20}", any::<bool>(), any::<bool>()).prop_map(|(channel, subscribes, is_sharded)| {
            let kind = if subscribes { "subscribe" } else { "unsubscribe" };
            let made = if subscribes { Change::Subscribed } else { Change::Unsubscribed };
            let kind = format!("{}{kind}", if is_sharded { "s" } else { "" });
            let bytes = change(&kind, &channel).into_bytes();
            (Owned::Changed(made, channel), bytes)
        }),
        "[A-Z]{1,9} [a-z ]{0,50}"
            .prop_map(|text| (Owned::Error(text.clone()), format!("-{text}\r\n").into())),
        Just((Owned::Status, b"+OK\r\n".to_vec())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn frames_are_the_same_however_their_bytes_are_split(
        frames in prop::collection::vec(frames(), 1..20),
        sizes in prop::collection::vec(prop_oneof![1..8_usize, 1..100_000_usize], 1..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (expected, bytes): (Vec<_>, Vec<_>) = frames.into_iter().unzip();
        let bytes = bytes.concat();
        let (mut buffer, mut found, mut rest) = (ReadBuffer::new(), Vec::new(), &bytes[..]);
        let mut sizes = sizes.into_iter().cycle();
        while !rest.is_empty() {
            let (mut part, after) = rest.split_at(rest.len().min(sizes.next().unwrap()));
            while !part.is_empty() {
                prop_assert!(runtime.block_on(buffer.read(&mut part)).unwrap() > 0);
                while let Some(frame) = buffer.next_frame().unwrap() {
                    found.push(owned(&buffer, frame));
                }
            }
            rest = after;
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_are_a_frame_or_more_is_needed_or_they_are_invalid(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"*$:+-\r\n0123"[..])], 0..60),
    ) {
        match parse(&bytes, 0) {
            Ok(Some((_, end))) => prop_assert!(end <= bytes.len()),
            Ok(None) => {}
            Err(InvalidFrame) => {}
        }
    }
}

#[test]
fn frames_that_a_subscriber_never_receives_are_invalid() {
    let lengths = ["*-1\r\n", "*2\r\n", "*4\r\n", "*3\r\n$-1\r\n", "*3\r\n:1\r\n", "*3\r\n$x\r\n", "*\r\n"];
    let endless = format!("*3\r\n${}\r\n", "9".repeat(30));
    let others =
        [":1\r\n", "$2\r\nOK\r\n", "HTTP/1.1 400 Bad Request\r\n", "*3\r\n$1\r\nx\r\n$1\r\ny\r\n", &endless];
    for text in lengths.into_iter().chain(others) {
        assert_eq!(parse(text.as_bytes(), 0), Err(InvalidFrame), "{text:?}");
    }
    let line = format!("-{}", "x".repeat(100_000));
    assert_eq!(parse(line.as_bytes(), 0), Err(InvalidFrame), "an error without an end");
}

#[tokio::test]
async fn the_buffer_shrinks_after_a_long_message() {
    let long = message("a", &"x".repeat(1 << 20));
    let (mut buffer, mut bytes) = (ReadBuffer::new(), long.as_bytes());
    while buffer.next_frame().unwrap().is_none() {
        assert!(buffer.read(&mut bytes).await.unwrap() > 0);
    }
    assert!(buffer.size() > 1 << 20);
    buffer.read(&mut &b"+OK\r\n"[..]).await.unwrap();
    assert_eq!(buffer.next_frame(), Ok(Some(RespFrame::Status)));
    assert_eq!(buffer.size(), ReadBuffer::new().size());
}
