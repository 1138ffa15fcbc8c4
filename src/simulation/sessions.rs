//! Clients and their sessions: connects, commands, frames and disconnects.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::checker::{CheckResult, Confirmation};
use super::client::{self, FrameFields, SimulatedClient, SimulatedSession, Socket};
use super::hub::SimulatedHub;
use super::inbox::{SendCall, SessionSends};
use super::plan::PlantedBug;
use super::replica::SessionEvents;
use super::reports::Subject;
use super::run::{NAMES, OWN, RunFailure, SimulationRun, trace};
use crate::hub::messages::HubInput;
use crate::hub::registry::FrameSink as _;
use crate::session::drive::{SessionPorts, drive, perform};
use protocol::channel::ChannelName;
use protocol::client_message::ClientMessage;
use protocol::close::CloseCode;
use protocol::conversation::{Conversation, Identity, Input, Token};
use protocol::history_page::HistoryQuery;
use protocol::members::MembersRequest;
use protocol::page_error::PageError;
use protocol::position::Position;
use protocol::signal::ClientSignal;
use protocol::signal_payload::SignalPayload;
use protocol::{Now, SessionId, Version};

/// The simulated ports of a session.
struct SimulatedPorts<'a> {
    sends: &'a mut SessionSends,
    socket: &'a Socket,
    hub: &'a SimulatedHub,
}

impl SessionPorts for SimulatedPorts<'_> {
    fn send(&mut self, frame: Bytes) {
        self.socket.send(frame);
    }

    fn close(&mut self, _: CloseCode) {
        self.socket.close();
    }

    fn close_with(&mut self, code: CloseCode, _: &str) {
        self.close(code);
    }

    fn send_to_hub(&mut self, input: HubInput) {
        self.hub.send(input);
    }

    fn authenticate(&mut self, _: &Token) -> Option<Input<'static>> {
        let user = ChannelName::parse(NAMES[0]).unwrap();
        let identity = Identity { user, expires_at_ms: None, grants: Vec::new(), subscribe: Vec::new() };
        Some(Input::Verified(Ok(identity)))
    }

    fn read_members(&mut self, MembersRequest { id, channel, .. }: MembersRequest) -> Option<Input<'static>> {
        Some(Input::Members { id, channel, outcome: Err(PageError::Unavailable) })
    }

    fn send_message(&mut self, message: ClientMessage) -> Option<Input<'static>> {
        if let Some(message) = self.sends.queue.push(message) {
            self.sends.call = Some(SendCall::new(&message));
        }
        None
    }

    fn read_history(&mut self, HistoryQuery { id, channel, .. }: HistoryQuery) -> Option<Input<'static>> {
        Some(Input::History { id, channel, outcome: Err(PageError::Unavailable) })
    }
}

impl SimulationRun {
    fn clock(&self) -> Now {
        Now { monotonic: self.now, unix_ms: self.unix_ms }
    }

    /// Connects a client to a random replica.
    pub(super) fn connect(&mut self, client: usize) {
        self.sessions += 1;
        let name = SessionId(self.sessions);
        let replica = self.rng.below(self.replicas.len());
        let hub = self.rng.below(self.plan.hubs);
        trace!(self, "client {client} is session {name} on replica {replica}, hub {hub}");
        let (rules, mut actions) = (self.rules.clone(), Vec::new());
        let conversation = Conversation::open(rules, Version::V2, name, 1.0, self.clock(), &mut actions);
        let socket = Socket::new(self.published.clone());
        self.replicas[replica].hubs[hub].connect(name, socket.clone());
        let mut sends = SessionSends::default();
        let hub_of_session = &self.replicas[replica].hubs[hub];
        let mut ports = SimulatedPorts { sends: &mut sends, socket: &socket, hub: hub_of_session };
        for action in actions {
            perform(&conversation, action, &mut ports);
        }
        let identify = self.clients[client].identify(&NAMES.map(str::to_owned));
        let session = SimulatedSession {
            name,
            replica,
            hub,
            conversation,
            sends,
            socket,
            inbound: [identify].into(),
            mailbox: [].into(),
        };
        self.clients[client].session = Some(session);
    }

    /// Breaks a client's socket; queued data is lost in both directions.
    pub(super) fn disconnect(&mut self, client: usize) {
        let Some(mut session) = self.clients[client].session.take() else { return };
        trace!(self, "client {client} is disconnected");
        let now = self.clock();
        session.conversation.handle(now, Input::PeerClosed, &mut Vec::new());
        let hub = &self.replicas[session.replica].hubs[session.hub];
        hub.send(HubInput::Leave { session: session.name });
        self.on_sends_cut(client, session.sends);
        self.clients[client].checkers.iter_mut().for_each(|checker| checker.on_left());
        self.clients[client].is_leaving.fill(false);
        self.clients[client].is_refused.fill(false);
        if self.rng.percent(self.plan.replaced_percent) {
            trace!(self, "client {client} is replaced");
            self.clients[client].replace();
        }
    }

