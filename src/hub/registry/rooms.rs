//! The receivers of the number of subscribers (op 14).

use super::{FrameReceiver, FrameSink, Registry, SessionKey};
use protocol::Version;
use protocol::channel::ChannelName;

impl<S: FrameSink> Registry<S> {
    /// The live subscribers of a channel whose version has op 14.
    pub fn live_receivers(&self, channel: &ChannelName) -> Vec<FrameReceiver<S>> {
        let subscribers = self.channels.get(channel).map_or(&[][..], |channel| &channel.subscribers);
        let live =
            subscribers.iter().filter(|one| one.pending.is_none() && one.variant.version == Version::V2);
        live.map(|subscriber| subscriber.to_receiver()).collect()
    }

    /// A session, if its subscription to a channel is live and its version has op 14.
    pub fn live_receiver(&self, session: SessionKey, channel: &ChannelName) -> Option<FrameReceiver<S>> {
        let found = self.sessions.get(session.index())?;
        let subscription = found.subscriptions.iter().find(|one| one.channel == *channel)?;
        let subscriber = self.channels.get(channel)?.subscribers.get(subscription.index as usize)?;
        let is_receiver = subscriber.pending.is_none() && found.variant.version == Version::V2;
        is_receiver.then(|| subscriber.to_receiver())
    }
}
