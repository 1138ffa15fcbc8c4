//! The limit in bytes that the messages from all histories of one request share.
//!
//! A recovery is all or nothing, and the last messages of a channel are as many as fit. So a recovery takes its bytes
//! first, also from the last messages of another channel that the session does not know of yet.

use super::{FrameSink, HubCore};
use crate::broker::{NotRecovered, Recovered};
use crate::hub::registry::HubRequestId;
use protocol::channel::ChannelName;

impl<S: FrameSink> HubCore<S> {
    /// Counts recovered messages. The limit does not count one long message.
    pub(super) fn apply_budget(
        &mut self,
        id: HubRequestId,
        recovered: Recovered,
    ) -> Result<Recovered, NotRecovered> {
        let limits = self.rules.recovery;
        loop {
            let Some(request) = self.requests.get_mut(id) else { return Ok(recovered) };
            if request.sizes().plus(recovered.sizes).counted(limits) <= limits.bytes {
                request.recovered_sizes = request.recovered_sizes.plus(recovered.sizes);
                return Ok(recovered);
            }
            let alone = request.recovered_sizes.plus(recovered.sizes);
            if alone.counted(limits) > limits.bytes || !self.drop_last(id) {
                return Err(NotRecovered::TooMuch);
            }
        }
    }

    /// Counts the last messages of a channel. Returns the newest of them that fit.
    pub(super) fn apply_budget_to_last(
        &mut self,
        id: HubRequestId,
        channel: &ChannelName,
        found: Recovered,
    ) -> Recovered {
        let limits = self.rules.recovery;
        let Some(request) = self.requests.get_mut(id) else { return found };
        let used = request.sizes();
        let given = found.newest(|sizes| used.plus(sizes).counted(limits) <= limits.bytes);
        request.set_last_sizes(channel, given.sizes);
        given
    }

    /// Takes the last messages of one channel back. Returns `false` if the session knows of all of them.
    fn drop_last(&mut self, id: HubRequestId) -> bool {
        let Some(request) = self.requests.get_mut(id) else { return false };
        let Some(channel) = request.channel_with_last() else { return false };
        let session = request.session;
        let cut = self.registry.pending(session, &channel).and_then(|pending| pending.drop_missed());
        if let (Some(cut), Some(request)) = (cut, self.requests.get_mut(id)) {
            request.drop_last(&channel, cut);
        }
        cut.is_some()
    }
}
