//! Lists and ends sessions for operators. Runs on the hubs' threads, between deliveries, and costs them little.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, AsyncContext as _, Context, Handler, Message, MessageResult};
use actix_rt::time::timeout;
use futures_util::future::{join_all, try_join_all};
use parking_lot::Mutex;

use super::actor::{Hub, HubLimits};
use super::drain::{self, DrainSchedule};
use super::messages::{
    Disconnect, Drain, HubCheck, ListSessions, MAX_CHANNELS_LISTED, SessionEvent, SessionList, SessionSummary,
};
use super::registry::SessionKey;
use crate::broker::Broker;
use crate::metrics::Metrics;
use protocol::SessionId;

/// The hubs of the process. Clones share one list.
#[derive(Debug, Clone, Default)]
pub struct Hubs(Arc<Mutex<Vec<Addr<Hub>>>>);

/// A hub did not answer in time, because its thread is busy or blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker did not answer in time")]
pub struct HubTimeout;

impl Hubs {
    /// Starts a hub on this thread, which must be an actix worker.
    pub fn start_here(&self, broker: &Broker, limits: HubLimits, metrics: &Metrics) -> Addr<Hub> {
        let hub = Hub::create(|context| Hub::new(context, broker.clone(), limits, metrics));
        self.0.lock().push(hub.clone());
        hub
    }

    /// Drains the sessions of every hub. Does not wait for the end.
    pub fn drain(&self, drain: Drain) {
        for hub in self.0.lock().iter() {
            hub.do_send(drain);
        }
    }

    /// Lists the sessions on all threads, newest first. Describes at most `query.limit` of them, an arbitrary selection
    /// if more match.
    ///
    /// # Errors
    /// A hub did not answer within `deadline`.
    pub async fn sessions(&self, query: ListSessions, deadline: Duration) -> Result<SessionList, HubTimeout> {
        let limit = query.limit;
        let mut all = SessionList::default();
        for list in self.query(query, deadline).await? {
            all.total += list.total;
            all.sessions.extend(list.sessions);
        }
        all.sessions.sort_by_key(|summary| (summary.age, summary.session));
        all.sessions.truncate(limit);
        Ok(all)
    }

    /// Ends sessions with close code 4010. Returns the number of ended sessions.
    ///
    /// # Errors
    /// A hub did not answer within `deadline`. Other hubs may have ended their sessions.
    pub async fn disconnect(&self, target: Disconnect, deadline: Duration) -> Result<usize, HubTimeout> {
        Ok(self.query(target, deadline).await?.into_iter().sum())
    }

    /// Checks every hub. Returns the numbers, from 0, of the hubs that do not answer within `deadline`.
    pub async fn unresponsive(&self, deadline: Duration) -> Vec<usize> {
        let hubs = self.0.lock().clone();
        let answers = join_all(hubs.iter().map(|hub| timeout(deadline, hub.send(HubCheck)))).await;
        let is_missing = |answer: &Result<_, _>| !matches!(answer, Ok(Ok(())));
        answers.iter().enumerate().filter(|(_, answer)| is_missing(answer)).map(|(hub, _)| hub).collect()
    }

    /// Sends a message to every hub and waits for all answers.
    async fn query<M>(&self, message: M, deadline: Duration) -> Result<Vec<M::Result>, HubTimeout>
    where
        M: Message<Result: Send> + Clone + Send + 'static,
        Hub: Handler<M>,
        <Hub as Actor>::Context: ToEnvelope<Hub, M>,
    {
        let hubs = self.0.lock().clone();
        let answers = try_join_all(hubs.iter().map(|hub| hub.send(message.clone())));
        timeout(deadline, answers).await.map_err(|_| HubTimeout)?.map_err(|_| HubTimeout)
    }
}

impl Handler<HubCheck> for Hub {
    type Result = ();

    fn handle(&mut self, _: HubCheck, _: &mut Context<Self>) {}
}

impl Handler<ListSessions> for Hub {
    type Result = MessageResult<ListSessions>;

    fn handle(&mut self, query: ListSessions, _: &mut Context<Self>) -> Self::Result {
        let registry = self.core.registry();
        let (total, chosen): (_, Vec<_>) = match &query.user {
            None => (registry.session_count(), self.core.sessions().take(query.limit).collect()),
            Some(user) => {
                let sessions = registry.sessions_of(user);
                (sessions.len(), self.with_ids(&sessions).take(query.limit).collect())
            }
        };
        let sessions = chosen.into_iter().filter_map(|entry| self.summary(entry, query.now)).collect();
        MessageResult(SessionList { total, sessions })
    }
}

impl Handler<Disconnect> for Hub {
    type Result = usize;

    fn handle(&mut self, target: Disconnect, _: &mut Context<Self>) -> usize {
        let ended: Vec<SessionKey> = match &target {
            Disconnect::Session(session) => self.core.key(*session).into_iter().collect(),
            Disconnect::User(user) => self.core.registry().sessions_of(user),
        };
        ended.iter().for_each(|session| self.notify(*session, SessionEvent::Disconnect(None)));
        ended.len()
    }
}

impl Hub {
    /// Finds the ids of sessions by their keys, which must be sorted. A search saves the memory of an id in every
    /// session.
    fn with_ids(&self, keys: &[SessionKey]) -> impl Iterator<Item = (SessionId, SessionKey)> {
        let searched = if keys.is_empty() { 0 } else { usize::MAX };
        let all = self.core.sessions().take(searched);
        all.filter(move |(_, key)| keys.binary_search(key).is_ok()).take(keys.len())
    }

    fn summary(&self, (session, key): (SessionId, SessionKey), now: Instant) -> Option<SessionSummary> {
        let registry = self.core.registry();
        let (outbox, version) = registry.sink(key)?;
        let channels = registry.channels_of(key);
        Some(SessionSummary {
            session,
            user: registry.user_channel(key).cloned(),
            version,
            subscriptions: channels.len(),
            channels: channels.take(MAX_CHANNELS_LISTED).cloned().collect(),
            age: self.connected(key)?.opened.age(self.started, now),
            queued_bytes: outbox.queued_bytes(),
            address: outbox.client(),
        })
    }
}

impl Handler<Drain> for Hub {
    type Result = ();

    fn handle(&mut self, Drain { window }: Drain, context: &mut Context<Self>) {
        if self.draining.is_none() {
            self.draining =
                Some(DrainSchedule::new(self.core.sessions().map(|(session, _)| session).collect(), window));
            self.drain_batch();
            context.run_interval(drain::STEP_INTERVAL, |hub, _| hub.drain_batch());
        }
    }
}

impl Hub {
    fn drain_batch(&mut self) {
        let Some(draining) = &mut self.draining else { return };
        for session in draining.next_batch() {
            if let Some(session) = self.core.key(session) {
                self.notify(session, DrainSchedule::event());
            }
        }
    }
}
