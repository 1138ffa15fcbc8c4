//! Queries about sessions: whether one is identified or closed, for the requests of sessions, and lists for operators.
//! Not on the delivery path.

use super::{FrameSink, Registry, SessionKey};
use protocol::Version;
use protocol::channel::ChannelName;

impl<S: FrameSink> Registry<S> {
    /// The channel of a session's user. `None` until the session is identified. It is the session's first channel and
    /// keeps index 0, because unsubscribing from another channel moves the last channel to the free index.
    pub fn user_channel(&self, session: SessionKey) -> Option<&ChannelName> {
        self.channels_of(session).next()
    }

    /// Whether a channel is one of a session's own two, which it cannot leave.
    pub fn is_own(&self, session: SessionKey, channel: &ChannelName) -> bool {
        channel.as_str() == "all" || self.user_channel(session) == Some(channel)
    }

    /// Whether a session is subscribed to a channel, live or pending.
    pub fn is_subscribed(&self, session: SessionKey, channel: &ChannelName) -> bool {
        self.channels_of(session).any(|one| one == channel)
    }

    /// Whether a channel has a subscriber, live or pending.
    pub fn has_subscribers(&self, channel: &ChannelName) -> bool {
        self.channels.contains_key(channel)
    }

    /// Whether a channel has a subscriber of version 2, live or pending.
    pub fn has_v2_subscriber(&self, channel: &ChannelName) -> bool {
        let mut subscribers = self.channels.get(channel).into_iter().flat_map(|entry| &entry.subscribers);
        subscribers.any(|one| one.variant.version == Version::V2)
    }

    /// Whether a session has ended or is unknown.
    pub fn is_closed(&self, session: SessionKey) -> bool {
        self.sessions.get(session.index()).is_none_or(|session| session.sink.is_closed())
    }

    /// The channels of a session, its user's first.
    pub fn channels_of(&self, session: SessionKey) -> impl ExactSizeIterator<Item = &ChannelName> {
        let found = self.sessions.get(session.index());
        found.map_or(&[][..], |found| &found.subscriptions).iter().map(|one| &one.channel)
    }

    /// The sessions of the user with this channel, sorted by key. Sessions of other users that are subscribed to the
    /// channel are not included.
    pub fn sessions_of(&self, user: &ChannelName) -> Vec<SessionKey> {
        let subscribers = self.channels.get(user).map_or(&[][..], |channel| &channel.subscribers);
        let sessions = subscribers.iter().map(|subscriber| subscriber.session);
        let mut sessions: Vec<_> =
            sessions.filter(|session| self.user_channel(*session) == Some(user)).collect();
        sessions.sort_unstable();
        sessions
    }

    /// The sessions that are subscribed to a channel, sorted by key.
    pub fn subscribers_of(&self, channel: &ChannelName) -> Vec<SessionKey> {
        let subscribers = self.channels.get(channel).map_or(&[][..], |channel| &channel.subscribers);
        let mut sessions: Vec<_> = subscribers.iter().map(|subscriber| subscriber.session).collect();
        sessions.sort_unstable();
        sessions
    }

    /// A session's sink and protocol version.
    pub fn sink(&self, session: SessionKey) -> Option<(&S, Version)> {
        self.sessions.get(session.index()).map(|session| (&session.sink, session.variant.version))
    }
}
