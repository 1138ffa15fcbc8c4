use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { max_message_bytes: 1_000, max_fragments: 4 };

/// A masked frame with any first byte, as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        length => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Everything that is read from `bytes` in pieces of `cut`, and the violation that ended it.
fn read_cut(bytes: &[u8], cut: usize) -> (Vec<Incoming>, Option<CloseCode>) {
    read_cut_with(FrameReader::new(BOUNDS, false), bytes, cut)
}

fn read_cut_with(mut reader: FrameReader, bytes: &[u8], cut: usize) -> (Vec<Incoming>, Option<CloseCode>) {
    let mut all = Vec::new();
    for mut piece in bytes.chunks(cut) {
        loop {
            match reader.read(&mut piece) {
                Ok(Some(incoming)) => all.push(incoming),
                Ok(None) => break,
                Err(code) => return (all, Some(code)),
            }
        }
        assert!(piece.is_empty(), "the reader left bytes unread");
    }
    (all, None)
}

fn read(bytes: &[u8]) -> (Vec<Incoming>, Option<CloseCode>) {
    let whole = read_cut(bytes, bytes.len().max(1));
    for cut in 1..8 {
        assert_eq!(read_cut(bytes, cut), whole, "cut every {cut} bytes");
    }
    whole
}

#[test]
fn whole_messages_are_read_unchanged() {
    let long = vec![b'x'; 600];
    let bytes = [frame(0x81, b"hello"), frame(0x82, &long), frame(0x81, b"")].concat();
    let expected =
        vec![Incoming::Text("hello".into()), Incoming::Binary(long.into()), Incoming::Text(Bytes::new())];
    assert_eq!(read(&bytes), (expected, None));
}

#[test]
fn fragments_are_joined_and_control_frames_pass_between_them() {
    let bytes = [
        frame(0x01, "h\u{e9}".as_bytes().split_last().unwrap().1),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x80, &["\u{e9}".as_bytes()[1], b'!']),
        frame(0x8A, b"pong"),
    ]
    .concat();
    let expected =
        vec![Incoming::Ping("ping".into()), Incoming::Text("h\u{e9}!".into()), Incoming::Pong("pong".into())];
    assert_eq!(read(&bytes), (expected, None));
}

#[test]
fn a_violation_is_an_error_at_its_first_byte() {
    use CloseCode::{InvalidUtf8, MessageTooBig, PolicyViolation, ProtocolError};
    let endless = [frame(0x01, b""), frame(0x00, b"")].concat();
    for (name, bytes, code) in [
        ("a reserved bit, after one byte", vec![0xC1], ProtocolError),
        ("a reserved opcode, after one byte", vec![0x83], ProtocolError),
        ("a reserved control opcode", vec![0x8B], ProtocolError),
        ("no mask, after two bytes", vec![0x81, 0x05], ProtocolError),
        ("a fragmented Ping", vec![0x09, 0x80], ProtocolError),
        ("a Ping of 126 bytes", vec![0x89, 0xFE], ProtocolError),
        ("a continuation of nothing", frame(0x80, b"x")[..6].to_vec(), ProtocolError),
        ("a message inside a message", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), ProtocolError),
        ("a length not in its shortest form", vec![0x81, 0xFE, 0, 5, 0, 0, 0, 0], ProtocolError),
        (
            "a length with the highest bit",
            vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            ProtocolError,
        ),
        ("1 GiB announced", vec![0x82, 0xFF, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4], MessageTooBig),
        ("one byte too many", vec![0x82, 0xFE, 0x03, 0xE9, 1, 2, 3, 4], MessageTooBig),
        ("too big in sum", [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])].concat(), MessageTooBig),
        (
            "too many empty fragments",
            [endless.clone(), endless[6..].repeat(2), frame(0x00, b"")].concat(),
            PolicyViolation,
        ),
        ("text that is not UTF-8", frame(0x81, b"\xC0"), InvalidUtf8),
        ("a wrong byte in an unfinished fragment", frame(0x01, b"a\xFF"), InvalidUtf8),
        ("text that ends inside a character", frame(0x81, b"\xE2\x82"), InvalidUtf8),
        ("a Close of one byte", frame(0x88, b"x"), ProtocolError),
        ("a Close with 1005", frame(0x88, &1005_u16.to_be_bytes()), ProtocolError),
        ("a Close with 999", frame(0x88, &999_u16.to_be_bytes()), ProtocolError),
        ("a Close with 5000", frame(0x88, &5000_u16.to_be_bytes()), ProtocolError),
        ("a Close whose reason is not UTF-8", frame(0x88, b"\x03\xE8\xFF"), InvalidUtf8),
    ] {
        assert_eq!(read(&bytes), (vec![], Some(code)), "{name}");
    }
}

