//! Several frames in one buffer, for one write.

use bytes::{Bytes, BytesMut};

/// Several complete WebSocket frames, one after the other.
#[derive(Debug, Clone)]
pub struct FrameGroup {
    bytes: Bytes,
    /// The end of each frame in `bytes`.
    ends: Vec<usize>,
}

impl FrameGroup {
    /// Joins complete frames.
    pub fn join<'a>(frames: impl Iterator<Item = &'a Bytes> + Clone) -> Self {
        let mut bytes = BytesMut::with_capacity(frames.clone().map(Bytes::len).sum());
        let ends = frames.map(|frame| {
            bytes.extend_from_slice(frame);
            bytes.len()
        });
        let ends = ends.collect();
        Self { bytes: bytes.freeze(), ends }
    }

    /// The bytes of all frames.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The end of each frame in [`bytes`](Self::bytes).
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// The frames.
    pub fn frames(&self) -> impl Iterator<Item = Bytes> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.slice(start..*end))
    }
}
