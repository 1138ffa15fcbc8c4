//! Reads the bytes of a client's socket. The first byte selects bounds and compression; the rest arrives on the socket.

use emagine_gateway::socket::frame_reader::{Bounds, FrameReader, Incoming};
use protocol::close::CloseCode;

use super::frames::masked;

/// How many cuts are tried at most, evenly spread.
const MAX_CUTS: usize = 512;

/// The selectable bounds: narrow ones, so that small inputs reach them, and wide ones.
const BOUNDS: [Bounds; 4] = [
    Bounds { max_message_bytes: 1_000, max_fragments: 4 },
    Bounds { max_message_bytes: 60, max_fragments: 2 },
    Bounds { max_message_bytes: 20_000, max_fragments: 64 },
    Bounds { max_message_bytes: 65_536, max_fragments: 256 },
];

/// The frame reader's configuration.
struct Setup {
    bounds: Bounds,
    is_deflated: bool,
}

/// Everything that the frame reader returns for some bytes.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    incoming: Vec<Incoming>,
    violation: Option<CloseCode>,
    is_mid_message: bool,
}

/// The outcome does not depend on how the bytes are cut, and no message or buffer exceeds its bound.
pub fn check(data: &[u8]) {
    let Some((&options, wire)) = data.split_first() else { return };
    let bounds = BOUNDS[usize::from(options >> 1) % BOUNDS.len()];
    let is_deflated = options & 1 == 1;
    let setup = Setup { bounds, is_deflated };

    let whole = setup.read([wire].into_iter());
    for at in (0..=wire.len()).step_by(wire.len() / MAX_CUTS + 1) {
        let (start, end) = wire.split_at(at);
        assert_eq!(setup.read([start, end].into_iter()), whole, "cut after {at} bytes");
    }
    for length in [1, 2, 3, 5, 8, 13, 100] {
        assert_eq!(setup.read(wire.chunks(length)), whole, "cut every {length} bytes");
    }
    // Irregular cuts that depend on the input.
    assert_eq!(
        setup.read(wire.split_inclusive(|byte| byte % 3 == 0)),
        whole,
        "cut after each byte that is a multiple of three"
    );

    let encoded: Vec<_> = whole.incoming.iter().flat_map(encode).collect();
    let outcome = setup.read([&encoded[..]].into_iter());
    assert_eq!(
        outcome,
        Outcome { incoming: whole.incoming, violation: None, is_mid_message: false },
        "each message sent again in one frame"
    );
}

impl Setup {
    /// Reads until the bytes end or break a rule.
    fn read<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
        let Self { bounds, is_deflated } = *self;
        let mut reader = FrameReader::new(bounds, is_deflated);
        let mut incoming = Vec::new();
        for mut piece in pieces {
            loop {
                let before = piece.len();
                match reader.read(&mut piece) {
                    Ok(Some(next)) => {
                        assert!(piece.len() < before, "the reader returned something without reading a byte");
                        check_incoming(&next, &bounds);
                        incoming.push(next);
                    }
                    Ok(None) => break,
                    Err(code) => {
                        return Outcome { incoming, violation: Some(code), is_mid_message: false };
                    }
                }
            }
            assert!(piece.is_empty(), "the reader left bytes unread");
            // A buffer grows by doubling. In addition there is at most one control frame.
            assert!(
                reader.held_bytes() <= 2 * bounds.max_message_bytes + 256,
                "{} bytes are held",
                reader.held_bytes()
            );
            assert!(reader.is_mid_message() || reader.held_bytes() == 0, "memory is held between messages");
        }
        Outcome { incoming, violation: None, is_mid_message: reader.is_mid_message() }
    }
}

fn check_incoming(incoming: &Incoming, bounds: &Bounds) {
    match incoming {
        Incoming::Text(text) => {
            assert!(text.len() <= bounds.max_message_bytes, "a text message of {} bytes", text.len());
            assert!(std::str::from_utf8(text).is_ok(), "a text message that is not UTF-8");
        }
        Incoming::Binary(bytes) => {
            assert!(bytes.len() <= bounds.max_message_bytes, "a binary message of {} bytes", bytes.len());
        }
        Incoming::Ping(bytes) | Incoming::Pong(bytes) => {
            assert!(bytes.len() <= 125, "a control frame of {} bytes", bytes.len());
        }
        Incoming::Close(None) => {}
        // RFC 6455, section 7.4: the codes that may be sent, and the codes registered since.
        Incoming::Close(Some(code)) => {
            assert!((1000..5000).contains(code) && !(1015..3000).contains(code), "{code}");
            assert!(!(1004..=1006).contains(code), "{code}");
        }
    }
}

/// The frame of a client for which the reader returns `incoming`.
fn encode(incoming: &Incoming) -> Vec<u8> {
    match incoming {
        Incoming::Text(text) => masked(0x81, text),
        Incoming::Binary(bytes) => masked(0x82, bytes),
        Incoming::Ping(bytes) => masked(0x89, bytes),
        Incoming::Pong(bytes) => masked(0x8A, bytes),
        Incoming::Close(code) => {
            masked(0x88, &code.map(u16::to_be_bytes).unwrap_or_default()[..2 * usize::from(code.is_some())])
        }
    }
}
