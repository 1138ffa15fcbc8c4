//! One replica's link, played: what is sent, what is on its way, and what has come. It follows `connected.rs`,
//! `catch_up.rs` and `receive.rs`; every await there is a step of its own here.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::super::super::delivery::Delivery;
use super::super::super::recovery::{Interrupted, NotRecovered, Recovered, Recovery, RecoveryLimits};
use super::super::super::{HubId, Inbox};
use super::super::clock::ClockSample;
use super::connection::{Command, Connection, Push, Reader, Received, TakingTurn, TurnStage};
use super::server::Server;
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::history::{Page, Tail};
use protocol::position::Position;

const MAX_TURN: usize = 2;

/// How a link is played.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkOptions {
    /// Messages of one page.
    pub(crate) page_entries: usize,
    /// A deliberate fault: histories are not read when something may be missing.
    pub(crate) skips_repair: bool,
}

/// A link, and what hangs on it.
pub(crate) struct Link {
    options: LinkOptions,
    delivery: Delivery,
    clock: Option<ClockSample>,
    connection: Option<Connection>,
    /// How many connections there have been.
    connections: u64,
    recoveries: BTreeMap<Recovering, (ChannelName, Recovery)>,
    next_recovery: Recovering,
    receivers: Vec<Arc<dyn Inbox>>,
    /// Whether the audience has nothing to be done, as far as is known.
    is_idle: bool,
}

/// The name of one recovery of one client.
pub(crate) type Recovering = u64;

/// What can happen to a link next.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LinkStep {
    /// It is connected.
    Connect,
    /// It looks what is to be done.
    TakeTurn,
    /// The server carries out a command (or a part of it).
    Execute(usize),
    /// An answer comes back.
    Answer(usize),
    /// The next thing that the server has sent arrives.
    Carry,
    /// A message that has arrived is handed over.
    Receive,
}

impl Link {
    pub(crate) fn new(options: LinkOptions, metrics: &Metrics) -> Self {
        Self {
            options,
            delivery: Delivery::new(metrics),
            clock: None,
            connection: None,
            connections: 0,
            recoveries: BTreeMap::new(),
            next_recovery: 0,
            receivers: Vec::new(),
            is_idle: true,
        }
    }

    pub(crate) fn attach(&self, inbox: Arc<dyn Inbox>) -> HubId {
        self.delivery.attach(inbox)
    }

    pub(crate) fn subscribe(&mut self, hub: HubId, channels: Vec<ChannelName>, at: Instant) {
        let now = self.position_now(at);
        self.delivery.subscribe(hub, channels, |_| now);
        self.is_idle = false;
    }

    pub(crate) fn unsubscribe(&mut self, hub: HubId, channels: &[ChannelName]) {
        self.delivery.unsubscribe(hub, channels);
        self.is_idle = false;
    }

    pub(crate) fn position_now(&self, at: Instant) -> Position {
        Position::before(self.clock.map_or(0, |sample| sample.at(at)))
    }

