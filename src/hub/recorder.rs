//! A frame sink for tests that records the sent frames.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;

use super::frame_group::FrameGroup;
use super::registry::{FrameSink, Offered};

/// Records frames as text. Clones share one record.
#[derive(Debug, Clone, Default)]
pub(super) struct FrameRecorder(Rc<Record>);

#[derive(Debug, Default)]
struct Record {
    texts: RefCell<Vec<String>>,
    is_ended: Cell<bool>,
    is_slow: Cell<bool>,
    /// The number of calls of `offer`, each of which is one write.
    offers: Cell<usize>,
}

impl FrameRecorder {
    /// The payloads of all recorded frames.
    pub(super) fn texts(&self) -> Vec<String> {
        self.0.texts.borrow().clone()
    }

    /// The messages since the last call. A gap is `gap: ` and its reason.
    pub(super) fn take_messages(&self) -> Vec<String> {
        self.0.texts.take().iter().map(|text| message(text)).collect()
    }

    /// Ends the session. The hub has not processed its Leave yet.
    pub(super) fn end(&self) {
        self.0.is_ended.set(true);
    }

    /// The session reads too slowly for frames that are worthless later.
    pub(super) fn set_slow(&self) {
        self.0.is_slow.set(true);
    }

    /// The number of writes of frames that are worthless later.
    pub(super) fn offers(&self) -> usize {
        self.0.offers.get()
    }

    /// Whether the session has ended, for example because it was too slow.
    pub(super) fn is_overflowed(&self) -> bool {
        self.0.is_ended.get()
    }
}

fn message(text: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    match json["op"].as_u64() {
        Some(3) => json["message"].to_string(),
        Some(18) => format!("{} {}", json["user"].as_str().unwrap(), json["signal"]),
        Some(8) => format!("gap: {}", json["reason"].as_str().unwrap()),
        _ => text.to_owned(),
    }
}

/// The payload of a frame of less than 64 KiB.
fn payload(frame: &[u8]) -> &[u8] {
    if frame[1] < 126 { &frame[2..] } else { &frame[4..] }
}

impl FrameSink for FrameRecorder {
    fn send(&self, frame: Bytes) -> bool {
        let text = std::str::from_utf8(payload(&frame)).unwrap().to_owned();
        self.0.texts.borrow_mut().push(text);
        !self.is_overflowed()
    }

    fn offer(&self, frames: &FrameGroup) -> Offered {
        if self.is_overflowed() {
            return Offered::Closed;
        }
        if self.0.is_slow.get() {
            return Offered::Sent(0);
        }
        self.0.offers.set(self.offers() + 1);
        Offered::Sent(frames.frames().filter(|frame| self.send(frame.clone())).count())
    }

    fn close_too_slow(&self) {
        self.0.is_ended.set(true);
    }

    fn is_closed(&self) -> bool {
        self.is_overflowed()
    }
}
