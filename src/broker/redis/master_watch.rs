//! Watches whether the sentinels still name the master of a link.
//!
//! After a failover on request the old master answers as a master for about ten seconds. Publishers ask the sentinels
//! and use the new master, so a link to the old one looks healthy and receives only its own probes.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::TlsCertificates;
use redis::aio::MultiplexedConnection;
use tokio::time::{sleep, timeout};

use super::address::Sentinels;
use super::link_error::LinkError;
use super::options::RedisOptions;
use super::sentinel::{MasterAddress, ask, connect};

/// The longest time between two queries of a sentinel, so that a long `probe_interval` does not delay a failover.
const MAX_INTERVAL: Duration = Duration::from_millis(500);

/// The sentinels of a link, and the master that they named.
pub(super) struct MasterWatch {
    sentinels: Sentinels,
    certificates: Option<TlsCertificates>,
    master: MasterAddress,
}

/// The end of one query. The connection is kept for the next one; `None` after a failure.
struct QueryEnd {
    index: usize,
    connection: Option<MultiplexedConnection>,
    answer: Option<MasterAddress>,
}

impl MasterWatch {
    pub(super) fn new(
        sentinels: Sentinels,
        certificates: Option<TlsCertificates>,
        master: MasterAddress,
    ) -> Self {
        Self { sentinels, certificates, master }
    }

    /// Returns when more than half of the sentinels name the same other master. Sentinels that do not answer, or a
    /// minority that disagrees, do not end a link.
    pub(super) async fn until_moved(&self, options: &RedisOptions) -> LinkError {
        let interval = options.probe_interval.min(MAX_INTERVAL);
        let bound = options.connect_timeout;
        let count = self.sentinels.sentinels.len();
        let mut answers = vec![None; count];
        let mut queries: FuturesUnordered<_> =
            (0..count).map(|index| self.query(index, None, interval, bound)).collect();
        while let Some(QueryEnd { index, connection, answer }) = queries.next().await {
            answers[index] = answer;
            if let Some((host, port)) = other_master(&answers, &self.master) {
                return LinkError::MasterMoved(format!("{host}:{port}"));
            }
            queries.push(self.query(index, connection, interval, bound));
        }
        // Not reached: there is at least one sentinel, and each query is followed by another one.
        std::future::pending().await
    }

    /// Asks one sentinel after this wait. Each sentinel has queries of its own, so a frozen one delays no other.
    async fn query(
        &self,
        index: usize,
        connection: Option<MultiplexedConnection>,
        wait: Duration,
        bound: Duration,
    ) -> QueryEnd {
        sleep(wait).await;
        let asking = async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => connect(&self.sentinels.sentinels[index], self.certificates.as_ref()).await?,
            };
            let answer = ask(&mut connection, &self.sentinels.name).await?;
            Ok::<_, LinkError>((connection, answer))
        };
        match timeout(bound, asking).await {
            Ok(Ok((connection, answer))) => {
                QueryEnd { index, connection: Some(connection), answer: Some(answer) }
            }
            Ok(Err(error)) => {
                log::debug!("redis: a sentinel did not name the master: {error}");
                QueryEnd { index, connection: None, answer: None }
            }
            Err(_) => QueryEnd { index, connection: None, answer: None },
        }
    }
}

/// The master that more than half of the sentinels name, if it is not this one.
fn other_master<'a>(
    answers: &'a [Option<MasterAddress>],
    master: &MasterAddress,
) -> Option<&'a MasterAddress> {
    let is_majority = |address: &&MasterAddress| {
        let votes = answers.iter().flatten().filter(|answer| answer == address).count();
        votes * 2 > answers.len()
    };
    answers.iter().flatten().find(is_majority).filter(|address| *address != master)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_majority_of_all_sentinels_ends_a_link() {
        let address = |port| ("a".to_owned(), port);
        for (answers, moved) in [
            (&[Some(2)][..], Some(2)),
            (&[Some(1)], None),
            (&[None], None),
            (&[Some(2), None, None], None),
            (&[Some(2), Some(1), None], None),
            (&[Some(2), Some(3), Some(1)], None),
            (&[Some(2), None, Some(2)], Some(2)),
            (&[Some(2), Some(1)], None),
        ] {
            let answers: Vec<_> = answers.iter().map(|port| port.map(address)).collect();
            assert_eq!(other_master(&answers, &address(1)), moved.map(address).as_ref(), "{answers:?}");
        }
    }
}