    /// Unsubscribes a client from a channel, or subscribes it again.
    pub(super) fn toggle_subscription(&mut self, client: usize, channel: usize) {
        let one = &mut self.clients[client];
        if one.is_leaving[channel] {
            // Until the unsubscription is confirmed, messages may arrive and the position may change.
            return;
        }
        one.wants[channel] = !one.wants[channel];
        one.is_refused[channel] = false;
        let text = match one.wants[channel] {
            true => one.subscribe(channel, NAMES[channel]),
            false => SimulatedClient::unsubscribe(NAMES[channel]),
        };
        one.is_leaving[channel] = !one.wants[channel] && one.session.is_some();
        trace!(self, "client {client}: {text}");
        if let Some(session) = &mut self.clients[client].session {
            session.inbound.push_back(text);
        }
    }

    /// A client that is connected sends a signal, which names its session.
    pub(super) fn send_signal(&self, number: u64) {
        let (number, rooms) = (number as usize, NAMES.len() - OWN);
        let client = &self.clients[number % self.clients.len()];
        let Some(SimulatedSession { name, replica, hub, .. }) = client.session else { return };
        let channel = ChannelName::parse(NAMES[OWN + number / 2 % rooms]).unwrap();
        let signal = RawValue::from_string(format!("\"{name}\"")).unwrap();
        self.replicas[replica].hubs[hub]
            .send(HubInput::Signal { session: name, signal: ClientSignal { channel, signal } });
    }

    /// The server publishes the signals of a replica.
    pub(super) fn publish_signals(&mut self, replica: usize) {
        for signal in self.replicas[replica].take_signals() {
            let mut payload = SignalPayload::encode(&signal);
            if self.plan.planted_bug == PlantedBug::EchoedSignal {
                payload = payload.replacen(&signal.session().to_string(), &SessionId(0).to_string(), 1);
            }
            let payload = payload.into();
            let address = self.cluster.owner(signal.channel());
            self.replicas.iter_mut().for_each(|replica| replica.publish(address, signal.channel(), &payload));
        }
    }

    /// Clients repeat refused subscriptions.
    pub(super) fn retry_refused_channels(&mut self) {
        for client in &mut self.clients {
            for (channel, name) in NAMES.iter().enumerate() {
                if !std::mem::take(&mut client.is_refused[channel]) {
                    continue;
                }
                let text = client.subscribe(channel, name);
                if let Some(session) = &mut client.session {
                    session.inbound.push_back(text);
                }
            }
        }
    }

