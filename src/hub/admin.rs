//! The hubs of the process. Lists sessions for operators, on the hubs' threads and between deliveries, at little cost.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, AsyncContext as _, Context, Handler, Message, MessageResult};
use actix_rt::time::timeout;
use futures_util::future::{join_all, try_join_all};
use parking_lot::Mutex;

use super::actor::{Hub, HubLimits};
use super::control::ApplyCommand;
use super::drain::{self, DrainSchedule};
use super::messages::{Drain, HubCheck, ListSessions, MAX_CHANNELS_LISTED, SessionList, SessionSummary};
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

    /// Lists the sessions on all threads in the order of their ids. Describes at most `query.limit` of them.
    ///
    /// # Errors
    /// A hub did not answer within `deadline`.
    pub async fn sessions(&self, query: ListSessions, deadline: Duration) -> Result<SessionList, HubTimeout> {
        let limit = query.limit;
        let mut all = SessionList::default();
        for list in self.query(query, deadline).await? {
            all.total += list.total;
            all.later += list.later;
            all.sessions.extend(list.sessions);
        }
        all.sessions.sort_unstable_by_key(|summary| summary.session);
        all.sessions.truncate(limit);
        Ok(all)
    }

    /// Applies a command to the sessions on all threads. Returns the number of affected sessions.
    ///
    /// # Errors
    /// A hub did not answer within `deadline`. It still applies the command.
    pub async fn apply(&self, command: ApplyCommand, deadline: Duration) -> Result<usize, HubTimeout> {
        Ok(self.query(command, deadline).await?.into_iter().sum())
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
        let mut list = SessionList::default();
        // The greatest chosen id is on top.
        let mut chosen =
            BinaryHeap::with_capacity(query.limit.saturating_add(1).min(self.core.sessions().len()));
        let mut choose = |(session, key): (SessionId, SessionKey)| {
            list.total += 1;
            if query.after.is_some_and(|after| session <= after) {
                return;
            }
            list.later += 1;
            if chosen.len() < query.limit || chosen.peek().is_some_and(|(last, _)| session < *last) {
                chosen.push((session, key));
                if chosen.len() > query.limit {
                    chosen.pop();
                }
            }
        };
        let is_listed = |key: &SessionKey| self.connected(*key).is_some();
        match (&query.user, &query.channel) {
            (None, None) => self.core.sessions().filter(|(_, key)| is_listed(key)).for_each(&mut choose),
            (user, channel) => {
                let mut keys = match user {
                    Some(user) => registry.sessions_of(user),
                    None => {
                        channel.as_ref().map(|channel| registry.subscribers_of(channel)).unwrap_or_default()
                    }
                };
                keys.retain(|key| {
                    is_listed(key)
                        && channel.as_ref().is_none_or(|channel| registry.is_subscribed(*key, channel))
                });
                self.with_ids(&keys).for_each(&mut choose);
            }
        }
        let chosen = chosen.into_sorted_vec();
        list.sessions = chosen.into_iter().filter_map(|entry| self.summary(entry, query.now)).collect();
        MessageResult(list)
    }
}

impl Hub {
    /// Finds the ids of sessions by their keys, which must be sorted. A search saves the memory of an id in every
    /// session.
    fn with_ids(&self, keys: &[SessionKey]) -> impl Iterator<Item = (SessionId, SessionKey)> {
        // `take` ends the search with the last key; without keys there is none.
        let all = self.core.sessions();
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
