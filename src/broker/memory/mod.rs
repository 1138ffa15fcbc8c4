//! The broker inside one process. It delivers a publication before `publish` returns.
//!
//! - `control`: commands to this process.
//! - `history`: the stored messages and the idempotency keys.
//! - `inbox`: the messages of clients for the backend.
//! - `presence`: the names of one kind that are not away, such as all users, and their edges.
//! - `rooms`: users, channels in use, and rooms.

mod control;
mod history;
mod inbox;
mod presence;
mod rooms;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::value::RawValue;

use super::collection::Collection;
use super::inbox::check_message;
use super::link::{HubSet, Inboxes, count_channel};
use super::recovery::{NotRecovered, Recovered, RecoveryLimits};
use super::types::check_request;
use super::{
    BrokerCallId, ChannelInUse, ChannelsPage, ControlCommand, ControlError, ControlOutcome, Cut, EntryId,
    Health, HistoryOptions, HistoryPageRequest, HistoryRange, HistoryReadError, HistoryRequest, HubEvent,
    HubId, Inbox, InboxMessage, InboxPage, InboxSendError, LocalReport, PresenceError, PresenceOptions,
    PublishError, PublishOutcome, PublishRequest, Published, ReadId, RoomMembers, SubscribeAck,
};
use crate::metrics::{HistoryReadKind, Metrics, SignalResult};
use protocol::channel::ChannelName;
use protocol::payload_limits::PayloadLimits;
use protocol::position::Position;
use protocol::presence::UserPresence;
use protocol::publication::Publication;
use protocol::signal::Signal;

use control::MemoryControl;
use history::{KeyReused, MemoryHistory};
use inbox::MemoryInbox;
use presence::Edge;
use rooms::{MemoryPresence, PresenceOutput};

/// The longest time between two settlements. A user without a grace is away after this time at most, and an event of a
/// room waits at most so much longer than it has to.
const SETTLE_INTERVAL: Duration = Duration::from_millis(250);

/// A handle to the memory broker; clones share it.
#[derive(Clone)]
pub struct MemoryBroker {
    shared: Arc<MemoryShared>,
}

struct MemoryShared {
    state: Mutex<MemoryState>,
    metrics: Metrics,
    limits: PayloadLimits,
    control: MemoryControl,
    stopped: AtomicBool,
}

/// The state under the broker's lock. The lock is held while a publication is offered to hubs, so all hubs see
/// publications in one order, whichever thread publishes.
struct MemoryState {
    inboxes: Inboxes,
    channels: HashMap<ChannelName, HubSet>,
    history: MemoryHistory,
    inbox: MemoryInbox,
    /// `None` while presence is off.
    presence: Option<MemoryPresence>,
}

impl MemoryBroker {
    pub(super) fn new(
        limits: PayloadLimits,
        history: HistoryOptions,
        presence: Option<PresenceOptions>,
        revocation_ttl: Duration,
        metrics: &Metrics,
    ) -> Self {
        metrics.redis_link_up.set(1);
        metrics.history_available.set(1);
        metrics.limits.inbox_entries.set(history.inbox.max_entries as i64);
        let inbox = MemoryInbox::new(&history);
        let history = MemoryHistory::new(history, now_ms());
        let state = MemoryState {
            inboxes: Inboxes::new(Vec::new(), metrics),
            channels: HashMap::new(),
            history,
            inbox,
            presence: presence.map(MemoryPresence::new),
        };
        Self {
            shared: Arc::new(MemoryShared {
                state: Mutex::new(state),
                metrics: metrics.clone(),
                limits,
                control: MemoryControl::new(revocation_ttl),
                stopped: AtomicBool::new(false),
            }),
        }
    }

    pub(super) fn attach(&self, inbox: Arc<dyn Inbox>) -> HubId {
        let inboxes = &mut self.shared.state.lock().inboxes;
        let hub = inboxes.add(inbox);
        inboxes.notify(hub, HubEvent::Link { is_up: true });
        hub
    }

    pub(super) fn subscribe(&self, hub: HubId, call: BrokerCallId, channels: Vec<ChannelName>) {
        // The lock keeps publications out while the positions are read.
        let mut state = self.shared.state.lock();
        let now_ms = now_ms();
        let mut answers = Vec::with_capacity(channels.len());
        for channel in channels {
            let hubs = state.channels.entry(channel.clone()).or_insert_with(HubSet::none);
            if hubs.is_empty() {
                count_channel(&self.shared.metrics, &channel, 1);
            }
            hubs.add(hub);
            let tail = state.history.tail(&channel, now_ms).unwrap_or_else(|| Position::before(now_ms));
            answers.push(SubscribeAck { channel, call, cut: Cut::At(tail) });
        }
        state.inboxes.notify(hub, HubEvent::Subscribed(answers));
    }

