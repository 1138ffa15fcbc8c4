//! Who wants what: for each channel the hubs that asked for it, and whether the link carries it yet.
//!
//! This is the one lock of the delivery path. It is held for a lookup or an edit, never while anything is
//! decoded or sent. A hub that needs not wait is answered under it, so that the answer comes before whatever is
//! published next; publications are handed over without it.

mod channels;
mod continuity;
mod hubs;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{HubEvent, HubId, Inbox};
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::position::Position;
use protocol::publication::Publication;

use channels::Channels;
pub(super) use channels::{Answer, Turn};
pub(super) use continuity::{Arrival, Continuity, Progress};

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

    /// `hub` wants these channels. When there is nothing to wait for it is answered at once; else the answer
    /// comes from [`turn_done`](Self::turn_done) or [`link_down`](Self::link_down). `now` tells the place of a
    /// channel of which nothing is known yet.
    pub(super) fn subscribe(
        &self,
        hub: HubId,
        channels: Vec<ChannelName>,
        now: impl FnMut(&ChannelName) -> Position,
    ) {
        let mut state = self.lock();
        match state.channels.subscribe(hub, channels, now) {
            Some(answer) => state.tell(answer),
            None => self.changed.notify_one(),
        }
    }

    /// Tells hubs that their subscriptions are made.
    pub(super) fn tell(&self, answers: Vec<Answer>) {
        let state = self.lock();
        answers.into_iter().for_each(|answer| state.tell(answer));
    }

    /// `hub` wants these channels no more.
    pub(super) fn unsubscribe(&self, hub: HubId, channels: &[ChannelName]) {
        self.lock().channels.unsubscribe(hub, channels);
        self.changed.notify_one();
    }

    /// A publication has come, with its place if it is durable: what is to be done with it. Adds the inboxes
    /// of the hubs that want it to `receivers`, if it is to be delivered. `None` when nobody has asked for a
    /// channel of that name.
    pub(super) fn arrive(
        &self,
        channel: &str,
        position: Option<Position>,
        receivers: &mut Vec<Arc<dyn Inbox>>,
    ) -> Option<(ChannelName, Arrival)> {
        let mut state = self.lock();
        let arrival = state.channels.arrive(channel, position)?;
        if arrival == (Arrival::Hold { begins: true }) {
            self.changed.notify_one();
        }
        let (name, hubs) = state.channels.find(channel)?;
        if arrival == Arrival::Deliver {
            state.inboxes_of(hubs, receivers);
        }
        Some((name.clone(), arrival))
    }

    /// The same for a publication that cannot have been preceded by one that did not come.
    pub(super) fn pass(
        &self,
        channel: &str,
        position: Option<Position>,
        receivers: &mut Vec<Arc<dyn Inbox>>,
    ) {
        let mut state = self.lock();
        if let Some(position) = position {
            state.channels.pass(channel, position);
        }
        if let Some((_, hubs)) = state.channels.find(channel) {
            state.inboxes_of(hubs, receivers);
        }
    }

    /// Keeps a publication until its channel has caught up. Returns whether there was room.
    pub(super) fn hold(&self, publication: Publication) -> bool {
        self.lock().channels.hold(Arc::new(publication))
    }

    /// Takes a step of a channel's continuity, and adds the inboxes of the hubs that are to have what comes of it.
    pub(super) fn advance(
        &self,
        channel: &ChannelName,
        step: impl FnOnce(&mut Continuity) -> Progress,
        receivers: &mut Vec<Arc<dyn Inbox>>,
    ) -> Progress {
        let mut state = self.lock();
        let progress = state.channels.advance(channel, step);
        if let Some((_, hubs)) = state.channels.find(channel.as_str()) {
            state.inboxes_of(hubs, receivers);
        }
        progress
    }

    /// Has channels compared with their histories at the next turn.
    pub(super) fn verify(&self, channels: &[ChannelName]) {
        self.lock().channels.verify(channels);
        self.changed.notify_one();
    }

    /// Every channel that the link carries.
    pub(super) fn subscribed(&self) -> Vec<ChannelName> {
        self.lock().channels.subscribed()
    }

    /// The link is connected and carries nothing yet: every wanted channel is due.
    pub(super) fn link_up(&self) {
        self.lock().channels.link_up();
        self.changed.notify_one();
    }

    /// The link is lost: nobody waits for it any longer.
    pub(super) fn link_down(&self, now: Position) -> Vec<Answer> {
        self.lock().channels.link_down(now)
    }

    /// What the link is to do next, at most `max` channels. Empty when nothing is due: then wait for
    /// [`changed`](Self::changed).
    pub(super) fn next_turn(&self, max: usize) -> Turn {
        self.lock().channels.next_turn(max)
    }

    /// The server has confirmed a turn, and its channels have caught up.
    pub(super) fn turn_done(&self, turn: Turn, now: Position) -> Vec<Answer> {
        self.lock().channels.turn_done(turn, now)
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

impl State {
    /// Tells a hub that its subscriptions are made.
    fn tell(&self, Answer { hub, channels, broken }: Answer) {
        let Some(inbox) = self.inboxes.get(hub.index()) else { return };
        if inbox.offer(HubEvent::Subscribed(channels)).is_err() {
            // Against the contract. Its sessions wait for nothing; so say it loudly.
            log::error!("broker: a hub refused the answer to its subscription");
        }
        for (channel, reason) in broken {
            // A gap is always taken.
            let _ = inbox.offer(HubEvent::Gap { channel, reason, place: None });
        }
    }

    fn inboxes_of(&self, hubs: &[HubId], receivers: &mut Vec<Arc<dyn Inbox>>) {
        receivers.extend(hubs.iter().filter_map(|hub| self.inboxes.get(hub.index()).cloned()));
    }
}
