//! State that few sessions have. It is allocated at the first use, so that an idle session takes no memory for it.

use super::batches::OpenBatch;
use super::refresh::PendingRefresh;
use super::signals::SignalSlot;
use crate::budget::Budget;
use crate::channel::ChannelName;

/// What a session has beyond its subscriptions.
#[derive(Debug, Default)]
pub(super) struct OnDemandState {
    /// The channels that the claim `subscribe` of the token names.
    pub(super) token_channels: Box<[ChannelName]>,
    /// The batches that are not answered, in order.
    pub(super) batches: Vec<OpenBatch>,
    /// The channels on which the session has sent a signal within the interval.
    pub(super) signals: Vec<SignalSlot>,
    /// The number of messages for the backend that are not acknowledged.
    pub(super) open_sends: u8,
    /// The budget of op 16.
    pub(super) send_budget: Budget,
    /// The budget of op 18.
    pub(super) signal_budget: Budget,
    /// The newer tokens that are not verified yet.
    pub(super) pending_refresh: PendingRefresh,
}
