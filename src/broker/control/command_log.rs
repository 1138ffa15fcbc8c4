//! Decides which commands of the stream this process must still apply. Pure.

use std::fmt;

/// The id of an entry of a stream: Unix milliseconds by Redis' clock, and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::broker) struct StreamId {
    pub(in crate::broker) ms: u64,
    pub(in crate::broker) number: u64,
}

impl StreamId {
    /// Before every entry.
    pub(in crate::broker) const ZERO: Self = Self { ms: 0, number: 0 };

    /// The least id after this one.
    pub(in crate::broker) const fn next(self) -> Self {
        match self.number.checked_add(1) {
            Some(number) => Self { ms: self.ms, number },
            None => Self { ms: self.ms.saturating_add(1), number: 0 },
        }
    }

    pub(in crate::broker) fn parse(text: &str) -> Option<Self> {
        let (ms, number) = text.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, number: number.parse().ok()? })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

/// How a link begins to follow the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Begin {
    /// The process follows the stream for the first time.
    First,
    /// It continues where the link before ended.
    Resumed,
    /// The stream ends before the latest command that was applied: Redis lost data. Commands may be lost.
    Rewound,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Entry {
    /// It was read before.
    Known,
    /// The next command.
    Next,
    /// A command, but the one before it was never read: it was trimmed, or Redis lost data.
    AfterHole,
}

/// How far this process has read the stream of commands.
#[derive(Debug, Default)]
pub(in crate::broker) struct CommandLog {
    read: Option<Position>,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    id: StreamId,
    /// Whether `id` is an entry, or the end of the stream at some time. Otherwise it is only a time.
    is_exact: bool,
}

impl CommandLog {
    /// Everything up to this id has been read.
    pub(in crate::broker) fn position(&self) -> StreamId {
        self.read.map_or(StreamId::ZERO, |read| read.id)
    }

    /// A link begins. `last`: the stream's last id. `started_ms`: when this process was started, by Redis' clock; its
    /// sessions are not older, so earlier commands do not concern it.
    pub(in crate::broker) fn begin(&mut self, last: StreamId, started_ms: u64) -> Begin {
        let (begin, read) = match self.read {
            None if last.ms < started_ms => (Begin::First, Position { id: last, is_exact: true }),
            None => {
                let id = StreamId { ms: started_ms.saturating_sub(1), number: u64::MAX };
                (Begin::First, Position { id, is_exact: false })
            }
            Some(read) if last < read.id && read.is_exact => {
                (Begin::Rewound, Position { id: last, is_exact: true })
            }
            Some(read) => (Begin::Resumed, read),
        };
        self.read = Some(read);
        begin
    }

    /// An entry was read. `after`: the id of the entry before it; `None`: it does not say so.
    pub(in crate::broker) fn read(&mut self, id: StreamId, after: Option<StreamId>) -> Entry {
        let before = self.read.unwrap_or(Position { id: StreamId::ZERO, is_exact: false });
        if id <= before.id {
            return Entry::Known;
        }
        self.read = Some(Position { id, is_exact: true });
        match after {
            Some(after) if before.is_exact && after != before.id => Entry::AfterHole,
            _ => Entry::Next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, number: 0 }
    }

    #[test]
    fn ids_round_trip() {
        assert_eq!(StreamId::parse("5-7").map(|id| id.to_string()).as_deref(), Some("5-7"));
        for bad in ["", "5", "5-", "-7", "5-x", "5-7-8"] {
            assert_eq!(StreamId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn commands_from_before_the_process_are_skipped() {
        let mut log = CommandLog::default();
        assert_eq!((log.begin(id(50), 100), log.position()), (Begin::First, id(50)));
        assert_eq!(log.read(id(50), Some(id(40))), Entry::Known);
        assert_eq!(log.read(id(120), Some(id(50))), Entry::Next);
    }

    #[test]
    fn commands_from_before_the_first_link_are_read() {
        let mut log = CommandLog::default();
        log.begin(id(120), 100);
        assert!(log.position() < id(100) && log.position() > id(99));
        assert_eq!(log.read(id(100), Some(id(30))), Entry::Next, "nothing before it concerns this process");
        assert_eq!(log.read(id(120), Some(id(110))), Entry::AfterHole);
    }

    #[test]
    fn every_command_is_read_once_over_all_links() {
        let mut log = CommandLog::default();
        log.begin(StreamId::ZERO, 100);
        assert_eq!(log.read(id(120), Some(StreamId::ZERO)), Entry::Next);
        assert_eq!(log.begin(id(130), 100), Begin::Resumed);
        assert_eq!(log.read(id(120), Some(StreamId::ZERO)), Entry::Known);
        assert_eq!(log.read(id(130), Some(id(120))), Entry::Next);
    }

    #[test]
    fn trimmed_and_lost_commands_are_noticed() {
        let mut log = CommandLog::default();
        log.begin(id(50), 100);
        assert_eq!(log.begin(id(300), 100), Begin::Resumed);
        assert_eq!(log.read(id(200), Some(id(190))), Entry::AfterHole, "trimmed");
        assert_eq!(log.begin(id(150), 100), Begin::Rewound, "a failover lost the last commands");
        assert_eq!(log.read(id(210), Some(id(150))), Entry::Next);
        assert_eq!(log.begin(StreamId::ZERO, 100), Begin::Rewound, "the stream is gone");
        assert_eq!(log.read(id(220), Some(StreamId::ZERO)), Entry::Next);
        assert_eq!(log.read(id(230), Some(StreamId::ZERO)), Entry::AfterHole, "it is gone again");
    }
}
