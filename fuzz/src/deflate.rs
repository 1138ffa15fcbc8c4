//! Inflates and deflates messages. The first byte selects the bound. The rest is first a client's compressed message,
//! then a message for the gateway to compress.

use bytes::BytesMut;
use protocol::deflate::{InflateError, Inflater, deflate};
use protocol::frame::{FrameKind, encode, encode_shorter};

/// The selectable bounds, below and above the 16 KiB that are inflated at once.
const BOUNDS: [usize; 6] = [0, 1, 100, 4_096, 16_384, 70_000];
/// How many cuts are tried at most, evenly spread.
const MAX_CUTS: usize = 64;

/// Inflated bytes stay within the bound and do not depend on how the input is cut. A compressed message inflates to
/// itself.
pub fn check(data: &[u8]) {
    let Some((&options, bytes)) = data.split_first() else { return };
    let max_bytes = BOUNDS[usize::from(options) % BOUNDS.len()];

    let whole = inflate([bytes].into_iter(), max_bytes);
    for at in (0..=bytes.len()).step_by(bytes.len() / MAX_CUTS + 1) {
        let (start, end) = bytes.split_at(at);
        assert_eq!(inflate([start, end].into_iter(), max_bytes), whole, "cut after {at} bytes");
    }
    for length in [1, 7] {
        assert_eq!(inflate(bytes.chunks(length), max_bytes), whole, "cut every {length} bytes");
    }

    check_round_trip(bytes);
    check_round_trip(&whole.0);
}

/// The bytes inflated until the end or the error, and the error.
fn inflate<'a>(
    mut pieces: impl Iterator<Item = &'a [u8]>,
    max_bytes: usize,
) -> (Vec<u8>, Result<(), InflateError>) {
    let (mut inflater, mut output) = (Inflater::new(), BytesMut::new());
    let result = pieces
        .try_for_each(|piece| inflater.push(piece, &mut output, max_bytes))
        .and_then(|()| inflater.finish(&mut output, max_bytes));
    assert!(output.len() <= max_bytes, "{} bytes were inflated", output.len());
    assert!(output.capacity() <= (2 * max_bytes).max(64), "{} bytes are held", output.capacity());
    (output.to_vec(), result)
}

fn check_round_trip(message: &[u8]) {
    let wire = deflate(message);
    assert!(
        wire.len() <= message.len() + message.len() / 8 + 64,
        "{} bytes for {}",
        wire.len(),
        message.len()
    );
    let (output, result) = inflate([&wire[..]].into_iter(), message.len());
    assert_eq!((&output[..], result), (message, Ok(())));
    if let Some(shorter) = message.len().checked_sub(1) {
        let (_, result) = inflate([&wire[..]].into_iter(), shorter);
        assert_eq!(result, Err(InflateError::TooBig));
    }
    let kind = FrameKind::Binary;
    assert!(encode_shorter(kind, message).len() <= encode(kind, message).len());
}
