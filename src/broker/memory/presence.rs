//! Presence inside one process: the users with sessions, and the users within their grace. Pure; callers pass the time.
//!
//! It has the meaning of presence over Redis: a user is away once its edge is written, not when its grace ends.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use protocol::channel::ChannelName;

/// The most edges of one [`OnlineUsers::settle`], because the broker is locked while they are published.
pub(super) const MAX_SETTLED: usize = 500;

/// The users that are not away.
pub(super) struct OnlineUsers {
    grace: Duration,
    users: HashMap<ChannelName, UserState>,
    /// The users within their grace by the time when their edges are due.
    leaving: BTreeSet<(Instant, ChannelName)>,
}

#[derive(Debug, Clone, Copy)]
enum UserState {
    /// One or more hubs have sessions of the user.
    Online { hubs: usize },
    /// No hub has a session of the user. Its edge is due at this time.
    Leaving { due: Instant },
}

/// A user came online, or went away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    /// The user's own channel.
    pub(super) user: ChannelName,
    pub(super) is_online: bool,
}

impl OnlineUsers {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, users: HashMap::new(), leaving: BTreeSet::new() }
    }

    /// A hub has the first session of a user, or none any more. Returns the edge of a user that was away.
    pub(super) fn report(&mut self, user: &ChannelName, is_online: bool, now: Instant) -> Option<Edge> {
        match self.users.get_mut(user) {
            None if is_online => {
                self.users.insert(user.clone(), UserState::Online { hubs: 1 });
                return Some(Edge { user: user.clone(), is_online });
            }
            None => {}
            Some(UserState::Online { hubs }) if is_online => *hubs += 1,
            Some(UserState::Online { hubs: hubs @ 2.. }) => *hubs -= 1,
            Some(state @ UserState::Online { .. }) => {
                let due = now + self.grace;
                *state = UserState::Leaving { due };
                self.leaving.insert((due, user.clone()));
            }
            Some(state @ UserState::Leaving { .. }) if is_online => {
                if let UserState::Leaving { due } = *state {
                    self.leaving.remove(&(due, user.clone()));
                }
                *state = UserState::Online { hubs: 1 };
            }
            Some(UserState::Leaving { .. }) => {}
        }
        None
    }

    /// The edges that are due, at most [`MAX_SETTLED`]. Their users are away from then on.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<Edge> {
        let mut edges = Vec::new();
        while edges.len() < MAX_SETTLED && self.next_due().is_some_and(|due| due <= now) {
            let Some((_, user)) = self.leaving.pop_first() else { break };
            self.users.remove(&user);
            edges.push(Edge { user, is_online: false });
        }
        edges
    }

    /// When the next edge is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.leaving.first().map(|(due, _)| *due)
    }

    /// The number of processes with sessions of a user: 1, or 0 within its grace; `None` if the user is away.
    pub(super) fn replicas_of(&self, user: &ChannelName) -> Option<u32> {
        self.users.get(user).map(|state| u32::from(matches!(state, UserState::Online { .. })))
    }
}

#[cfg(test)]
mod tests;
