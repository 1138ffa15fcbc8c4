//! Sends what a subscription missed or held.

use bytes::Bytes;

use super::pending::HeldItem;
use super::{ArrivalNumber, FrameSink, Registry, SessionKey};
use crate::hub::frame_group::FrameGroup;
use protocol::Version;

/// Frames are sent together up to this length, because a write costs more than copying so many bytes.
const MAX_BYTES_TOGETHER: usize = 16 * 1024;

/// A frame, and how many publications it is.
type CountedFrame<'a> = (&'a Bytes, u64);

impl<S: FrameSink> Registry<S> {
    /// Sends publications and gaps in their order. Returns the number of publications delivered.
    pub(super) fn send_held(&self, session: SessionKey, held: &[(ArrivalNumber, HeldItem)]) -> u64 {
        let Some(found) = self.sessions.get(session.index()) else { return 0 };
        let frames = held.iter().filter_map(|(_, item)| match item {
            HeldItem::Publication(publication) => Some((publication.frame(found.variant), 1)),
            HeldItem::Gap(frames) if found.variant.version == Version::V2 => {
                Some((frames.of(found.variant), 0))
            }
            HeldItem::Gap(_) => None,
        });
        let frames: Vec<CountedFrame<'_>> = frames.collect();
        let (mut delivered, mut rest) = (0, &frames[..]);
        while !rest.is_empty() {
            let (together, after) = rest.split_at(count_together(rest));
            let is_sent = match together {
                [(frame, _)] => found.sink.send(Bytes::clone(frame)),
                _ => found.sink.send_together(&FrameGroup::join(together.iter().map(|(frame, _)| *frame))),
            };
            if is_sent {
                delivered += together.iter().map(|(_, publications)| publications).sum::<u64>();
            }
            rest = after;
        }
        delivered
    }
}

/// How many of the first frames are sent together: at least one.
fn count_together(frames: &[CountedFrame<'_>]) -> usize {
    let mut bytes = 0;
    let fitting = frames.iter().take_while(|(frame, _)| {
        bytes += frame.len();
        bytes <= MAX_BYTES_TOGETHER
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_sent_together_up_to_16_kib() {
        let frame = |length| Bytes::from(vec![0; length]);
        for (lengths, expected) in [
            (&[5][..], 1),
            (&[20_000], 1),
            (&[5, 20_000], 1),
            (&[20_000, 5], 1),
            (&[5, 6, 7], 3),
            (&[8_192, 8_192, 1], 2),
        ] {
            let frames: Vec<_> = lengths.iter().map(|length| frame(*length)).collect();
            let counted: Vec<_> = frames.iter().map(|frame| (frame, 1)).collect();
            assert_eq!(count_together(&counted), expected, "{lengths:?}");
        }
    }
}
