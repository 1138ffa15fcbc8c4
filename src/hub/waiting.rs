//! Who waits for the broker to confirm which channel. A plain struct.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::SessionId;
use protocol::channel::ChannelName;
use protocol::conversation::Wanted;

/// What a session asked for, and is told once everything for it is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) kind: RequestKind,
    /// The channels, in the order of the answer.
    pub(super) wanted: Arc<[Wanted]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// All channels of a Join.
    Join,
    /// One channel.
    Subscribe {
        /// Given back with the answer.
        ticket: u32,
    },
}

/// The sessions that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_channel: HashMap<ChannelName, Vec<(SessionId, Request)>>,
    /// How many channels a Join still waits for.
    joins: HashMap<SessionId, usize>,
    /// How often the broker was asked for a channel and has not answered.
    asked: HashMap<ChannelName, usize>,
}

impl Waiting {
    /// Notes that the broker is asked for `channels`.
    pub(super) fn ask(&mut self, channels: &[ChannelName]) {
        for channel in channels {
            *self.asked.entry(channel.clone()).or_default() += 1;
        }
    }

    /// Notes one answer of the broker. Returns whether it is the one that counts: when a channel was left and
    /// asked for again, the answer to the first call may come after the second call, and says nothing of it.
    pub(super) fn answered(&mut self, channel: &ChannelName) -> bool {
        match self.asked.get_mut(channel) {
            Some(open) if *open > 1 => {
                *open -= 1;
                false
            }
            _ => {
                self.asked.remove(channel);
                true
            }
        }
    }

    /// Notes that `request` waits for `channels`, of which there is at least one.
    pub(super) fn wait(&mut self, session: SessionId, request: Request, channels: Vec<ChannelName>) {
        if request.kind == RequestKind::Join {
            self.joins.insert(session, channels.len());
        }
        for channel in channels {
            self.by_channel.entry(channel).or_default().push((session, request.clone()));
        }
    }

    /// A channel is confirmed: appends the requests that wait for nothing more.
    pub(super) fn confirm(&mut self, channel: &ChannelName, done: &mut Vec<(SessionId, Request)>) {
        for (session, request) in self.by_channel.remove(channel).unwrap_or_default() {
            if request.kind == RequestKind::Join {
                let Some(missing) = self.joins.get_mut(&session) else { continue };
                *missing -= 1;
                if *missing > 0 {
                    continue;
                }
                self.joins.remove(&session);
            }
            done.push((session, request));
        }
    }

    /// A session is gone: nothing is said to it any more.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.joins.remove(&session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    fn join() -> Request {
        Request { kind: RequestKind::Join, wanted: Arc::new([]) }
    }

    fn confirm(waiting: &mut Waiting, name: &str) -> Vec<(SessionId, Request)> {
        let mut done = Vec::new();
        waiting.confirm(&channel(name), &mut done);
        done
    }

    #[test]
    fn a_join_is_done_when_its_last_channel_is_confirmed() {
        let (mut waiting, one) = (Waiting::default(), SessionId(1));
        waiting.wait(one, join(), vec![channel("user:1"), channel("room:7")]);
        let subscribe = Request { kind: RequestKind::Subscribe { ticket: 5 }, wanted: Arc::new([]) };
        waiting.wait(SessionId(2), subscribe.clone(), vec![channel("room:7")]);
        assert_eq!(confirm(&mut waiting, "room:7"), [(SessionId(2), subscribe)]);
        assert_eq!(confirm(&mut waiting, "room:7"), []);
        assert_eq!(confirm(&mut waiting, "user:1"), [(one, join())]);
        assert!(waiting.by_channel.is_empty() && waiting.joins.is_empty());
    }

    #[test]
    fn only_the_last_answer_to_a_channel_counts() {
        let (mut waiting, room) = (Waiting::default(), channel("room:7"));
        waiting.ask(&[room.clone(), channel("all")]);
        // Left meanwhile, and asked for again.
        waiting.ask(std::slice::from_ref(&room));
        assert!(!waiting.answered(&room));
        assert!(waiting.answered(&channel("all")));
        assert!(waiting.answered(&room));
        assert!(waiting.asked.is_empty());
    }

    #[test]
    fn a_session_that_has_left_is_not_answered() {
        let (mut waiting, one) = (Waiting::default(), SessionId(1));
        waiting.wait(one, join(), vec![channel("user:1")]);
        waiting.forget(one);
        assert_eq!(confirm(&mut waiting, "user:1"), []);
    }
}
