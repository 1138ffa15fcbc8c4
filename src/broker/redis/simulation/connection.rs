//! What is between a link and the server: commands on their way, their answers, and what is pushed.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::super::super::audience::Turn;
use super::link::Recovering;
use crate::protocol::channel::ChannelName;
use crate::protocol::history::Page;
use crate::protocol::position::Position;

#[derive(Default)]
pub(super) struct Connection {
    /// What the server carries to it.
    pub(super) subscribed: BTreeSet<ChannelName>,
    /// What the server has sent, in order.
    pub(super) wire: VecDeque<Push>,
    /// Messages that were read and not handed over yet.
    pub(super) received: VecDeque<(ChannelName, Rc<str>)>,
    pub(super) commands: Vec<Command>,
    pub(super) turn: Option<TakingTurn>,
    /// Whether everything was subscribed once.
    pub(super) is_complete: bool,
}

pub(super) enum Push {
    Message(ChannelName, Rc<str>),
    Confirmed,
}

/// A command on its way, or its answer on its way back.
pub(super) enum Command {
    Subscribe(Vec<ChannelName>),
    Unsubscribe(Vec<ChannelName>),
    /// A pipeline: not atomic.
    Tails {
        channels: Vec<ChannelName>,
        now_ms: Option<u64>,
        tails: Vec<Option<Position>>,
        is_refused: bool,
    },
    Page {
        reader: Reader,
        channel: ChannelName,
        since: Position,
        answer: Option<Result<Page, ()>>,
    },
    /// `TIME`, and then `SET born … NX`.
    Born {
        unix_ms: Option<u64>,
    },
    Time {
        unix_ms: Option<u64>,
    },
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

impl Command {
    pub(super) fn is_executed(&self) -> bool {
        match self {
            Self::Subscribe(_) | Self::Unsubscribe(_) => false,
            Self::Tails { channels, now_ms, tails, is_refused } => {
                *is_refused || (now_ms.is_some() && channels.len() == tails.len())
            }
            Self::Page { answer, .. } => answer.is_some(),
            Self::Born { .. } => false,
            Self::Time { unix_ms } => unix_ms.is_some(),
        }
    }

    pub(super) fn tails(channels: Vec<ChannelName>) -> Self {
        Self::Tails { channels, now_ms: None, tails: Vec::new(), is_refused: false }
    }
}
