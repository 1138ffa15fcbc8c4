//! Who wants what: for each channel the hubs that asked for it, and whether the link carries it yet.
//!
//! This is the one lock of the delivery path. It is held for a lookup or an edit, never while anything is
//! decoded, sent or handed to a hub.

mod channels;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{HubId, Inbox};
use crate::metrics::Metrics;
use crate::protocol::channel::ChannelName;

use channels::Channels;
pub(super) use channels::{Answer, Turn};

/// Everything that hubs have asked for. Shared by their threads and the broker's.
pub(super) struct Audience {
    state: Mutex<State>,
    /// Rung when the link has something to subscribe or to unsubscribe.
    changed: Notify,
}

struct State {
    inboxes: Vec<Arc<dyn Inbox>>,
    channels: Channels,
}

impl Audience {
    /// Nobody yet, and a link that is down (the memory broker has none, so there nothing ever waits for it).
    pub(super) fn new(metrics: &Metrics) -> Self {
        let state = State { inboxes: Vec::new(), channels: Channels::new(metrics) };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Adds a hub.
    pub(super) fn attach(&self, inbox: Arc<dyn Inbox>) -> HubId {
        let mut state = self.lock();
        state.inboxes.push(inbox);
        HubId::of_index(state.inboxes.len() - 1)
    }

    /// Where a hub receives; `None` for an id of another broker.
    pub(super) fn inbox(&self, hub: HubId) -> Option<Arc<dyn Inbox>> {
        self.lock().inboxes.get(hub.index()).cloned()
    }

    /// `hub` wants these channels. `Some` when there is nothing to wait for; else the answer comes from
    /// [`turn_done`](Self::turn_done) or [`link_down`](Self::link_down).
    pub(super) fn subscribe(&self, hub: HubId, channels: Vec<ChannelName>) -> Option<Answer> {
        let answer = self.lock().channels.subscribe(hub, channels);
        if answer.is_none() {
            self.changed.notify_one();
        }
        answer
    }

    /// `hub` wants these channels no more.
    pub(super) fn unsubscribe(&self, hub: HubId, channels: &[ChannelName]) {
        self.lock().channels.unsubscribe(hub, channels);
        self.changed.notify_one();
    }

    /// Adds the inboxes of the hubs that want `channel` to `receivers`; `None` when nobody has asked for
    /// a channel of that name.
    pub(super) fn receivers(
        &self,
        channel: &str,
        receivers: &mut Vec<Arc<dyn Inbox>>,
    ) -> Option<ChannelName> {
        let state = self.lock();
        let (name, hubs) = state.channels.find(channel)?;
        receivers.extend(hubs.iter().filter_map(|hub| state.inboxes.get(hub.index()).cloned()));
        Some(name.clone())
    }

    /// The link is connected and carries nothing yet: every wanted channel is due.
    pub(super) fn link_up(&self) {
        self.lock().channels.link_up();
        self.changed.notify_one();
    }

    /// The link is lost: nobody waits for it any longer.
    pub(super) fn link_down(&self) -> Vec<Answer> {
        self.lock().channels.link_down()
    }

    /// What the link is to do next, at most `max` channels. Empty when nothing is due: then wait for
    /// [`changed`](Self::changed).
    pub(super) fn next_turn(&self, max: usize) -> Turn {
        self.lock().channels.next_turn(max)
    }

    /// The server has confirmed a turn.
    pub(super) fn turn_done(&self, turn: Turn) -> Vec<Answer> {
        self.lock().channels.turn_done(turn)
    }

    /// Returns when something may be due. An edit between two calls is not missed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Channels with at least one hub.
    pub(super) fn wanted(&self) -> usize {
        self.lock().channels.wanted()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No edit can panic half-way, so what a panicking thread leaves behind is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