    pub(super) fn unsubscribe(&self, hub: HubId, channels: &[ChannelName]) {
        let mut state = self.shared.state.lock();
        for channel in channels {
            let Some(hubs) = state.channels.get_mut(channel) else { continue };
            if hubs.remove(hub) && hubs.is_empty() {
                state.channels.remove(channel);
                count_channel(&self.shared.metrics, channel, -1);
            }
        }
    }

    pub(super) fn read(&self, hub: HubId, request: HistoryRequest) {
        let mut state = self.shared.state.lock();
        let read = request.read;
        let outcome = collect(&mut state.history, &request.channel, request.range, request.limits);
        state.inboxes.notify(hub, HubEvent::HistoryRead { read, outcome });
    }

    pub(super) fn history(&self, request: HistoryPageRequest) -> Result<Recovered, HistoryReadError> {
        if self.is_stopped() {
            return Err(HistoryReadError::Unavailable);
        }
        let HistoryPageRequest { channel, range, limit, max_bytes } = request;
        let limits = RecoveryLimits { messages: limit, bytes: max_bytes };
        let mut state = self.shared.state.lock();
        let page = collect(&mut state.history, &channel, HistoryRange::Page(range), limits);
        Metrics::count(&self.shared.metrics.history_reads, HistoryReadKind::Page);
        page.map_err(|_| HistoryReadError::Unreadable)
    }

    pub(super) fn publish(&self, request: &PublishRequest<'_>) -> PublishOutcome {
        if self.is_stopped() {
            return Err(PublishError::Unavailable);
        }
        check_request(request, self.shared.limits)?;
        let channel = request.channel;
        let message: Arc<RawValue> = request.message.to_owned().into();
        let mut state = self.shared.state.lock();
        let Some(idempotency_key) = request.durable else {
            let replicas = state.channels.contains_key(channel).into();
            self.deliver(&state, Publication::new(channel.clone(), None, message));
            return Ok(Published::Plainly { replicas });
        };
        let is_away = match &state.presence {
            _ if !request.push => None,
            None => return Err(PublishError::PresenceDisabled),
            Some(presence) => Some(presence.users.replicas_of(channel).unwrap_or(0) == 0),
        };
        let appended = state.history.append(channel, Arc::clone(&message), idempotency_key, now_ms());
        let appended = appended.map_err(|KeyReused| PublishError::KeyReused)?;
        let position = appended.position;
        if !appended.is_repeated {
            self.deliver(&state, Publication::new(channel.clone(), Some(position), message));
        }
        let Some(is_away) = is_away else { return Ok(Published::Durably(position)) };
        if appended.is_repeated {
            return Ok(Published::WithPush { position, is_pushed: appended.was_pushed });
        }
        if let Some(key) = idempotency_key.filter(|_| is_away) {
            state.history.mark_pushed(channel, key);
        }
        Ok(Published::WithPush { position, is_pushed: is_away })
    }

    pub(super) fn report(&self, hub: HubId, report: LocalReport) {
        let mut state = self.shared.state.lock();
        let Some(presence) = &mut state.presence else { return };
        let output = presence.report(hub, report, Instant::now());
        self.publish_presence(&state, output);
    }

    /// 1 for a user with a session, 0 within the grace, `None` for a user that is away.
    ///
    /// # Errors
    /// Presence is off.
    pub(super) fn online(&self, users: &[ChannelName]) -> Result<Vec<Option<u32>>, PresenceError> {
        self.read_presence_state(|presence| {
            Ok(users.iter().map(|user| presence.users.replicas_of(user)).collect())
        })
    }

    /// Answers at once. The lock keeps edges out, so every later edge follows the answer.
    pub(super) fn read_presence(&self, hub: HubId, read: ReadId, channel: &ChannelName) {
        let state = self.shared.state.lock();
        let user = channel.watched_user().and_then(|user| ChannelName::of_user(user).ok());
        let presence =
            state.presence.as_ref().zip(user).map(|(presence, user)| {
                UserPresence::new(presence.users.replicas_of(&user).is_some(), now_ms())
            });
        let channel = channel.clone();
        state.inboxes.notify(hub, HubEvent::PresenceRead { read, channel, presence });
    }

