//! Limits the sessions and tokens of each user, and the sessions that have not identified.
//!
//! Each session holds a permit; dropping the permit releases its counts. All threads share the counts, because a user's
//! sessions are spread over the threads. Identifying is rare compared with deliveries, so plain locks are enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::socket::client_prefix::ClientPrefix;
use crate::socket::key_counts::KeyCounts;
use protocol::budget::Budgets;
use protocol::channel::ChannelName;

#[cfg(test)]
mod tests;

/// The period of both rates.
const MINUTE: Duration = Duration::from_secs(60);

/// The caps of a process; 0 means no cap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionCaps {
    /// Sessions that have not identified.
    pub unidentified: u32,
    /// Sessions of one client address that have not identified.
    pub unidentified_per_address: u32,
    /// Sessions of one user.
    pub sessions_per_user: u32,
    /// Identifies and Refreshes of one user in a minute.
    pub identifies_per_minute_per_user: u32,
    /// Failed Identifies of one client address in a minute.
    pub failed_identifies_per_minute_per_address: u32,
}

/// The caps and counts of all sessions of the process. Clones share them.
#[derive(Debug, Clone)]
pub struct SessionLimits(Arc<LimitsState>);

#[derive(Debug)]
struct LimitsState {
    caps: SessionCaps,
    unidentified: AtomicU32,
    addresses: Mutex<AddressCounts>,
    users: Mutex<UserCounts>,
}

/// The counts by client address.
#[derive(Debug)]
struct AddressCounts {
    unidentified: KeyCounts<ClientPrefix>,
    failures: Budgets<ClientPrefix>,
}

/// Why a request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdmitRefusal {
    /// Too many sessions of the client's address have not identified.
    Address,
    /// Too many sessions of all addresses have not identified.
    Total,
}

/// Why a user gets no more sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdentifyRefusal {
    /// The user has as many sessions as its cap.
    Sessions,
    /// Too many tokens of the user were verified within a minute.
    Rate,
}

/// The permit of a session that has not identified. Dropping it releases its counts.
#[derive(Debug)]
pub struct UnidentifiedPermit {
    limits: SessionLimits,
    /// `None` if the session does not count for an address. Boxed, because every session stores a permit, and few
    /// sessions are unidentified.
    client: Option<Box<ClientPrefix>>,
}

/// The permit of a user's session. Dropping it releases its counts.
#[derive(Debug)]
pub(super) struct UserSessionPermit {
    limits: SessionLimits,
    user: ChannelName,
}

/// The permit of a session, by the cap that the session counts under.
#[derive(Debug)]
pub(super) enum SessionPermit {
    Unidentified(UnidentifiedPermit),
    User(UserSessionPermit),
}

impl SessionLimits {
    /// Limits with these caps and no sessions.
    pub fn new(caps: SessionCaps) -> Self {
        let addresses = AddressCounts {
            unidentified: KeyCounts::default(),
            failures: Budgets::new(caps.failed_identifies_per_minute_per_address, MINUTE),
        };
        let users = UserCounts {
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

    /// A permit for a new session of this client, unless a cap on unidentified sessions is reached.
    pub(super) fn admit(&self, client: Option<ClientPrefix>) -> Result<UnidentifiedPermit, AdmitRefusal> {
        let caps = &self.0.caps;
        let before = self.0.unidentified.fetch_add(1, Ordering::Relaxed);
        // A refusal below drops the permit, which releases the counts it holds at that point.
        let mut permit = UnidentifiedPermit { limits: self.clone(), client: None };
        if let Some(client) = client.filter(|_| caps.unidentified_per_address != 0) {
            let unidentified = &mut self.0.addresses.lock().unidentified;
            if !unidentified.has_room(&client, caps.unidentified_per_address) {
                return Err(AdmitRefusal::Address);
            }
            unidentified.add(client);
            permit.client = Some(Box::new(client));
        }
        if caps.unidentified != 0 && before >= caps.unidentified {
            return Err(AdmitRefusal::Total);
        }
        Ok(permit)
    }

    /// Whether a token of this client may be verified. False if too many tokens of its address have failed.
    pub(super) fn can_identify(&self, client: Option<ClientPrefix>, now: Instant) -> bool {
        client.is_none_or(|client| self.0.addresses.lock().failures.has_room(&client, now))
    }

    /// Counts a failed Identify of this client. It counts beyond the cap too: otherwise an address could have many tokens
    /// verified at the same time whenever one is allowed.
    pub(super) fn record_failure(&self, client: Option<ClientPrefix>, now: Instant) {
        if let Some(client) = client {
            self.0.addresses.lock().failures.charge(client, now);
        }
    }

    /// A permit for one more session of a user, unless a cap of the user is reached. `user` is the user's own channel.
    pub(super) fn acquire_session(
        &self,
        user: &ChannelName,
        now: Instant,
    ) -> Result<UserSessionPermit, IdentifyRefusal> {
        self.0.users.lock().acquire(user, now)?;
        Ok(UserSessionPermit { limits: self.clone(), user: user.clone() })
    }
}

impl UnidentifiedPermit {
    /// The limits that issued the permit.
    pub(super) fn limits(&self) -> &SessionLimits {
        &self.limits
    }
}

impl Drop for UnidentifiedPermit {
    fn drop(&mut self) {
        self.limits.0.unidentified.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = self.client.take() {
            self.limits.0.addresses.lock().unidentified.remove(&client);
        }
    }
}

impl UserSessionPermit {
    /// The id of the user.
    pub(super) fn user(&self) -> &str {
        self.user.user_id().unwrap_or_default()
    }

    /// Counts one more token of the user that is to be verified. Returns false if the user's rate is used up.
    pub(super) fn acquire_refresh(&self, now: Instant) -> bool {
        self.limits.0.users.lock().tokens.try_acquire(self.user.clone(), now)
    }
}

impl Drop for UserSessionPermit {
    fn drop(&mut self) {
        self.limits.0.users.lock().sessions.remove(&self.user);
    }
}

impl SessionPermit {
    /// The id of the user; `None` until the session has identified.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Unidentified(_) => None,
            Self::User(permit) => Some(permit.user()),
        }
    }
}

/// The counts by user. They stay empty if the caps are 0.
#[derive(Debug)]
struct UserCounts {
    cap: u32,
    sessions: KeyCounts<ChannelName>,
    /// Entries outlive the sessions, so that a user with short-lived sessions stays limited.
    tokens: Budgets<ChannelName>,
}

impl UserCounts {
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
