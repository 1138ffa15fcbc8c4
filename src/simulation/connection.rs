//! The connection between a link and the server, and the reading commands on it.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::cluster::{Cluster, ServerAddress};
use super::plan::PlantedBug;
use crate::broker::link::{HistoryWork, PageReader, PageWork, ReadErrorKind, SubscriptionBatch};
use crate::broker::newest::EntryRange;
use protocol::channel::ChannelName;
use protocol::history::{Page, Tail};

/// The connection between a link and the server.
#[derive(Default)]
pub(super) struct SimulatedConnection {
    /// The channels to which the connection is subscribed on the server.
    pub(super) subscribed: BTreeSet<ChannelName>,
    /// Pushes sent by the server, in order.
    pub(super) pushes: VecDeque<Push>,
    /// Pushes received but not yet handled by the link.
    pub(super) received: VecDeque<Delivered>,
    pub(super) batch: Option<(SubscriptionBatch, BatchStep)>,
    /// The channels of the batch that the server refused.
    pub(super) refused: Vec<ChannelName>,
    /// The channels of the batch whose slots the server does not own.
    pub(super) redirected: Vec<ChannelName>,
    pub(super) reads: Vec<PendingRead>,
}

pub(super) enum Push {
    Message(ChannelName, Rc<str>),
    /// The slot of the channel left, which ends the subscription.
    Unsubscribed(ChannelName),
    Confirmed,
}

pub(super) enum Delivered {
    Message(ChannelName, Rc<str>),
    Unsubscribed(ChannelName),
    /// A marker in the queue: all earlier messages were handled. An unsubscription waits for it.
    Drained,
}

/// The progress of a batch: two commands, each sent and then confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchStep {
    Subscribe,
    Subscribing,
    Unsubscribe,
    Unsubscribing,
}

/// A reading command, or its answer once it was executed.
pub(super) enum PendingRead {
    /// A pipeline: not atomic.
    Tails {
        channels: Vec<(ChannelName, u64)>,
        now_ms: Option<u64>,
        tails: Vec<Result<Tail, ReadErrorKind>>,
        whole_since_ms: Option<u64>,
    },
    Page {
        work: PageWork,
        answer: Option<Result<Page, ReadErrorKind>>,
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

    /// Executes the command, or the next part of a pipeline, on the server. A server redirects the commands for slots that
    /// it does not serve; returns whether it did.
    pub(super) fn execute(
        &mut self,
        cluster: &mut Cluster,
        address: ServerAddress,
        mut failure: Option<ReadErrorKind>,
        planted_bug: PlantedBug,
    ) -> bool {
        let channel = match self {
            Self::Tails { channels, tails, .. } => channels.get(tails.len()).map(|(channel, _)| channel),
            Self::Page { work, .. } => Some(&work.channel),
        };
        let is_redirected = channel.is_some_and(|channel| !cluster.serves(address, channel));
        if is_redirected {
            failure = Some(ReadErrorKind::Transient);
        }
        let server = cluster.server(address);
        match self {
            Self::Tails { now_ms: now_ms @ None, .. } => *now_ms = Some(server.clock_ms),
            Self::Tails { channels, tails, .. } if tails.len() < channels.len() => {
                let tail = server.tail(&channels[tails.len()].0);
                tails.push(failure.map_or(Ok(tail), Err));
            }
            Self::Tails { channels, whole_since_ms, .. } => {
                let whole_since = channels.iter().map(|(channel, _)| server.whole_since_ms(channel)).max();
                *whole_since_ms = Some(whole_since.filter(|_| failure.is_none()).unwrap_or(u64::MAX));
            }
            Self::Page { work, answer } => {
                let PageWork { reader, channel, range, max_entries } = work;
                let page = match reader {
                    PageReader::Repair(_) if planted_bug == PlantedBug::SkippedRepair => {
                        let (EntryRange::After(since) | EntryRange::UpTo(since)) = *range;
                        Page { entries: Vec::new(), tail: since, whole_since_ms: 0 }
                    }
                    PageReader::Client(_)
                        if planted_bug == PlantedBug::StaleLast && matches!(range, EntryRange::UpTo(_)) =>
                    {
                        let mut page = server.page(channel, *range, *max_entries);
                        page.entries.pop();
                        page
                    }
                    _ => server.page(channel, *range, *max_entries),
                };
                *answer = Some(failure.map_or(Ok(page), Err));
            }
        }
        is_redirected
    }

    pub(super) fn is_executed(&self) -> bool {
        match self {
            Self::Tails { whole_since_ms, .. } => whole_since_ms.is_some(),
            Self::Page { answer, .. } => answer.is_some(),
        }
    }
}
