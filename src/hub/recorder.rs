//! A frame sink for tests that records the sent frames.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;

use super::registry::FrameSink;

/// Records frames as text. Clones share one record.
#[derive(Debug, Clone, Default)]
pub(super) struct FrameRecorder(Rc<(RefCell<Vec<String>>, Cell<bool>)>);

impl FrameRecorder {
    /// The payloads of all recorded frames.
    pub(super) fn texts(&self) -> Vec<String> {
        self.0.0.borrow().clone()
    }

    /// The messages since the last call. A gap is `gap: ` and its reason.
    pub(super) fn take_messages(&self) -> Vec<String> {
        self.0.0.take().iter().map(|text| message(text)).collect()
    }

    /// Ends the session. The hub has not processed its Leave yet.
    pub(super) fn end(&self) {
        self.0.1.set(true);
    }

    /// Whether the session has ended, for example because it was too slow.
    pub(super) fn is_overflowed(&self) -> bool {
        self.0.1.get()
    }
}

fn message(text: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    match json["op"].as_u64() {
        Some(3) => json["message"].to_string(),
        Some(8) => format!("gap: {}", json["reason"].as_str().unwrap()),
        _ => text.to_owned(),
    }
}

impl FrameSink for FrameRecorder {
    fn send(&self, frame: Bytes) -> bool {
        let text = std::str::from_utf8(&frame[2..]).unwrap().to_owned();
        self.0.0.borrow_mut().push(text);
        !self.is_overflowed()
    }

    fn close_too_slow(&self) {
        self.0.1.set(true);
    }

    fn is_closed(&self) -> bool {
        self.is_overflowed()
    }
}
