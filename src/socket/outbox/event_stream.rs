//! Outboxes that send server-sent events instead of WebSocket frames.
//!
//! Their state is in a table of the thread, because few sockets are event streams, and a field would take memory of
//! every socket.

use std::cell::RefCell;
use std::collections::HashMap;

use actix_http::StatusCode;
use bytes::Bytes;

use super::{Outbox, OutboxId};
use crate::shrink;
use crate::socket::http_response::{PageOrigin, detail, error, stream_head};
use protocol::close::CloseCode;
use protocol::event_stream::{StreamPositions, encode_close, has_id};

/// The range of the random delay before a client connects again, in milliseconds. A drain chooses its own.
const RETRY_MS: std::ops::RangeInclusive<u64> = 1_000..=5_000;

thread_local! {
    static STREAMS: RefCell<HashMap<OutboxId, EventStream>> = RefCell::default();
}

/// One event stream.
struct EventStream {
    /// The page that requested the stream. `None` once the head of the response is queued.
    unanswered: Option<PageOrigin>,
    positions: StreamPositions,
}

impl EventStream {
    /// The head of the response if it is due, and the completed block. `None`: nothing is sent.
    ///
    /// The response begins with the first block that has an id, which is Ready. Until then the token may be refused, which
    /// is a response of its own.
    fn complete(&mut self, block: Bytes) -> Option<(Option<Bytes>, Bytes)> {
        if block.is_empty() || (self.unanswered.is_some() && !has_id(&block)) {
            return None;
        }
        let head = self.unanswered.take().map(|origin| stream_head(&origin));
        Some((head, self.positions.complete(block)))
    }

    /// The last bytes of the stream.
    fn close(&mut self, code: Option<u16>, reason: &str) -> Bytes {
        let Some(origin) = self.unanswered.take() else {
            let is_drain = code == Some(CloseCode::ServiceRestart.code());
            let retry_ms = (!is_drain).then(|| rand::random_range(RETRY_MS));
            return encode_close(code, reason, retry_ms);
        };
        let (status, error_code, headers) = refusal_of(code);
        // The reason of a Close speaks of WebSockets.
        let detail = if status == StatusCode::BAD_REQUEST { detail(error_code) } else { reason };
        error(status, error_code, detail, headers, &origin)
    }
}

type Headers = &'static [(&'static str, &'static str)];

/// The response to a session that ends before its stream has begun.
fn refusal_of(code: Option<u16>) -> (StatusCode, &'static str, Headers) {
    let code = CloseCode::ALL.into_iter().find(|one| Some(one.code()) == code);
    match code {
        Some(CloseCode::IdentifyFailed | CloseCode::SessionExpired) => {
            (StatusCode::UNAUTHORIZED, "unauthorized", &[("www-authenticate", "Bearer")])
        }
        Some(CloseCode::Disconnected) => (StatusCode::FORBIDDEN, "disconnected", &[]),
        Some(CloseCode::RateLimited) => {
            (StatusCode::TOO_MANY_REQUESTS, "rate_limited", &[("retry-after", "5")])
        }
        Some(CloseCode::Malformed | CloseCode::ProtocolError) => {
            (StatusCode::BAD_REQUEST, "bad_request", &[])
        }
        Some(CloseCode::ServiceRestart) => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining", &[("retry-after", "1")])
        }
        Some(CloseCode::TryAgainLater | CloseCode::IdentifyTimedOut) => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable", &[("retry-after", "1")])
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", &[]),
    }
}

impl Outbox {
    /// Begins the stream of an outbox with this encoding. `origin`: the page that requests it.
    pub(in crate::socket) fn begin_event_stream(&self, origin: PageOrigin) {
        let stream = EventStream { unanswered: Some(origin), positions: StreamPositions::default() };
        STREAMS.with_borrow_mut(|streams| streams.insert(self.id(), stream));
    }

    /// Completes a block. Queues the head of the response before the first one. `None`: nothing is sent.
    pub(super) fn complete_block(&self, block: Bytes) -> Option<Bytes> {
        let completed = STREAMS
            .with_borrow_mut(|streams| streams.get_mut(&self.id()).map(|stream| stream.complete(block)));
        let (head, block) = completed.flatten()?;
        if let Some(head) = head {
            self.queue_answer(head);
        }
        Some(block)
    }

    /// The last bytes of a stream.
    pub(super) fn close_event_stream(&self, code: Option<u16>, reason: &str) -> Bytes {
        let closed = STREAMS
            .with_borrow_mut(|streams| streams.get_mut(&self.id()).map(|stream| stream.close(code, reason)));
        closed.unwrap_or_default()
    }
}

/// The outbox of a stream is dropped.
pub(super) fn remove(id: OutboxId) {
    // At the end of the thread, the table may be dropped before the last outbox.
    let _ = STREAMS.try_with(|streams| {
        let mut streams = streams.borrow_mut();
        streams.remove(&id);
        shrink::map(&mut streams);
    });
}
