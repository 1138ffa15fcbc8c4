//! How many sessions there may be: of one user, and of clients that have not said who they are.
//!
//! The counts are the process's: a user's sessions are spread over its threads. Identifying is rare beside
//! deliveries, so one short lock will do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::channel::ChannelName;

/// The caps and counts of all sessions of the process; a cap of 0 is none. Cloning shares.
#[derive(Debug, Clone, Default)]
pub struct SessionLimits(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    unidentified_cap: u32,
    unidentified: AtomicU32,
    users: Mutex<Users>,
}

/// A socket that has not identified itself, until dropped.
#[derive(Debug)]
pub struct Unidentified(SessionLimits);

/// One of a user's sessions, until dropped.
#[derive(Debug)]
pub(super) struct UserSession {
    limits: SessionLimits,
    user: ChannelName,
}

impl SessionLimits {
    /// With these caps on unidentified sockets, and on the sessions of one user.
    pub fn new(unidentified: u32, per_user: u32) -> Self {
        let users = Users { cap: per_user, sessions: HashMap::new() };
        Self(Arc::new(Inner {
            unidentified_cap: unidentified,
            unidentified: AtomicU32::new(0),
            users: Mutex::new(users),
        }))
    }

    /// A place for a socket that has not identified itself, if there is one.
    pub(super) fn admit(&self) -> Option<Unidentified> {
        let before = self.0.unidentified.fetch_add(1, Ordering::Relaxed);
        // Over the cap the place is dropped again, which gives it back.
        let place = Unidentified(self.clone());
        (self.0.unidentified_cap == 0 || before < self.0.unidentified_cap).then_some(place)
    }

    /// A place for one more session of the user with this channel, if there is one.
    pub(super) fn identify(&self, user: &ChannelName) -> Option<UserSession> {
        self.users().take(user).then(|| UserSession { limits: self.clone(), user: user.clone() })
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        // Nothing between its changes can panic.
        self.0.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unidentified {
    /// The limits that it counts in.
    pub(super) fn limits(&self) -> &SessionLimits {
        &self.0
    }
}

impl Drop for Unidentified {
    fn drop(&mut self) {
        self.0.0.unidentified.fetch_sub(1, Ordering::Relaxed);
    }
}

impl UserSession {
    /// The user's id.
    pub(super) fn user(&self) -> &str {
        self.user.as_str().strip_prefix("user:").unwrap_or_default()
    }
}

impl Drop for UserSession {
    fn drop(&mut self) {
        self.limits.users().give_back(&self.user);
    }
}

/// The capacity that an emptied map may keep.
const SMALL: usize = 1_024;

/// How many sessions each user has. Plain; with a cap of 0 it stays empty.
#[derive(Debug, Default)]
struct Users {
    cap: u32,
    /// An entry is gone with its last session.
    sessions: HashMap<ChannelName, u32>,
}

impl Users {
    fn take(&mut self, user: &ChannelName) -> bool {
        if self.cap == 0 {
            return true;
        }
        let Some(sessions) = self.sessions.get_mut(user) else {
            self.sessions.insert(user.clone(), 1);
            return true;
        };
        let has_room = *sessions < self.cap;
        *sessions += u32::from(has_room);
        has_room
    }

    fn give_back(&mut self, user: &ChannelName) {
        let Some(sessions) = self.sessions.get_mut(user) else { return };
        *sessions -= 1;
        if *sessions == 0 {
            self.sessions.remove(user);
            if self.sessions.capacity() > SMALL.max(8 * self.sessions.len()) {
                self.sessions.shrink_to(2 * self.sessions.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> ChannelName {
        ChannelName::of_user(id).unwrap()
    }

    #[test]
    fn unidentified_sockets_have_as_many_places_as_the_cap() {
        let limits = SessionLimits::new(2, 0);
        let (first, second) = (limits.admit().unwrap(), limits.admit().unwrap());
        for _ in 0..3 {
            assert!(limits.admit().is_none());
        }
        drop(first);
        let third = limits.admit().unwrap();
        assert!(limits.admit().is_none());
        drop((second, third));
        assert_eq!(limits.0.unidentified.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_user_has_as_many_sessions_as_the_cap_and_others_have_theirs() {
        let limits = SessionLimits::new(0, 2);
        let first = limits.identify(&user("1")).unwrap();
        let _second = limits.identify(&user("1")).unwrap();
        assert!(limits.identify(&user("1")).is_none());
        let _neighbour = limits.identify(&user("2")).unwrap();
        drop(first);
        let _third = limits.identify(&user("1")).unwrap();
        assert!(limits.identify(&user("1")).is_none());
    }

    #[test]
    fn a_user_without_a_session_is_forgotten() {
        let limits = SessionLimits::new(0, 1);
        let places: Vec<_> = (0..10_000).map(|id| limits.identify(&user(&id.to_string())).unwrap()).collect();
        drop(places);
        assert!(limits.users().sessions.is_empty());
        assert!(limits.users().sessions.capacity() <= 2 * SMALL);
    }

    #[test]
    fn zero_means_no_cap_and_keeps_nothing() {
        let limits = SessionLimits::new(0, 0);
        let places: Vec<_> =
            (0..1_000).map(|_| (limits.admit().unwrap(), limits.identify(&user("1")).unwrap())).collect();
        assert!(limits.users().sessions.is_empty());
        drop(places);
    }
}
