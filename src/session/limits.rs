//! Limits the sessions and tokens of one user, and the sessions that have not identified.
//!
//! Each session holds a permit, which is released when it is dropped. The counts belong to the process, because
//! a user's sessions are spread over its threads. Identifying is rare compared with deliveries, so one short lock
//! is enough.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::socket::client_prefix::ClientPrefix;
use crate::socket::key_counts::KeyCounts;
use protocol::budget::Budgets;
use protocol::channel::ChannelName;

#[cfg(test)]
mod tests;

/// The period of both rates.
const MINUTE: Duration = Duration::from_secs(60);

/// The caps of a process; 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionCaps {
    /// Sessions that have not identified.
    pub unidentified: u32,
    /// Those of one client address.
    pub unidentified_per_address: u32,
    /// Sessions of one user.
    pub sessions_per_user: u32,
    /// Identifies and Refreshes of one user in a minute.
    pub identifies_per_minute_per_user: u32,
    /// Identifies of one client address in a minute that do not become sessions.
    pub failed_identifies_per_minute_per_address: u32,
}

/// The caps and counts of all sessions of the process. Cloning shares.
#[derive(Debug, Clone)]
pub struct SessionLimits(Arc<LimitsState>);

#[derive(Debug)]
struct LimitsState {
    caps: SessionCaps,
    unidentified: AtomicU32,
    addresses: Mutex<Addresses>,
    users: Mutex<Users>,
}

/// What is counted for client addresses.
#[derive(Debug)]
struct Addresses {
    unidentified: KeyCounts<ClientPrefix>,
    failures: Budgets<ClientPrefix>,
}

/// Why a request does not become a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdmitRefusal {
    /// Too many sessions of its address have not identified.
    Address,
    /// Too many sessions of all addresses have not identified.
    All,
}

/// Why a user gets no further session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdentifyRefusal {
    /// It has as many sessions as it may.
    Sessions,
    /// Too many of its tokens were checked within a minute.
    Rate,
}

/// The permit of a session that has not identified. Dropping it releases it.
#[derive(Debug)]
pub struct UnidentifiedPermit {
    limits: SessionLimits,
    /// The address that it counts for. Boxed, because every session has room for its permit, and few are unidentified.
    client: Option<Box<ClientPrefix>>,
}

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
    /// No sessions yet, and these caps.
    pub fn new(caps: SessionCaps) -> Self {
        let addresses = Addresses {
            unidentified: KeyCounts::default(),
            failures: Budgets::new(caps.failed_identifies_per_minute_per_address, MINUTE),
        };
        let users = Users {
            cap: caps.sessions_per_user,
            sessions: KeyCounts::default(),
            tokens: Budgets::new(caps.identifies_per_minute_per_user, MINUTE),
        };
        Self(Arc::new(LimitsState {
            caps,
            unidentified: AtomicU32::new(0),
            addresses: Mutex::new(addresses),
            users: Mutex::new(users),
        }))
    }

    /// A permit for a new session of this client, unless a cap on unidentified ones is reached.
    pub(super) fn admit(&self, client: Option<ClientPrefix>) -> Result<UnidentifiedPermit, AdmitRefusal> {
        let caps = &self.0.caps;
        let before = self.0.unidentified.fetch_add(1, Ordering::Relaxed);
        // Over a cap the permit is dropped at once, which releases its counts.
        let mut permit = UnidentifiedPermit { limits: self.clone(), client: None };
        if let Some(client) = client.filter(|_| caps.unidentified_per_address != 0) {
            let unidentified = &mut self.addresses().unidentified;
            if !unidentified.has_room(&client, caps.unidentified_per_address) {
                return Err(AdmitRefusal::Address);
            }
            unidentified.add(client);
            permit.client = Some(Box::new(client));
        }
        if caps.unidentified != 0 && before >= caps.unidentified {
            return Err(AdmitRefusal::All);
        }
        Ok(permit)
    }

    /// Whether a token of this client may be verified: not if too many of its address have failed.
    pub(super) fn may_identify(&self, client: Option<ClientPrefix>, now: Instant) -> bool {
        client.is_none_or(|client| self.addresses().failures.has_token(&client, now))
    }

    /// An Identify of this client did not become a session.
    pub(super) fn note_failure(&self, client: Option<ClientPrefix>, now: Instant) {
        if let Some(client) = client {
            self.addresses().failures.try_acquire(client, now);
        }
    }

    /// A permit for one more session of the user with this channel, unless a cap of the user is reached.
    pub(super) fn identify(
        &self,
        user: &ChannelName,
        now: Instant,
    ) -> Result<UserSessionPermit, IdentifyRefusal> {
        self.users().acquire(user, now)?;
        Ok(UserSessionPermit { limits: self.clone(), user: user.clone() })
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        // No change can panic half-way.
        self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        // No change can panic half-way.
        self.0.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnidentifiedPermit {
    /// The limits that gave the permit.
    pub(super) fn limits(&self) -> &SessionLimits {
        &self.limits
    }
}

impl Drop for UnidentifiedPermit {
    fn drop(&mut self) {
        self.limits.0.unidentified.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = self.client.take() {
            self.limits.addresses().unidentified.remove(&client);
        }
    }
}

impl UserSessionPermit {
    /// The user's id.
    pub(super) fn user(&self) -> &str {
        self.user.user_id().unwrap_or_default()
    }

    /// Whether one more token of the user may be verified. Counts it.
    pub(super) fn may_refresh(&self, now: Instant) -> bool {
        self.limits.users().tokens.try_acquire(self.user.clone(), now)
    }
}

impl Drop for UserSessionPermit {
    fn drop(&mut self) {
        self.limits.users().sessions.remove(&self.user);
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

/// How many sessions each user has, and how many of its tokens were checked. With caps of 0 it stays empty.
#[derive(Debug)]
struct Users {
    cap: u32,
    sessions: KeyCounts<ChannelName>,
    /// Outlives the sessions, so that a user with short-lived sessions stays limited.
    tokens: Budgets<ChannelName>,
}

impl Users {
    fn acquire(&mut self, user: &ChannelName, now: Instant) -> Result<(), IdentifyRefusal> {
        if self.cap != 0 && !self.sessions.has_room(user, self.cap) {
            return Err(IdentifyRefusal::Sessions);
        }
        // Last, so that a device that keeps retrying over the cap does not use up the rate of the user's other devices.
        if !self.tokens.try_acquire(user.clone(), now) {
            return Err(IdentifyRefusal::Rate);
        }
        if self.cap != 0 {
            self.sessions.add(user.clone());
        }
        Ok(())
    }
}
