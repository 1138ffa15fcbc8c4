//! Where histories are read: over one link, which was proven.

use tokio::time::Instant;

use super::Broker;
use super::memory::MemoryBroker;
use super::recovery::{Interrupted, NotRecovered, Recovered, RecoveryLimits};
use super::redis::{ReadLine, RedisBroker};
use protocol::channel::ChannelName;
use protocol::position::Position;

/// Reads histories over the link that was there when it was made. Every gap that was told before is told of what comes
/// before what is read; so it reads over no later link, whose gaps are not known yet.
#[derive(Clone)]
pub struct HistoryReader(Source);

#[derive(Clone)]
enum Source {
    Memory(MemoryBroker),
    Redis(RedisBroker, ReadLine),
}

impl HistoryReader {
    /// `None`: there was no link before `deadline`.
    pub(super) async fn of(broker: &Broker, deadline: Instant) -> Option<Self> {
        let source = match broker {
            Broker::Memory(broker) => Source::Memory(broker.clone()),
            Broker::Redis(broker) => {
                let line = broker.proven_line(deadline).await?;
                Source::Redis(broker.clone(), line)
            }
        };
        Some(Self(source))
    }

    /// Reads what was published durably on `channel` behind `since`: everything, or nothing.
    ///
    /// # Errors
    /// The link is lost. Until `deadline` that is told when another reader can be had.
    pub async fn recover(
        &self,
        channel: &ChannelName,
        since: Position,
        limits: RecoveryLimits,
        deadline: Instant,
    ) -> Result<Result<Recovered, NotRecovered>, Interrupted> {
        match &self.0 {
            Source::Memory(broker) => Ok(broker.recover(channel, since, limits)),
            Source::Redis(broker, line) => broker.recover(line, channel, since, limits, deadline).await,
        }
    }
}
