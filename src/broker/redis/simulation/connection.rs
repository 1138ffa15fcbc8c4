//! What is between a link and the server: commands on their way, their answers, and what is pushed.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::super::super::audience::Turn;
use super::link::{LinkOptions, Recovering};
use super::server::Server;
use protocol::channel::ChannelName;
use protocol::history::{Page, Tail};
use protocol::position::Position;

#[derive(Default)]
pub(super) struct Connection {
    /// What the server carries to it.
    pub(super) subscribed: BTreeSet<ChannelName>,
    /// What the server has sent, in order.
    pub(super) wire: VecDeque<Push>,
    /// What was read and not handed over yet.
    pub(super) received: VecDeque<Received>,
    pub(super) commands: Vec<Command>,
    pub(super) turn: Option<TakingTurn>,
    /// Whether everything was subscribed once.
    pub(super) is_complete: bool,
    /// Whether the probe behind that was heard.
    pub(super) is_proven: bool,
}

pub(super) enum Push {
    Received(Received),
    Confirmed,
}

pub(super) enum Received {
    Message(ChannelName, Rc<str>),
    Probe,
    /// Not sent: everything before it has been taken, for which `Subscriptions::unsubscribe` waits.
    AllTaken,
}

/// A command on its way, or its answer on its way back.
pub(super) enum Command {
    Subscribe(Vec<ChannelName>),
    Unsubscribe(Vec<ChannelName>),
    /// A pipeline: not atomic.
    Tails {
        channels: Vec<ChannelName>,
        now_ms: Option<u64>,
        tails: Vec<Tail>,
        is_refused: bool,
    },
    Page {
        reader: Reader,
        channel: ChannelName,
        since: Position,
        answer: Option<Result<Page, ()>>,
    },
    /// Marks the data.
    Mark,
    Time {
        unix_ms: Option<u64>,
    },
    /// Publishes what only its own link hears.
    Probe,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Reader {
    CatchingUp,
    Client(Recovering),
}

pub(super) struct TakingTurn {
    pub(super) turn: Turn,
    pub(super) stage: TurnStage,
    /// Channels of this stage whose histories are being read.
    pub(super) reading: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnStage {
    Subscribing,
    CatchingUp,
    Verifying,
    Unsubscribing,
}

impl Connection {
    pub(super) fn is_unsubscribing(&self) -> bool {
        self.turn.as_ref().is_some_and(|taking| taking.stage == TurnStage::Unsubscribing)
    }

    /// The server carries out a command, or a part of it.
    pub(super) fn execute(
        &mut self,
        index: usize,
        server: &mut Server,
        options: LinkOptions,
        is_refused: bool,
    ) {
        match &mut self.commands[index] {
            Command::Subscribe(channels) => {
                self.subscribed.extend(channels.drain(..));
                self.wire.push_back(Push::Confirmed);
                self.commands.remove(index);
            }
            Command::Unsubscribe(channels) => {
                channels.iter().for_each(|channel| {
                    self.subscribed.remove(channel);
                });
                self.wire.push_back(Push::Confirmed);
                self.commands.remove(index);
            }
            Command::Tails { is_refused: refusal, .. } if is_refused => *refusal = true,
            Command::Tails { now_ms: now_ms @ None, .. } => *now_ms = Some(server.clock_ms),
            Command::Tails { channels, tails, .. } => tails.push(server.tail(&channels[tails.len()])),
            Command::Page { reader, channel, since, answer, .. } => {
                *answer = Some(match (reader, is_refused) {
                    (_, true) => Err(()),
                    (Reader::CatchingUp, false) if options.skips_repair => {
                        Ok(Page { entries: Vec::new(), tail: *since, whole_since_ms: 0 })
                    }
                    _ => Ok(server.page(channel, *since, options.page_entries)),
                });
            }
            Command::Mark => {
                server.mark();
                self.commands.remove(index);
            }
            Command::Probe => {
                self.wire.push_back(Push::Received(Received::Probe));
                self.commands.remove(index);
            }
            Command::Time { unix_ms } => *unix_ms = Some(server.clock_ms),
        }
    }
}

impl Command {
    pub(super) fn is_executed(&self) -> bool {
        match self {
            Self::Subscribe(_) | Self::Unsubscribe(_) | Self::Mark | Self::Probe => false,
            Self::Tails { channels, now_ms, tails, is_refused } => {
                *is_refused || (now_ms.is_some() && channels.len() == tails.len())
            }
            Self::Page { answer, .. } => answer.is_some(),
            Self::Time { unix_ms } => unix_ms.is_some(),
        }
    }

    pub(super) fn tails(channels: Vec<ChannelName>) -> Self {
        Self::Tails { channels, now_ms: None, tails: Vec::new(), is_refused: false }
    }
}
