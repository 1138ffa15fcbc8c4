//! Deflate for WebSocket messages (RFC 7692), without context takeover.
//!
//! No message depends on an earlier one, so a publication is compressed once for all receivers, and a connection keeps
//! no window. Compressors and decompressors belong to the thread.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::close::CloseCode;

/// The end of every compressed message. The sender removes it (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// The maximum number of bytes inflated at once. It bounds the memory of a compression bomb beyond the limit.
const STEP_BYTES: usize = 16 * 1024;
/// The maximum number of idle decompressors of a thread. Each has a window of 32 KiB.
const MAX_IDLE: usize = 8;

thread_local! {
    static COMPRESSOR: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    static IDLE: RefCell<Vec<Decompress>> = const { RefCell::new(Vec::new()) };
}

/// Compresses one message. Incompressible data becomes slightly longer.
pub fn deflate(message: &[u8]) -> Bytes {
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        // The fast level writes up to nine bits for each incompressible byte.
        let mut output = Vec::with_capacity(message.len() + message.len() / 8 + 64);
        loop {
            let input = &message[compressor.total_in() as usize..];
            // It fails only if it can neither read nor write. The output always has free capacity here.
            let _ = compressor.compress_vec(input, &mut output, FlushCompress::Sync);
            if compressor.total_in() as usize == message.len() && output.len() < output.capacity() {
                break;
            }
            output.reserve(message.len() / 8 + 64);
        }
        output.truncate(output.len() - TAIL.len());
        output.into()
    })
}

/// Why a message cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InflateError {
    /// It is not valid deflate data.
    Corrupt,
    /// It exceeds the limit. Inflating stops at the first byte over the limit.
    TooBig,
}

impl From<InflateError> for CloseCode {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::Corrupt => Self::ProtocolError,
            InflateError::TooBig => Self::MessageTooBig,
        }
    }
}

/// Inflates one message, chunk by chunk.
#[derive(Debug)]
pub struct Inflater {
    decompressor: Option<Decompress>,
}

impl Inflater {
    /// Takes an idle decompressor of this thread, or creates one. Dropping the inflater returns it.
    pub fn new() -> Self {
        let idle = IDLE.with_borrow_mut(Vec::pop);
        let mut decompressor = idle.unwrap_or_else(|| Decompress::new(false));
        decompressor.reset(false);
        Self { decompressor: Some(decompressor) }
    }

    /// Inflates the next chunk and appends it to `output`, which may grow to `max_bytes`. After an error, `output` has
    /// the data before the error. The error and the output do not depend on the chunks.
    pub fn push(
        &mut self,
        mut input: &[u8],
        output: &mut BytesMut,
        max_bytes: usize,
    ) -> Result<(), InflateError> {
        let Some(decompressor) = &mut self.decompressor else { return Err(InflateError::Corrupt) };
        let mut step = [0; STEP_BYTES];
        loop {
            let (total_in, total_out) = (decompressor.total_in(), decompressor.total_out());
            let room = max_bytes.saturating_sub(output.len());
            // One byte over the limit shows that the message is too big. Inflating further could find an error in later
            // data, and then the result would depend on the chunks.
            let end = room.saturating_add(1).min(STEP_BYTES);
            let status = decompressor.decompress(input, &mut step[..end], FlushDecompress::Sync);
            let consumed = (decompressor.total_in() - total_in) as usize;
            let produced = (decompressor.total_out() - total_out) as usize;
            input = &input[consumed..];
            output.extend_from_slice(&step[..produced.min(room)]);
            if produced > room {
                return Err(InflateError::TooBig);
            }
            let status = status.map_err(|_| InflateError::Corrupt)?;
            if status == Status::StreamEnd {
                // A sender may end its stream inside a message; a new stream follows (RFC 7692, section 7.2.3.4).
                decompressor.reset(false);
            } else if produced < end && (input.is_empty() || consumed == 0) {
                return if input.is_empty() { Ok(()) } else { Err(InflateError::Corrupt) };
            }
            if input.is_empty() && produced < end {
                return Ok(());
            }
        }
    }