    /// Whether everything that is wanted is subscribed and followed.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_idle && self.connection.as_ref().is_some_and(|connection| connection.turn.is_none())
    }

    /// The name of the connection, if it is proven.
    pub(crate) fn proven(&self) -> Option<u64> {
        self.connection.as_ref().filter(|connection| connection.is_proven).map(|_| self.connections)
    }

    /// Asks for what a client has missed, over this connection and no other; the answer comes from
    /// [`take`](Self::take).
    pub(crate) fn recover(
        &mut self,
        name: u64,
        channel: &ChannelName,
        since: Position,
        limits: RecoveryLimits,
    ) -> Result<Recovering, Interrupted> {
        let connection = self.connection.as_mut().filter(|_| name == self.connections).ok_or(Interrupted)?;
        let name = self.next_recovery;
        self.next_recovery += 1;
        self.recoveries.insert(name, (channel.clone(), Recovery::new(since, limits)));
        connection.commands.push(Command::Page {
            reader: Reader::Client(name),
            channel: channel.clone(),
            since,
            answer: None,
        });
        Ok(name)
    }

    /// The server has published something.
    pub(crate) fn publish(&mut self, channel: &ChannelName, payload: &Rc<str>) {
        if let Some(connection) = &mut self.connection
            && connection.subscribed.contains(channel)
        {
            let message = Received::Message(channel.clone(), Rc::clone(payload));
            connection.wire.push_back(Push::Received(message));
        }
    }

    /// The next message on the wire is lost, as if it had never been sent. Whether there was one.
    pub(crate) fn lose_one(&mut self) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let Some(Push::Received(Received::Message(..))) = connection.wire.front() else { return false };
        connection.wire.pop_front();
        true
    }

    /// The connections break: all that is on the way is lost. Names the recoveries that this interrupts.
    pub(crate) fn cut(&mut self, at: Instant) -> Vec<Recovering> {
        if self.connection.take().is_some() {
            let now = self.position_now(at);
            self.delivery.audience.tell(self.delivery.audience.link_down(now));
        }
        std::mem::take(&mut self.recoveries).into_keys().collect()
    }

    /// Reads Redis' clock, as every probe does.
    pub(crate) fn probe(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.commands.push(Command::Time { unix_ms: None });
        }
    }

    /// Has all channels compared with their histories.
    pub(crate) fn sweep(&mut self) {
        self.delivery.audience.verify(&self.delivery.audience.subscribed());
        self.is_idle = false;
    }

    /// Appends everything that can happen now.
    pub(crate) fn steps(&self, steps: &mut Vec<LinkStep>) {
        let Some(connection) = &self.connection else { return steps.push(LinkStep::Connect) };
        if connection.turn.is_none() && !self.is_idle {
            steps.push(LinkStep::TakeTurn);
        }
        for (index, command) in connection.commands.iter().enumerate() {
            steps.push(match command.is_executed() {
                true => LinkStep::Answer(index),
                false => LinkStep::Execute(index),
            });
        }
        if !connection.wire.is_empty() {
            steps.push(LinkStep::Carry);
        }
        if !connection.received.is_empty() {
            steps.push(LinkStep::Receive);
        }
    }

    /// Takes a step at `at`. Where the server carries out a reading command it may refuse it. Returns the recovery
    /// that is done with it.
    pub(crate) fn take(
        &mut self,
        step: LinkStep,
        server: &mut Server,
        at: Instant,
        is_refused: bool,
    ) -> Option<(Recovering, Result<Recovered, NotRecovered>)> {
        match step {
            LinkStep::Connect => {
                self.connection = Some(Connection::default());
                self.connections += 1;
                self.delivery.audience.link_up();
                self.is_idle = false;
                self.probe();
            }
            LinkStep::TakeTurn => self.take_turn(at),
            LinkStep::Execute(index) => {
                if let Some(connection) = &mut self.connection {
                    connection.execute(index, server, self.options, is_refused);
                }
            }
            LinkStep::Answer(index) => return self.answer(index, at),
            LinkStep::Carry => self.carry(at),
            LinkStep::Receive => self.receive(at),
        }
        None
    }

    fn take_turn(&mut self, at: Instant) {
        let Some(connection) = &mut self.connection else { return };
        let turn = self.delivery.audience.next_turn(MAX_TURN);
        if turn.is_empty() {
            self.is_idle = true;
            if !std::mem::replace(&mut connection.is_complete, true) {
                connection.commands.extend([Command::Mark, Command::Probe]);
            }
            return;
        }
        let command = (!turn.subscribe.is_empty()).then(|| Command::Subscribe(turn.subscribe.clone()));
        connection.turn = Some(TakingTurn { turn, stage: TurnStage::Subscribing, reading: 0 });
        match command {
            Some(command) => connection.commands.push(command),
            None => self.next_stage(at),
        }
    }

    /// What `take_turn` in `connected.rs` does next.
    fn next_stage(&mut self, at: Instant) {
        let now = self.position_now(at);
        let Some(connection) = &mut self.connection else { return };
        let Some(taking) = &mut connection.turn else { return };
        loop {
            taking.stage = match taking.stage {
                TurnStage::Subscribing => TurnStage::CatchingUp,
                TurnStage::CatchingUp => TurnStage::Verifying,
                TurnStage::Verifying => TurnStage::Unsubscribing,
                TurnStage::Unsubscribing => break,
            };
            let command = match taking.stage {
                TurnStage::CatchingUp if !taking.turn.subscribe.is_empty() => {
                    Command::tails(taking.turn.subscribe.clone())
                }
                TurnStage::Verifying if !taking.turn.verify.is_empty() => {
                    Command::tails(taking.turn.verify.clone())
                }
                TurnStage::Unsubscribing if !taking.turn.unsubscribe.is_empty() => {
                    Command::Unsubscribe(taking.turn.unsubscribe.clone())
                }
                _ => continue,
            };
            return connection.commands.push(command);
        }
        let Some(TakingTurn { turn, .. }) = connection.turn.take() else { return };
        self.delivery.audience.tell(self.delivery.audience.turn_done(turn, now));
        self.is_idle = false;
    }

    fn answer(&mut self, index: usize, at: Instant) -> Option<(Recovering, Result<Recovered, NotRecovered>)> {
        match self.connection.as_mut()?.commands.remove(index) {
            Command::Tails { channels, now_ms, tails, is_refused } => {
                let (now_ms, tails) = match now_ms {
                    Some(now_ms) if !is_refused => (now_ms, tails),
                    _ => (self.position_now(at).epoch, vec![Tail::Unreadable; channels.len()]),
                };
                self.on_tails(channels, now_ms, tails, at);
            }
            Command::Page { reader: Reader::CatchingUp, channel, answer, .. } => {
                self.on_page(channel, answer?, at);
            }
            Command::Page { reader: Reader::Client(name), answer, .. } => {
                return self.on_client_page(name, answer?);
            }
            Command::Time { unix_ms } => self.clock = Some(ClockSample::new(unix_ms?, at)),
            Command::Subscribe(_) | Command::Unsubscribe(_) | Command::Mark | Command::Probe => {}
        }
        None
    }

    fn on_tails(&mut self, channels: Vec<ChannelName>, now_ms: u64, tails: Vec<Tail>, at: Instant) {
        let mut behind = Vec::new();
        for (channel, tail) in channels.into_iter().zip(tails) {
            if let Some(since) =
                self.delivery.advance(&channel, |continuity| continuity.on_tail(tail, now_ms))
            {
                behind.push(Command::Page { reader: Reader::CatchingUp, channel, since, answer: None });
            }
        }
        let Some(connection) = &mut self.connection else { return };
        let Some(taking) = &mut connection.turn else { return };
        taking.reading = behind.len();
        connection.commands.extend(behind);
        if taking.reading == 0 {
            self.next_stage(at);
        }
    }

    fn on_page(&mut self, channel: ChannelName, answer: Result<Page, ()>, at: Instant) {
        let next = match answer {
            Ok(page) => self.delivery.advance(&channel, |continuity| continuity.on_page(&page)),
            Err(()) => {
                let now = self.position_now(at);
                self.delivery.advance(&channel, |continuity| continuity.on_unreadable(now))
            }
        };
        let Some(connection) = &mut self.connection else { return };
        if let Some(since) = next {
            let page = Command::Page { reader: Reader::CatchingUp, channel, since, answer: None };
            return connection.commands.push(page);
        }
        let Some(taking) = &mut connection.turn else { return };
        taking.reading -= 1;
        if taking.reading == 0 {
            self.next_stage(at);
        }
    }

    fn on_client_page(
        &mut self,
        name: Recovering,
        answer: Result<Page, ()>,
    ) -> Option<(Recovering, Result<Recovered, NotRecovered>)> {
        let (channel, mut recovery) = self.recoveries.remove(&name)?;
        let outcome = match answer.map(|page| recovery.take(page)) {
            Err(()) => Err(NotRecovered::Unreadable),
            Ok(Err(reason)) => Err(reason),
            Ok(Ok(true)) => Ok(recovery.finish()),
            Ok(Ok(false)) => {
                let since = recovery.place();
                let reader = Reader::Client(name);
                let page = Command::Page { reader, channel: channel.clone(), since, answer: None };
                self.recoveries.insert(name, (channel, recovery));
                self.connection.as_mut()?.commands.push(page);
                return None;
            }
        };
        Some((name, outcome))
    }

    /// redis-rs tells confirmations to whoever waits for them, and queues messages. An unsubscription waits for those.
    fn carry(&mut self, at: Instant) {
        let Some(connection) = &mut self.connection else { return };
        match connection.wire.pop_front() {
            Some(Push::Received(received)) => connection.received.push_back(received),
            Some(Push::Confirmed) if connection.is_unsubscribing() => {
                connection.received.push_back(Received::AllTaken);
            }
            Some(Push::Confirmed) => self.next_stage(at),
            None => {}
        }
    }

    fn receive(&mut self, at: Instant) {
        let Some(connection) = &mut self.connection else { return };
        let (channel, payload) = match connection.received.pop_front() {
            Some(Received::Message(channel, payload)) => (channel, payload),
            Some(Received::Probe) => return connection.is_proven = true,
            Some(Received::AllTaken) => return self.next_stage(at),
            None => return,
        };
        self.delivery.receive(channel.as_str(), payload.as_bytes(), 1_000, &mut self.receivers).unwrap();
        self.is_idle = false;
    }
}
