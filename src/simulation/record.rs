//! The record of all publications, which the checker compares with the messages of clients.

use super::plan::ChannelKind;
use protocol::channel::ChannelName;
use protocol::position::Position;

/// Everything published on one channel.
pub(super) struct ChannelRecord {
    pub(super) name: ChannelName,
    pub(super) kind: ChannelKind,
    /// In the order of acceptance by Redis, so sorted by number.
    pub(super) published: Vec<RecordedPublication>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct RecordedPublication {
    /// Counts all publications of a run.
    pub(super) number: u64,
    /// `None` for a plain message.
    pub(super) position: Option<Position>,
    pub(super) retention: Retention,
}

/// Whether Redis still has a durable message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    /// Kept, or removed in a way that replicas detect.
    Kept,
    /// Lost with the latest writes. Without another reader, the loss cannot be detected.
    LostWithEnd,
    /// Deleted with the history. Clients without a message of the history cannot detect it.
    Deleted,
}

impl ChannelRecord {
    /// The durable message at this position.
    pub(super) fn at(&self, position: Position) -> Option<&RecordedPublication> {
        self.published.iter().find(|published| published.position == Some(position))
    }

    pub(super) fn of_number(&self, number: u64) -> Option<&RecordedPublication> {
        self.published
            .binary_search_by_key(&number, |published| published.number)
            .ok()
            .map(|at| &self.published[at])
    }

    /// The publications between two numbers, both excluded.
    pub(super) fn between(&self, after: u64, before: u64) -> impl Iterator<Item = &RecordedPublication> {
        let begin = self.published.partition_point(|published| published.number <= after);
        self.published[begin..].iter().take_while(move |published| published.number < before)
    }

    /// Marks all publications after the last save as lost.
    pub(super) fn lose_end(&mut self, saved: u64) {
        for published in self.published.iter_mut().filter(|published| published.number > saved) {
            published.retention = Retention::LostWithEnd;
        }
    }

    /// Marks all kept publications as deleted.
    pub(super) fn delete(&mut self) {
        for published in self.published.iter_mut().filter(|published| published.retention == Retention::Kept)
        {
            published.retention = Retention::Deleted;
        }
    }
}