    /// Completes the message: inflates the end that the sender removed.
    pub fn finish(mut self, output: &mut BytesMut, max_bytes: usize) -> Result<(), InflateError> {
        self.push(&TAIL, output, max_bytes)
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        let Some(decompressor) = self.decompressor.take() else { return };
        // While a thread ends, its list may already be destroyed.
        let _ = IDLE.try_with(|idle| {
            let mut idle = idle.borrow_mut();
            if idle.len() < MAX_IDLE {
                idle.push(decompressor);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn inflate(chunks: &[&[u8]], max_bytes: usize) -> Result<Bytes, InflateError> {
        let (mut inflater, mut output) = (Inflater::new(), BytesMut::new());
        for chunk in chunks {
            inflater.push(chunk, &mut output, max_bytes)?;
        }
        inflater.finish(&mut output, max_bytes)?;
        Ok(output.freeze())
    }

    #[test]
    fn inflates_the_examples_of_rfc_7692() {
        for (wire, expected) in [
            (&[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00][..], "Hello"),
            // An uncompressed block.
            (&[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00], "Hello"),
            // A stream that ends inside the message.
            (&[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00], "Hello"),
            // Two blocks.
            (&[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00], "Hello"),
            // An empty message.
            (&[0x00], ""),
        ] {
            assert_eq!(inflate(&[wire], 100).as_deref(), Ok(expected.as_bytes()), "{wire:x?}");
        }
    }

    #[test]
    fn a_deflate_bomb_stops_at_the_limit() {
        let bomb = deflate(&vec![0; 10 << 20]);
        assert!(bomb.len() < (10 << 20) / 50, "a bomb of {} bytes", bomb.len());
        let (mut inflater, mut output) = (Inflater::new(), BytesMut::new());
        assert_eq!(inflater.push(&bomb, &mut output, 1_000), Err(InflateError::TooBig));
        assert!(output.capacity() <= 1_024, "the output exceeds its limit");
    }

    #[test]
    fn an_inflate_error_does_not_depend_on_the_chunks() {
        let bomb = [&deflate(&[b'a'; 2_000])[..], &TAIL, &[0x07]].concat();
        let corrupt = [&deflate(b"begun")[..], &TAIL, &[0x07]].concat();
        let aaa = Bytes::from(vec![b'a'; 100]);
        for (wire, inflated, error) in
            [(bomb, aaa, InflateError::TooBig), (corrupt, "begun".into(), InflateError::Corrupt)]
        {
            for chunk_bytes in 1..=wire.len() {
                let (mut inflater, mut output) = (Inflater::new(), BytesMut::new());
                let result =
                    wire.chunks(chunk_bytes).try_for_each(|chunk| inflater.push(chunk, &mut output, 100));
                assert_eq!(
                    (result, &output[..]),
                    (Err(error), &inflated[..]),
                    "chunks of {chunk_bytes} bytes"
                );
            }
        }
    }

    #[test]
    fn invalid_deflate_data_is_corrupt() {
        assert_eq!(inflate(&[&[0xFF, 0xFF, 0xFF]], 100), Err(InflateError::Corrupt));
    }

    #[test]
    fn large_incompressible_messages_survive_deflate() {
        use rand::Rng as _;
        let mut message = vec![0; 131_072];
        for _ in 0..50 {
            rand::rng().fill_bytes(&mut message);
            assert_eq!(inflate(&[&deflate(&message)], message.len()).as_deref(), Ok(&message[..]));
        }
    }

    proptest! {
        #[test]
        fn any_message_survives_deflate_in_any_chunks(
            message in proptest::collection::vec(0_u8..4, 0..5_000),
            chunk_bytes in 1_usize..300,
        ) {
            let wire = deflate(&message);
            let chunks: Vec<_> = wire.chunks(chunk_bytes).collect();
            let inflated = inflate(&chunks, message.len());
            prop_assert_eq!(inflated.as_deref(), Ok(&message[..]));
        }

        #[test]
        fn incompressible_messages_survive_deflate(message in proptest::collection::vec(any::<u8>(), 0..40_000)) {
            let wire = deflate(&message);
            prop_assert!(wire.len() <= message.len() + message.len() / 8 + 64);
            let inflated = inflate(&[&wire], message.len());
            prop_assert_eq!(inflated.as_deref(), Ok(&message[..]));
        }

        #[test]
        fn no_bytes_make_inflate_panic_or_exceed_the_limit(bytes in any::<Vec<u8>>()) {
            if let Ok(output) = inflate(&[&bytes], 500) {
                prop_assert!(output.len() <= 500);
            }
        }
    }
}