    pub(super) fn members(
        &self,
        room: &ChannelName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RoomMembers, PresenceError> {
        self.read_presence_state(|presence| presence.members_page(room, after, limit))
    }

    pub(super) fn channels(
        &self,
        namespace: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ChannelsPage, PresenceError> {
        self.read_presence_state(|presence| presence.channels_page(namespace, after, limit))
    }

    pub(super) fn channel(&self, channel: &ChannelName) -> Result<Option<ChannelInUse>, PresenceError> {
        self.read_presence_state(|presence| presence.channel(channel))
    }

    fn read_presence_state<T>(
        &self,
        read: impl FnOnce(&MemoryPresence) -> Result<T, PresenceError>,
    ) -> Result<T, PresenceError> {
        read(self.shared.state.lock().presence.as_ref().ok_or(PresenceError::Disabled)?)
    }

    /// Publishes the edges of users whose grace has ended, and offers the events of rooms. Returns the time until the
    /// next call is due; `None` if no more calls are needed, because presence is off or the broker is stopped.
    pub fn settle_presence(&self) -> Option<Duration> {
        if self.is_stopped() {
            return None;
        }
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        let presence = state.presence.as_mut()?;
        let output = presence.settle(now);
        let due = presence.next_due().map_or(SETTLE_INTERVAL, |due| due.saturating_duration_since(now));
        self.publish_presence(&state, output);
        Some(due.min(SETTLE_INTERVAL))
    }

    fn publish_presence(&self, state: &MemoryState, output: PresenceOutput) {
        output.edges.iter().for_each(|edge| self.publish_edge(state, edge));
        for (hubs, event) in output.events {
            hubs.into_iter().for_each(|hub| state.inboxes.notify(hub, event.clone()));
        }
    }

    /// Publishes an edge as a plain message on `online:<user>`.
    fn publish_edge(&self, state: &MemoryState, edge: &Edge<ChannelName>) {
        // A user id may be too long for this channel. Then no session can subscribe to the channel either.
        let channel = edge.name.user_id().and_then(|id| ChannelName::parse(&format!("online:{id}")).ok());
        let text = format!(r#"{{"online":{},"at":{}}}"#, edge.is_present, now_ms());
        if let (Some(channel), Ok(message)) = (channel, RawValue::from_string(text))
            && !self.is_stopped()
        {
            self.deliver(state, Publication::new(channel, None, message.into()));
        }
    }

    pub(super) fn signal(&self, signal: &Arc<Signal>) {
        if self.is_stopped() {
            return Metrics::count(&self.shared.metrics.signals, SignalResult::LinkDown);
        }
        if self.shared.limits.check_text(signal.signal().get()).is_err() {
            return Metrics::count(&self.shared.metrics.signals, SignalResult::TooDeep);
        }
        Metrics::count(&self.shared.metrics.signals, SignalResult::Published);
        let state = self.shared.state.lock();
        match state.channels.get(signal.channel()) {
            Some(hubs) => state.inboxes.offer_signal(hubs, signal),
            None => Metrics::count(&self.shared.metrics.signals, SignalResult::UnknownChannel),
        }
    }

    fn deliver(&self, state: &MemoryState, publication: Publication) {
        self.shared.metrics.publications_received.inc();
        if let Some(hubs) = state.channels.get(publication.channel()) {
            state.inboxes.offer(hubs, &Arc::new(publication.received_at(Some(Instant::now()))));
        }
    }

    pub(super) fn send(&self, message: &InboxMessage<'_>) -> Result<(), InboxSendError> {
        if self.is_stopped() {
            return Err(InboxSendError::Unavailable);
        }
        check_message(message, self.shared.limits)?;
        let mut state = self.shared.state.lock();
        let outcome = state.inbox.push(message, now_ms());
        self.count_inbox(&state);
        outcome
    }

    pub(super) fn inbox(&self, after: Option<EntryId>, limit: usize) -> InboxPage {
        self.shared.state.lock().inbox.page(after, limit)
    }

    pub(super) fn delete_inbox(&self, through: EntryId) -> u64 {
        let mut state = self.shared.state.lock();
        let deleted = state.inbox.delete(through);
        self.count_inbox(&state);
        deleted as u64
    }

    fn count_inbox(&self, state: &MemoryState) {
        self.shared.metrics.inbox_entries.set(state.inbox.len() as i64);
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.shared.state.lock().inbox.note().into_iter().collect()
    }

    pub(in crate::broker) fn control(&self) -> &MemoryControl {
        &self.shared.control
    }

    pub(super) async fn issue(
        &self,
        command: &ControlCommand,
        deadline: Duration,
    ) -> Result<ControlOutcome, ControlError> {
        if self.is_stopped() {
            return Err(ControlError::Unavailable);
        }
        self.shared.control.issue(command, deadline).await
    }

    pub(super) fn health(&self) -> Health {
        if self.is_stopped() {
            let reasons = vec!["memory: the broker is stopped".into()];
            return Health { is_ready: false, state: "stopped", reasons };
        }
        Health { is_ready: true, state: "ready", reasons: Vec::new() }
    }

    pub(super) fn shutdown(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.metrics.redis_link_up.set(0);
    }

    fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }
}

/// Reads the messages of a range.
fn collect(
    history: &mut MemoryHistory,
    channel: &ChannelName,
    range: HistoryRange,
    limits: RecoveryLimits,
) -> Result<Recovered, NotRecovered> {
    let mut collection = Collection::new(range, limits)?;
    loop {
        // Reading costs no copy of a message, so its length does not matter.
        let (range, entries) = collection.next_read(1);
        if collection.add_page(&history.page(channel, range, entries, now_ms()))? {
            return Ok(collection.finish());
        }
    }
}

/// The Unix time in milliseconds; 0 before 1970.
fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A u64 holds the milliseconds of 500 million years.
    since_epoch.as_millis() as u64
}

#[cfg(test)]
mod tests;
