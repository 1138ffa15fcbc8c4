//! Limits the sessions of one user, and the sessions that have not identified.
//!
//! Each session holds a permit, which is released when it is dropped. The counts belong to the process, because
//! a user's sessions are spread over its threads. Identifying is rare compared with deliveries, so one short lock
//! is enough.

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

/// The permit of a session that has not identified. Dropping it releases it.
#[derive(Debug)]
pub struct UnidentifiedPermit(SessionLimits);

/// The permit of one of a user's sessions. Dropping it releases it.
#[derive(Debug)]
pub(super) struct UserSessionPermit {
    limits: SessionLimits,
    user: ChannelName,
}

/// The one permit of a session: the cap that it counts under.
#[derive(Debug)]
pub(super) enum SessionPermit {
    Unidentified(UnidentifiedPermit),
    User(UserSessionPermit),
}

impl SessionLimits {
    /// Limits with these caps on unidentified sessions, and on the sessions of one user.
    pub fn new(unidentified: u32, per_user: u32) -> Self {
        let users = Users { cap: per_user, sessions: HashMap::new() };
        Self(Arc::new(Inner {
            unidentified_cap: unidentified,
            unidentified: AtomicU32::new(0),
            users: Mutex::new(users),
        }))
    }

    /// A permit for a new session, unless the cap on unidentified ones is reached.
    pub(super) fn admit(&self) -> Option<UnidentifiedPermit> {
        let before = self.0.unidentified.fetch_add(1, Ordering::Relaxed);
        // Over the cap the permit is dropped at once, which takes it off the count.
        let permit = UnidentifiedPermit(self.clone());
        (self.0.unidentified_cap == 0 || before < self.0.unidentified_cap).then_some(permit)
    }

    /// A permit for one more session of the user with this channel, unless the user's cap is reached.
    pub(super) fn identify(&self, user: &ChannelName) -> Option<UserSessionPermit> {
        self.users().acquire(user).then(|| UserSessionPermit { limits: self.clone(), user: user.clone() })
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        // No edit can panic half-way.
        self.0.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnidentifiedPermit {
    /// The limits that gave the permit.
    pub(super) fn limits(&self) -> &SessionLimits {
        &self.0
    }
}

impl Drop for UnidentifiedPermit {
    fn drop(&mut self) {
        self.0.0.unidentified.fetch_sub(1, Ordering::Relaxed);
    }
}

impl UserSessionPermit {
    /// The user's id.
    pub(super) fn user(&self) -> &str {
        self.user.user_id().unwrap_or_default()
    }
}

impl Drop for UserSessionPermit {
    fn drop(&mut self) {
        self.limits.users().release(&self.user);
    }
}

impl SessionPermit {
    /// The user's id, once the session has identified.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Unidentified(_) => None,
            Self::User(permit) => Some(permit.user()),
        }
    }
}

/// The capacity, in entries, that an empty map may keep.
const MIN_CAPACITY: usize = 1_024;

/// How many sessions each user has. With a cap of 0 it stays empty.
#[derive(Debug, Default)]
struct Users {
    cap: u32,
    /// An entry is removed with its last session.
    sessions: HashMap<ChannelName, u32>,
}

impl Users {
    fn acquire(&mut self, user: &ChannelName) -> bool {
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

    fn release(&mut self, user: &ChannelName) {
        let Some(sessions) = self.sessions.get_mut(user) else { return };
        *sessions -= 1;
        if *sessions == 0 {
            self.sessions.remove(user);
            if self.sessions.capacity() > MIN_CAPACITY.max(8 * self.sessions.len()) {
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
    fn there_are_as_many_unidentified_sessions_as_the_cap() {
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
    fn a_user_without_a_session_takes_no_memory() {
        let limits = SessionLimits::new(0, 1);
        let permits: Vec<_> =
            (0..10_000).map(|id| limits.identify(&user(&id.to_string())).unwrap()).collect();
        drop(permits);
        assert!(limits.users().sessions.is_empty());
        assert!(limits.users().sessions.capacity() <= 2 * MIN_CAPACITY);
    }

    #[test]
    fn zero_means_no_cap_and_keeps_nothing() {
        let limits = SessionLimits::new(0, 0);
        let permits: Vec<_> =
            (0..1_000).map(|_| (limits.admit().unwrap(), limits.identify(&user("1")).unwrap())).collect();
        assert!(limits.users().sessions.is_empty());
        drop(permits);
    }
}
