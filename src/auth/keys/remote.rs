//! The key set of `auth.jwks_url`, and the tokens that wait for it. One thread fetches; every worker reads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::KeySet;
use super::schedule::FetchSchedule;
use crate::auth::PendingVerification;
use crate::auth::verification::{AnswerSender, LateRefusal};

/// The most tokens that wait for one fetch. Anyone can send an unknown `kid`.
pub(super) const MAX_WAITING: usize = 1000;

/// The latest fetched keys. Clones share them.
#[derive(Clone)]
pub(in crate::auth) struct RemoteKeys(Arc<SharedRemoteKeys>);

struct SharedRemoteKeys {
    state: Mutex<State>,
    /// Wakes the thread that fetches.
    due: Notify,
    started: Instant,
}

struct State {
    keys: Option<Arc<KeySet>>,
    schedule: FetchSchedule,
    waiting: Vec<WaitingToken>,
    failure: Option<String>,
}

/// A token whose key may be in the next fetch.
pub(in crate::auth) struct WaitingToken {
    pub(in crate::auth) token: String,
    pub(in crate::auth) answer: AnswerSender,
}

/// Whether a token waits for the next fetch.
#[derive(Debug)]
pub(in crate::auth) enum FetchWait {
    /// It waits.
    Pending(PendingVerification),
    /// No fetch is due.
    NotDue,
    /// Too many tokens wait. Its key may be in the next fetch.
    Full,
}

impl RemoteKeys {
    pub(in crate::auth) fn new(interval: Duration) -> Self {
        let state = Mutex::new(State {
            keys: None,
            schedule: FetchSchedule::new(interval),
            waiting: Vec::new(),
            failure: None,
        });
        Self(Arc::new(SharedRemoteKeys { state, due: Notify::new(), started: Instant::now() }))
    }

    /// The keys in force. `None`: no fetch has succeeded yet.
    pub(in crate::auth) fn keys(&self) -> Option<Arc<KeySet>> {
        self.0.state.lock().keys.clone()
    }

    /// Why the last fetch failed.
    pub(in crate::auth) fn failure(&self) -> Option<String> {
        self.0.state.lock().failure.clone()
    }

    /// Lets a token with an unknown key wait for the next fetch.
    pub(in crate::auth) fn wait_for_fetch(&self, token: &str, on_late_refusal: LateRefusal) -> FetchWait {
        let now = self.now();
        let mut state = self.0.state.lock();
        if !state.schedule.unknown_key(now) {
            return FetchWait::NotDue;
        }
        if state.waiting.len() >= MAX_WAITING {
            return FetchWait::Full;
        }
        let (answer, pending) = PendingVerification::new(on_late_refusal);
        state.waiting.push(WaitingToken { token: token.to_owned(), answer });
        drop(state);
        self.0.due.notify_one();
        FetchWait::Pending(pending)
    }

    /// The time until the next fetch.
    pub(in crate::auth) fn until_due(&self) -> Duration {
        let next = self.0.state.lock().schedule.next().unwrap_or(Duration::MAX);
        next.saturating_sub(self.now())
    }

    /// Resolves when a fetch may have become due.
    pub(in crate::auth) async fn woken(&self) {
        self.0.due.notified().await;
    }

    /// A fetch starts.
    pub(in crate::auth) fn started(&self) {
        self.0.state.lock().schedule.started();
    }

    /// Ends a fetch: new keys replace the old ones, and a failure leaves them in force. Returns the tokens that waited.
    pub(in crate::auth) fn ended(&self, fetched: Result<KeySet, String>) -> Vec<WaitingToken> {
        let now = self.now();
        let mut state = self.0.state.lock();
        state.schedule.ended(now, fetched.is_ok(), rand::random::<f64>());
        match fetched {
            Ok(keys) => (state.keys, state.failure) = (Some(Arc::new(keys)), None),
            Err(failure) => state.failure = Some(failure),
        }
        std::mem::take(&mut state.waiting)
    }

    /// The monotonic time since the start.
    fn now(&self) -> Duration {
        self.0.started.elapsed()
    }
}
