//! The record of publications and their outcomes, which the checker compares with clients.

use super::plan::ChannelKind;
use protocol::channel::ChannelName;
use protocol::position::Position;

/// Everything published on one channel.
pub(super) struct ChannelRecord {
    pub(super) name: ChannelName,
    pub(super) kind: ChannelKind,
    /// In the order in which Redis took them, so by number.
    pub(super) published: Vec<RecordedPublication>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct RecordedPublication {
    /// Counts all publications of a run.
    pub(super) number: u64,
    /// `None`: without a history.
    pub(super) position: Option<Position>,
    pub(super) retention: Retention,
}

/// What Redis has done with a durable message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    /// Kept it, or removed it in a way that shows.
    Kept,
    /// Lost it with the end of its data: what nobody else has seen, nobody can know of.
    LostWithEnd,
    /// Somebody has deleted the history by hand. Who had nothing of it yet cannot know that there was one.
    Deleted,
}

impl ChannelRecord {
    /// The durable message at a position.
    pub(super) fn at(&self, position: Position) -> Option<&RecordedPublication> {
        self.published.iter().find(|published| published.position == Some(position))
    }

    pub(super) fn of_number(&self, number: u64) -> Option<&RecordedPublication> {
        self.published
            .binary_search_by_key(&number, |published| published.number)
            .ok()
            .map(|at| &self.published[at])
    }

    /// What was published between two numbers.
    pub(super) fn between(&self, after: u64, before: u64) -> impl Iterator<Item = &RecordedPublication> {
        let begin = self.published.partition_point(|published| published.number <= after);
        self.published[begin..].iter().take_while(move |published| published.number < before)
    }

    /// Redis has lost everything behind a number.
    pub(super) fn lose_end(&mut self, saved: u64) {
        for published in self.published.iter_mut().filter(|published| published.number > saved) {
            published.retention = Retention::LostWithEnd;
        }
    }

    /// Somebody has deleted the history.
    pub(super) fn delete(&mut self) {
        for published in self.published.iter_mut().filter(|published| published.retention == Retention::Kept)
        {
            published.retention = Retention::Deleted;
        }
    }
}
