//! Reads histories and the presence of users.

use super::{Broker, HistoryPageRequest, HistoryReadError, HistoryRequest, HubId, ReadId, Recovered};
use protocol::channel::ChannelName;

impl Broker {
    /// Reads a page of a channel's history. The messages are in the order of the history, also if the page is read from
    /// its end.
    ///
    /// # Errors
    /// Redis did not answer within `broker.response_timeout`, or the history cannot be read.
    pub async fn history(&self, request: HistoryPageRequest) -> Result<Recovered, HistoryReadError> {
        match self {
            Self::Memory(broker) => broker.history(request),
            Self::Redis(broker) => broker.history(request).await,
        }
    }

    /// Reads messages for one subscription. Answered once by [`HubEvent::HistoryRead`], without a timeout.
    pub fn read(&self, hub: HubId, request: HistoryRequest) {
        match self {
            Self::Memory(broker) => broker.read(hub, request),
            Self::Redis(broker) => broker.link().edit(|link| link.read(hub, request)),
        }
    }

    /// Cancels a read; it is not answered any more.
    pub fn cancel_read(&self, hub: HubId, read: ReadId) {
        match self {
            // The memory broker answers every read at once.
            Self::Memory(_) => {}
            Self::Redis(broker) => broker.link().lock().cancel(hub, read),
        }
    }

    /// Reads whether the user of a channel `online:<user>` is online, after all messages that the hub has received on it.
    /// Answered once by [`HubEvent::PresenceRead`], without a timeout: a hub has at most one such read for each
    /// of its channels.
    pub fn read_presence(&self, hub: HubId, read: ReadId, channel: &ChannelName) {
        match self {
            Self::Memory(broker) => broker.read_presence(hub, read, channel),
            Self::Redis(broker) => broker.link().read_presence(hub, read, channel),
        }
    }

    /// Cancels a read of a user's presence; it is not answered any more.
    pub fn cancel_presence(&self, hub: HubId, read: ReadId) {
        match self {
            // The memory broker answers every read at once.
            Self::Memory(_) => {}
            Self::Redis(broker) => broker.link().lock().cancel_presence(hub, read),
        }
    }
}