    /// A session handles its next input.
    pub(super) fn step_session(&mut self, client: usize) {
        let Some(session) = &mut self.clients[client].session else { return };
        let is_text = session.mailbox.is_empty() || (!session.inbound.is_empty() && self.rng.percent(50));
        if is_text {
            // Messages that a client sends together arrive together.
            let is_more = |text: &mut String| text.starts_with(r#"{"op":16"#);
            let mut texts: Vec<String> = session.inbound.pop_front().into_iter().collect();
            if texts.iter_mut().any(is_more) {
                texts.extend(std::iter::from_fn(|| session.inbound.pop_front_if(is_more)));
            }
            texts.iter().for_each(|text| self.drive(client, Input::Text(text)));
        } else {
            let event = session.mailbox.pop_front();
            event.into_iter().for_each(|event| self.drive(client, event.into()));
        }
    }

    /// Feeds an input to a conversation and performs its actions, as the session's actor does.
    pub(super) fn drive(&mut self, client: usize, input: Input<'_>) {
        let now = self.clock();
        let Some(session) = &mut self.clients[client].session else { return };
        let mut ports = SimulatedPorts {
            sends: &mut session.sends,
            socket: &session.socket,
            hub: &self.replicas[session.replica].hubs[session.hub],
        };
        drive(&mut session.conversation, now, input, &mut ports);
    }

    /// Delivers a hub's events to sessions that are still connected.
    pub(super) fn deliver_events(&mut self, events: SessionEvents) {
        for (name, event) in events {
            let mut sessions = self.clients.iter_mut().filter_map(|client| client.session.as_mut());
            if let Some(session) = sessions.find(|session| session.name == name) {
                session.mailbox.push_back(event);
            }
        }
    }

    /// Checks that the reports of each hub of a replica alternate.
    pub(super) fn check_reports(&self, replica: usize) -> Result<(), RunFailure> {
        for (hub, one) in self.replicas[replica].hubs.iter().enumerate() {
            one.reports.check().map_err(|error| format!("replica {replica}, hub {hub}: {error}"))?;
        }
        Ok(())
    }

    /// Checks the last reports of all hubs against the connected clients, after all clients have identified.
    pub(super) fn check_reported_users(&self) -> Result<(), RunFailure> {
        for (replica, hubs) in self.replicas.iter().map(|replica| &replica.hubs).enumerate() {
            for (hub, one) in hubs.iter().enumerate() {
                self.check_last_reports(one, (replica, hub))
                    .map_err(|error| format!("replica {replica}, hub {hub}: {error}"))?;
            }
        }
        Ok(())
    }

    fn check_last_reports(&self, hub: &SimulatedHub, at: (usize, usize)) -> CheckResult {
        let is_here = |client: &&SimulatedClient| {
            client.session.as_ref().is_some_and(|session| (session.replica, session.hub) == at)
        };
        let here: Vec<_> = self.clients.iter().filter(is_here).collect();
        // All clients identify as this user.
        let user = NAMES[0].to_owned();
        hub.reports.on_quiet(&Subject::User(user.clone()), !here.is_empty())?;
        hub.reports.on_quiet_count(NAMES[1], here.len())?;
        for (channel, name) in NAMES.iter().enumerate().skip(OWN) {
            let is_subscribed = here.iter().any(|one| one.wants[channel] && !one.is_refused[channel]);
            hub.reports.on_quiet(&Subject::Channel((*name).to_owned()), is_subscribed)?;
            hub.reports.on_quiet(&Subject::Member((*name).to_owned(), user.clone()), is_subscribed)?;
        }
        Ok(())
    }

    /// A client reads its next frame; the checker checks it.
    pub(super) fn read(&mut self, client: usize) -> Result<(), RunFailure> {
        let Some(session) = &self.clients[client].session else { return Ok(()) };
        let Some(sent) = session.socket.next() else {
            // The socket is closed and has no more frames.
            self.disconnect(client);
            return Ok(());
        };
        let text = std::str::from_utf8(client::payload(&sent.frame)).unwrap();
        trace!(self, "client {client} reads {text}");
        let frame: FrameFields<'_> = serde_json::from_str(text).unwrap();
        let checked = match (frame.op, frame.id) {
            (op @ (9 | 17), Some(id)) => self.on_send_answer(client, id, op == 17),
            _ => self.check(client, &frame, sent.published),
        };
        if frame.op == 2 {
            self.on_ready(client);
        }
        checked.map_err(|error| format!("client {client}: {error}, with {text}"))
    }

    fn check(&mut self, client: usize, frame: &FrameFields<'_>, published: u64) -> CheckResult {
        let (expectations, records) = (self.expectations, &self.records);
        let SimulatedClient { checkers, session, last, .. } = &mut self.clients[client];
        let Some(session) = session else { return Ok(()) };
        let channel = || channel_index(frame.channel.unwrap_or_default());
        match frame.op {
            2 => frame.channels.iter().try_for_each(|listed| {
                let at = channel_index(listed.channel)?;
                match (listed.state, parse_position(listed.position)?) {
                    (Some("recovering"), position) => checkers[at].on_recovering(position),
                    (None, Some(position)) => {
                        let (recovered, last, asked) = (listed.recovered, listed.last, *last);
                        let confirmation = Confirmation { position, recovered, last, asked, published };
                        checkers[at].on_subscribed(&records[at], expectations, confirmation)
                    }
                    _ => Err("a channel of Ready has no position".to_owned()),
                }
            }),
            3 => {
                let at = channel()?;
                let position = parse_position(frame.position)?;
                let number = frame.message.ok_or("a message that was never published")?;
                let before = checkers[at].position;
                checkers[at].on_message(&records[at], expectations, number, position)?;
                if self.plan.planted_bug == PlantedBug::StalePosition && number % 5 == 0 {
                    checkers[at].position = before;
                }
                Ok(())
            }
            6 => self.check_subscription(client, channel()?, frame, published),
            8 => checkers[channel()?].on_gap(expectations),
            18 => checkers[channel()?].on_signal(frame.signal != Some(session.name.to_string().as_str())),
            0 | 9 => Ok(()),
            _ => Err("an unexpected frame".to_owned()),
        }
    }

    /// Checks op 6 on the channel with the index `at`.
    fn check_subscription(
        &mut self,
        client: usize,
        at: usize,
        frame: &FrameFields<'_>,
        published: u64,
    ) -> CheckResult {
        let SimulatedClient { checkers, is_leaving, is_refused, wants, last, .. } = &mut self.clients[client];
        match (frame.state, parse_position(frame.position)?) {
            (Some("recovering"), position) => checkers[at].on_recovering(position),
            (Some("subscribed"), Some(position)) => {
                let (recovered, last, asked) = (frame.recovered, frame.last, *last);
                let confirmation = Confirmation { position, recovered, last, asked, published };
                checkers[at].on_subscribed(&self.records[at], self.expectations, confirmation)
            }
            (Some("unsubscribed"), _) => {
                checkers[at].on_left();
                is_leaving[at] = false;
                Ok(())
            }
            // Own channels are never refused; they wait.
            (Some("refused"), None) if frame.reason == Some("unavailable") && at >= OWN => {
                checkers[at].on_left();
                // The client may have unsubscribed meanwhile; the confirmation follows.
                is_refused[at] = wants[at] && !is_leaving[at];
                Ok(())
            }
            _ => Err("an unexpected subscription state".to_owned()),
        }
    }
}

fn parse_position(text: Option<&str>) -> Result<Option<Position>, String> {
    text.map(|text| Position::parse(text).ok_or_else(|| format!("{text} is no position"))).transpose()
}

/// The index of a channel in [`NAMES`].
fn channel_index(channel: &str) -> Result<usize, String> {
    NAMES.iter().position(|name| *name == channel).ok_or_else(|| format!("{channel} is an unknown channel"))
}
