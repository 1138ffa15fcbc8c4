//! Who is here, for operators, and ending sessions by their word. Deliveries pay nothing for it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use actix::dev::ToEnvelope;
use actix::{Actor, Context, Handler, Message, MessageResult};
use actix_rt::time::timeout;
use futures_util::future::try_join_all;

use super::messages::{
    Disconnect, ListSessions, MAX_CHANNELS_LISTED, SessionEvent, SessionList, SessionSummary,
};
use super::{Connected, Hub, Hubs, Slot, tell};
use protocol::SessionId;

/// When a session was opened, in tenths of a second since its hub was started: four bytes hold 13 years, in the place
/// of a longer time that every session would have to keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened(u32);

impl Opened {
    const TENTH: Duration = Duration::from_millis(100);

    pub(super) fn new(at: Instant, started: Instant) -> Self {
        let tenths = at.saturating_duration_since(started).as_millis() / Self::TENTH.as_millis();
        Self(u32::try_from(tenths).unwrap_or(u32::MAX))
    }

    fn age(self, started: Instant, now: Instant) -> Duration {
        now.saturating_duration_since(started).saturating_sub(Self::TENTH * self.0)
    }
}

/// A hub has not answered in time: its thread is busy, or stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker did not answer in time")]
pub struct HubSilent;

impl Hubs {
    /// Who is here, on all threads: no more than `query.limit` are described, the youngest first.
    ///
    /// # Errors
    /// One of the hubs did not answer within `deadline`.
    pub async fn sessions(&self, query: ListSessions, deadline: Duration) -> Result<SessionList, HubSilent> {
        let limit = query.limit;
        let mut all = SessionList::default();
        for list in self.ask(query, deadline).await? {
            all.total += list.total;
            all.sessions.extend(list.sessions);
        }
        all.sessions.sort_by_key(|summary| (summary.age, summary.session));
        all.sessions.truncate(limit);
        Ok(all)
    }

    /// Ends sessions with 4010. Returns how many there were.
    ///
    /// # Errors
    /// One of the hubs did not answer within `deadline`. Others may have ended theirs.
    pub async fn disconnect(&self, whom: Disconnect, deadline: Duration) -> Result<usize, HubSilent> {
        Ok(self.ask(whom, deadline).await?.into_iter().sum())
    }

    /// Asks every hub. A question whose asker has given up is not answered any more.
    async fn ask<M>(&self, question: M, deadline: Duration) -> Result<Vec<M::Result>, HubSilent>
    where
        M: Message<Result: Send> + Clone + Send + 'static,
        Hub: Handler<M>,
        <Hub as Actor>::Context: ToEnvelope<Hub, M>,
    {
        let hubs = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answers = try_join_all(hubs.iter().map(|hub| hub.send(question.clone())));
        timeout(deadline, answers).await.map_err(|_| HubSilent)?.map_err(|_| HubSilent)
    }
}

impl Handler<ListSessions> for Hub {
    type Result = MessageResult<ListSessions>;

    fn handle(&mut self, query: ListSessions, _: &mut Context<Self>) -> Self::Result {
        let (total, chosen): (_, Vec<_>) = match &query.user {
            None => (self.sessions.len(), self.sessions.iter().take(query.limit).collect()),
            Some(user) => {
                let slots = self.registry.sessions_of(user);
                (slots.len(), self.at(&slots).take(query.limit).collect())
            }
        };
        let sessions = chosen.into_iter().filter_map(|entry| self.summary(entry, query.now)).collect();
        MessageResult(SessionList { total, sessions })
    }
}

impl Handler<Disconnect> for Hub {
    type Result = usize;

    fn handle(&mut self, whom: Disconnect, _: &mut Context<Self>) -> usize {
        let ended: Vec<&Connected> = match &whom {
            Disconnect::Session(session) => self.sessions.get(session).into_iter().collect(),
            Disconnect::User(user) => {
                self.at(&self.registry.sessions_of(user)).map(|(_, connected)| connected).collect()
            }
        };
        for connected in &ended {
            tell(&connected.recipient, SessionEvent::Disconnect);
        }
        ended.len()
    }
}

impl Hub {
    /// The sessions at these places, which are sorted. The way back from a place to its session is a search, so that
    /// no session has to keep it.
    fn at(&self, slots: &[Slot]) -> impl Iterator<Item = (&SessionId, &Connected)> {
        let searched = if slots.is_empty() { 0 } else { usize::MAX };
        self.sessions
            .iter()
            .take(searched)
            .filter(move |(_, connected)| slots.binary_search(&connected.slot).is_ok())
            .take(slots.len())
    }

    fn summary(
        &self,
        (session, connected): (&SessionId, &Connected),
        now: Instant,
    ) -> Option<SessionSummary> {
        let (outbox, version) = self.registry.line(connected.slot)?;
        let channels = self.registry.channels_of(connected.slot);
        Some(SessionSummary {
            session: *session,
            user: self.registry.user(connected.slot).cloned(),
            version,
            subscriptions: channels.len(),
            channels: channels.take(MAX_CHANNELS_LISTED).cloned().collect(),
            age: connected.opened.age(self.started, now),
            queued_bytes: outbox.queued_bytes(),
            address: outbox.client(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_true_to_a_tenth_of_a_second() {
        let started = Instant::now();
        let at = |ms| started + Duration::from_millis(ms);
        for (opened, now, age) in [(0, 0, 0), (1_250, 1_250, 50), (1_250, 61_200, 60_000), (500, 400, 0)] {
            assert_eq!(Opened::new(at(opened), started).age(started, at(now)).as_millis(), age);
        }
    }
}
