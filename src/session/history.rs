//! Reads pages of histories for clients.

use crate::broker::{Broker, HistoryPageRequest, PageRange};
use protocol::conversation::Input;
use protocol::history_page::{HistoryPage, HistoryQuery};
use protocol::page_error::PageError;

/// Reads a page of at most `max_bytes`, so that its one frame leaves room for messages in the outbox. The broker
/// answers within `broker.response_timeout`.
pub(super) async fn read_history(broker: Broker, query: HistoryQuery, max_bytes: usize) -> Input<'static> {
    let HistoryQuery { id, channel, before, limit } = query;
    let request = HistoryPageRequest {
        channel: channel.clone(),
        range: PageRange::Before(before),
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        max_bytes,
    };
    let outcome = match broker.history(request).await {
        Ok(page) => Ok(HistoryPage { messages: page.publications.to_vec(), has_more: page.has_more }),
        Err(_) => Err(PageError::Unavailable),
    };
    Input::History { id, channel, outcome }
}
