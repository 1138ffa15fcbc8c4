//! Asks the sentinels for the address of the master.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::TlsCertificates;
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, timeout_at};

use super::address::{Sentinels, connect_for_query};
use super::link_error::LinkError;

/// The host and port of a master.
pub(super) type MasterAddress = (String, u16);

/// Queries all sentinels at once, for at most `bound`, and uses the answer of the majority.
///
/// A sentinel that is partitioned from the others still names the old master. So the wait ends early only when more
/// than half of the sentinels agree; at the deadline the most frequent answer is used.
pub(super) async fn find_master(
    sentinels: &Sentinels,
    certificates: Option<&TlsCertificates>,
    bound: Duration,
) -> Result<MasterAddress, LinkError> {
    let deadline = Instant::now() + bound;
    let queries = sentinels.sentinels.iter().map(|sentinel| async move {
        let asking =
            async { ask(&mut connect_for_query(sentinel, certificates).await?, &sentinels.name).await };
        let answer = timeout_at(deadline, asking).await;
        answer.unwrap_or(Err(LinkError::ConnectTimeout(bound)))
    });
    let mut answers: FuturesUnordered<_> = queries.collect();
    let mut votes = MasterVotes::default();
    while let Some(answer) = answers.next().await {
        votes.count(answer);
        if votes.is_settled(sentinels.sentinels.len()) {
            break;
        }
    }
    votes.result(&sentinels.name)
}

/// Asks a sentinel for the address of the master with this name. Without a bound: the caller has one.
pub(super) async fn ask(
    connection: &mut MultiplexedConnection,
    name: &str,
) -> Result<MasterAddress, LinkError> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let answer: Option<MasterAddress> =
        command.query_async(connection).await.map_err(|error| LinkError::of_connect(&error))?;
    answer.ok_or_else(|| LinkError::Refused("it does not know this master".into()))
}

/// The answers of the sentinels so far.
#[derive(Default)]
struct MasterVotes {
    counts: Vec<(MasterAddress, usize)>,
    failure: Option<LinkError>,
}

impl MasterVotes {
    fn count(&mut self, answer: Result<MasterAddress, LinkError>) {
        match answer {
            Ok(address) => match self.counts.iter_mut().find(|(known, _)| *known == address) {
                Some((_, votes)) => *votes += 1,
                None => self.counts.push((address, 1)),
            },
            // A refused password takes precedence, because an operator must fix it.
            Err(loss) if self.failure.is_none() || loss.needs_an_operator() => self.failure = Some(loss),
            Err(_) => {}
        }
    }

    fn is_settled(&self, sentinels: usize) -> bool {
        self.counts.iter().any(|(_, votes)| votes * 2 > sentinels)
    }

    fn result(mut self, name: &str) -> Result<MasterAddress, LinkError> {
        self.counts.sort_by_key(|(_, votes)| std::cmp::Reverse(*votes));
        if let Some((address, _)) = self.counts.into_iter().next() {
            return Ok(address);
        }
        Err(match self.failure {
            Some(LinkError::Access(reason)) => LinkError::Access(format!("by a sentinel: {reason}")),
            Some(loss) => LinkError::NoMaster { name: name.to_owned(), reason: loss.to_string() },
            // Not reached: there is at least one sentinel, and each one answers or fails.
            None => LinkError::NoMaster { name: name.to_owned(), reason: "no sentinel was asked".into() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(answers: &[Option<u16>]) -> MasterVotes {
        let mut votes = MasterVotes::default();
        for answer in answers {
            votes.count(answer.map(|port| ("a".to_owned(), port)).ok_or(LinkError::Closed));
        }
        votes
    }

    #[test]
    fn the_answer_of_the_majority_is_used() {
        for (answers, settled, port) in [
            (&[Some(1)][..], 1, Some(1)),
            (&[None, Some(2)], 1, Some(2)),
            (&[Some(1), Some(2), Some(2)], 3, Some(2)),
            (&[Some(1), Some(2)], 2, Some(1)),
            (&[None, None], 0, None),
        ] {
            let votes = votes(answers);
            assert_eq!(votes.is_settled(3), answers.len() == 3, "{answers:?}");
            assert_eq!(votes.counts.iter().map(|(_, votes)| votes).sum::<usize>(), settled);
            assert_eq!(votes.result("main").ok().map(|(_, port)| port), port, "{answers:?}");
        }
    }

    #[test]
    fn a_refused_password_is_reported_before_other_errors() {
        let mut votes = votes(&[None]);
        votes.count(Err(LinkError::Access("WRONGPASS".into())));
        votes.count(Err(LinkError::Closed));
        assert_eq!(votes.result("main"), Err(LinkError::Access("by a sentinel: WRONGPASS".into())));
    }
}
