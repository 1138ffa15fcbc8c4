//! What is between a link and the server, and what the server does with a reading command.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::plan::PlantedBug;
use super::redis::Server;
use crate::broker::link::{HistoryWork, PageReader, PageWork, ReadFailure, SubscriptionBatch};
use protocol::channel::ChannelName;
use protocol::history::{Page, Tail};

/// What is between a link and the server.
#[derive(Default)]
pub(super) struct SimulatedConnection {
    /// What the server carries to it.
    pub(super) subscribed: BTreeSet<ChannelName>,
    /// What the server has sent, in order.
    pub(super) pushes: VecDeque<Push>,
    /// What was read and not handed over yet.
    pub(super) received: VecDeque<Delivered>,
    pub(super) batch: Option<(SubscriptionBatch, BatchStep)>,
    /// The channels of the batch that the server has refused.
    pub(super) refused: Vec<ChannelName>,
    pub(super) reads: Vec<PendingRead>,
}

pub(super) enum Push {
    Message(ChannelName, Rc<str>),
    Confirmed,
}

pub(super) enum Delivered {
    Message(ChannelName, Rc<str>),
    /// Not sent: everything before it has been taken, for which an unsubscription waits.
    Drained,
}

/// A batch is two commands, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchStep {
    Subscribe,
    Subscribing,
    Unsubscribe,
    Unsubscribing,
}

/// A reading command on its way, or its answer on its way back.
pub(super) enum PendingRead {
    /// A pipeline: not atomic.
    Tails {
        channels: Vec<(ChannelName, u64)>,
        now_ms: Option<u64>,
        tails: Vec<Result<Tail, ReadFailure>>,
        whole_since_ms: Option<u64>,
    },
    Page {
        work: PageWork,
        answer: Option<Result<Page, ReadFailure>>,
    },
}

impl PendingRead {
    pub(super) fn new(work: HistoryWork) -> Self {
        match work {
            HistoryWork::Tails(channels) => {
                Self::Tails { channels, now_ms: None, tails: Vec::new(), whole_since_ms: None }
            }
            HistoryWork::Page(work) => Self::Page { work, answer: None },
        }
    }

    /// The server carries it out, or a part of it, if nothing fails.
    pub(super) fn execute(
        &mut self,
        server: &mut Server,
        failure: Option<ReadFailure>,
        planted_bug: PlantedBug,
    ) {
        match self {
            Self::Tails { now_ms: now_ms @ None, .. } => *now_ms = Some(server.clock_ms),
            Self::Tails { channels, tails, .. } if tails.len() < channels.len() => {
                let tail = server.tail(&channels[tails.len()].0);
                tails.push(failure.map_or(Ok(tail), Err));
            }
            Self::Tails { whole_since_ms, .. } => {
                *whole_since_ms = Some(if failure.is_some() { u64::MAX } else { server.whole_since_ms() });
            }
            Self::Page { work, answer } => {
                let PageWork { reader, channel, since, max_entries } = work;
                let page = match reader {
                    PageReader::Repair(_) if planted_bug == PlantedBug::SkippedRepair => {
                        Page { entries: Vec::new(), tail: *since, whole_since_ms: 0 }
                    }
                    _ => server.page(channel, *since, *max_entries),
                };
                *answer = Some(failure.map_or(Ok(page), Err));
            }
        }
    }

    pub(super) fn is_executed(&self) -> bool {
        match self {
            Self::Tails { whole_since_ms, .. } => whole_since_ms.is_some(),
            Self::Page { answer, .. } => answer.is_some(),
        }
    }
}
