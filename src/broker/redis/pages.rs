//! Reads pages of histories for clients and operators.
//!
//! A page is one of the reads of the link: on the connection for histories, in turn with the reads of subscriptions,
//! and within their limits in bytes. While the link is down, a page is refused at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::types::Inbox;
use super::super::{
    HistoryPageRequest, HistoryRange, HistoryReadError, HistoryRequest, HubEvent, HubId, InboxFull,
    NotRecovered, ReadId, Recovered, RecoveryLimits,
};
use super::links::RedisLinks;

type PageOutcome = Result<Recovered, HistoryReadError>;

/// The pages that are being read. The link answers them as it answers a hub.
pub(super) struct PageReads {
    hub: HubId,
    waiting: Arc<WaitingPages>,
    numbers: AtomicU64,
}

#[derive(Default)]
struct WaitingPages(Mutex<HashMap<ReadId, oneshot::Sender<PageOutcome>>>);

/// Cancels the read of a page whose caller has gone.
struct PageRead<'a> {
    pages: &'a PageReads,
    links: &'a RedisLinks,
    read: ReadId,
}

impl PageReads {
    /// Adds the reads to the links, as those of one more hub.
    pub(super) fn new(links: &RedisLinks) -> Self {
        let waiting = Arc::new(WaitingPages::default());
        let hub = links.process.router.attach(waiting.clone());
        Self { hub, waiting, numbers: AtomicU64::new(0) }
    }

    /// Reads a page within `response_timeout`. `links` are those to which these reads were added.
    pub(super) async fn read(&self, links: &RedisLinks, request: HistoryPageRequest) -> PageOutcome {
        if !links.link_of(&request.channel).link.lock().is_up() {
            return Err(HistoryReadError::Unavailable);
        }
        let HistoryPageRequest { channel, range, limit, max_bytes } = request;
        let read = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting.0.lock().insert(read, answer);
        let _cancelled_when_dropped = PageRead { pages: self, links, read };
        // The pages of one channel take turns with the reads of each user.
        let user = channel.clone();
        let limits = RecoveryLimits { messages: limit, bytes: max_bytes };
        let request = HistoryRequest { read, user, channel, range: HistoryRange::Page(range), limits };
        links.process.router.read(self.hub, request);
        match timeout(links.process.options.response_timeout, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(HistoryReadError::Unavailable),
            Err(_) => Err(HistoryReadError::Timeout),
        }
    }
}

impl Inbox for WaitingPages {
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
        match event {
            HubEvent::HistoryRead { read, outcome } => {
                if let Some(waiting) = self.0.lock().remove(&read) {
                    // The caller may have gone.
                    let _ = waiting.send(outcome.map_err(read_error));
                }
            }
            HubEvent::Link { is_up: false } => {
                for (_, waiting) in self.0.lock().drain() {
                    let _ = waiting.send(Err(HistoryReadError::Unavailable));
                }
            }
            // This is no hub: it subscribes to nothing.
            _ => {}
        }
        Ok(())
    }
}

fn read_error(reason: NotRecovered) -> HistoryReadError {
    match reason {
        // A page continues from no position, and has as much as may be given.
        NotRecovered::Lost | NotRecovered::TooMuch | NotRecovered::Unreadable => HistoryReadError::Unreadable,
    }
}

impl Drop for PageRead<'_> {
    fn drop(&mut self) {
        self.pages.waiting.0.lock().remove(&self.read);
        self.links.process.router.cancel(self.pages.hub, self.read);
    }
}