#[test]
fn the_first_fault_of_a_compressed_message_decides_the_code() {
    let stored = |bytes: &[u8]| {
        let length = (bytes.len() as u16).to_le_bytes();
        [&[0], &length[..], &length.map(|byte| !byte), bytes].concat()
    };
    let (corrupt, too_much) = ([0x07], stored(&[b'a'; 1_001]));
    for (name, wire, code) in [
        ("too big, then corrupt", [&too_much[..], &corrupt].concat(), CloseCode::MessageTooBig),
        ("not UTF-8, then corrupt", [&stored(b"a\xFF")[..], &corrupt].concat(), CloseCode::InvalidUtf8),
        ("not UTF-8, then too big", [stored(b"a\xFF"), too_much].concat(), CloseCode::InvalidUtf8),
        ("corrupt", corrupt.to_vec(), CloseCode::ProtocolError),
    ] {
        let bytes = frame(0xC1, &wire);
        for cut in 1..=bytes.len() {
            let outcome = read_cut_with(FrameReader::new(BOUNDS, true), &bytes, cut);
            assert_eq!(outcome, (vec![], Some(code)), "{name}, cut every {cut} bytes");
        }
    }
}

#[test]
fn a_message_of_exactly_the_bound_passes() {
    let bytes = [frame(0x02, &[0; 600]), frame(0x80, &[1; 400])].concat();
    assert_eq!(read(&bytes).0.len(), 1);
    let four = [frame(0x01, b"a"), frame(0x00, b"b"), frame(0x00, b""), frame(0x80, b"d")].concat();
    assert_eq!(read(&four), (vec![Incoming::Text("abd".into())], None));
}

#[test]
fn a_close_carries_its_code() {
    assert_eq!(read(&frame(0x88, b"")), (vec![Incoming::Close(None)], None));
    let bytes = frame(0x88, b"\x03\xE8bye");
    assert_eq!(read(&bytes), (vec![Incoming::Close(Some(1000))], None));
}

#[test]
fn no_memory_is_held_between_messages() {
    let mut reader = FrameReader::new(BOUNDS, false);
    let bytes = frame(0x82, &[0; 900]);
    assert!(reader.read(&mut &bytes[..]).unwrap().is_some());
    assert!(!reader.is_mid_message());
    assert_eq!(reader.held_bytes(), 0);
    assert!(reader.read(&mut &bytes[..3]).unwrap().is_none());
    assert!(reader.is_mid_message());
}

proptest! {
    #[test]
    fn any_bytes_read_the_same_for_any_cut(
        bytes in proptest::collection::vec(
            prop_oneof![Just(0x81_u8), Just(0x82), Just(0x01), Just(0x80), Just(0x88), Just(0x89), any::<u8>()],
            0..200,
        ),
        cut in 1_usize..20,
    ) {
        prop_assert_eq!(read_cut(&bytes, cut), read_cut(&bytes, bytes.len().max(1)));
    }

    #[test]
    fn any_message_survives_any_fragmentation(
        text in "\\PC{0,200}",
        cuts in proptest::collection::vec(0_usize..200, 0..3),
    ) {
        let bytes = text.as_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let mut frames = Vec::new();
        let mut start = 0;
        for (index, end) in cuts.iter().copied().chain([bytes.len()]).enumerate() {
            let opcode = if index == 0 { 0x01 } else { 0x00 };
            let is_last = if index == cuts.len() { 0x80 } else { 0 };
            frames.extend(frame(opcode | is_last, &bytes[start..end]));
            start = end;
        }
        prop_assume!(bytes.len() <= BOUNDS.max_message_bytes);
        prop_assert_eq!(read_cut(&frames, 3), (vec![Incoming::Text(text.clone().into())], None));
    }
}
