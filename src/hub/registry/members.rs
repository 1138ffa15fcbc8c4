//! What operators may ask of the registry. Nothing here is on the way of a publication.

use super::{FrameSink, Registry, SessionKey};
use protocol::Version;
use protocol::channel::ChannelName;

impl<S: FrameSink> Registry<S> {
    /// The channel of a session's user, once it is identified: the first that it was put on, which it keeps for as
    /// long as it is here. (A session that leaves another channel has its last one moved there, never before the first.)
    pub fn user(&self, session: SessionKey) -> Option<&ChannelName> {
        self.channels_of(session).next()
    }

    /// The channels that a session is on, its user's first.
    pub fn channels_of(&self, session: SessionKey) -> impl ExactSizeIterator<Item = &ChannelName> {
        let memberships = self.sessions.get(session.index()).map_or(&[][..], |session| &session.memberships);
        memberships.iter().map(|membership| &membership.channel)
    }

    /// The sessions of the user with this channel, sorted. Others may be on it as well, by what their tokens open.
    pub fn sessions_of(&self, user: &ChannelName) -> Vec<SessionKey> {
        let subscribers = self.channels.get(user).map_or(&[][..], |channel| &channel.subscribers);
        let sessions = subscribers.iter().map(|subscriber| subscriber.session);
        let mut sessions: Vec<_> = sessions.filter(|session| self.user(*session) == Some(user)).collect();
        sessions.sort_unstable();
        sessions
    }

    /// A session's way out, and the version that it speaks.
    pub fn sink(&self, session: SessionKey) -> Option<(&S, Version)> {
        self.sessions.get(session.index()).map(|session| (&session.sink, session.variant.version))
    }
}
