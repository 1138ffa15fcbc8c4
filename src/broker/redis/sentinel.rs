//! Asking sentinels where the master is.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::{AsyncConnectionConfig, ConnectionInfo, TlsCertificates};
use tokio::time::{Instant, timeout_at};

use super::address::{Sentinels, client};
use super::link_error::LinkError;

/// Where a master is.
type Place = (String, u16);

/// Asks all sentinels at once, for `bound` at most, and believes the most of them.
///
/// One that was cut off from the others still names the master of that time, so the first answer is not taken
/// unless more than half of the sentinels have given it.
pub(super) async fn find_master(
    sentinels: &Sentinels,
    certificates: Option<&TlsCertificates>,
    bound: Duration,
) -> Result<ConnectionInfo, LinkError> {
    let deadline = Instant::now() + bound;
    let questions = sentinels.sentinels.iter().map(|sentinel| async move {
        let answer = timeout_at(deadline, ask(sentinel, &sentinels.name, certificates)).await;
        answer.unwrap_or(Err(LinkError::ConnectTimeout(bound)))
    });
    let mut answers: FuturesUnordered<_> = questions.collect();
    let mut tally = Tally::default();
    while let Some(answer) = answers.next().await {
        tally.count(answer);
        if tally.is_settled(sentinels.sentinels.len()) {
            break;
        }
    }
    let (host, port) = tally.result(&sentinels.name)?;
    Ok(sentinels.master_at(host, port))
}

async fn ask(
    sentinel: &ConnectionInfo,
    name: &str,
    certificates: Option<&TlsCertificates>,
) -> Result<Place, LinkError> {
    // The caller has a deadline for all of it.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let client = client(sentinel.clone(), certificates)?;
    let connecting = client.get_multiplexed_async_connection_with_config(&config).await;
    let mut connection = connecting.map_err(|error| LinkError::of_connect(&error))?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let answer: Option<Place> =
        question.query_async(&mut connection).await.map_err(|error| LinkError::of_connect(&error))?;
    answer.ok_or_else(|| LinkError::Refused("it does not know this master".into()))
}

/// What the sentinels have said so far.
#[derive(Default)]
struct Tally {
    places: Vec<(Place, usize)>,
    failure: Option<LinkError>,
}

impl Tally {
    fn count(&mut self, answer: Result<Place, LinkError>) {
        match answer {
            Ok(place) => match self.places.iter_mut().find(|(known, _)| *known == place) {
                Some((_, votes)) => *votes += 1,
                None => self.places.push((place, 1)),
            },
            // A refused password is what somebody can mend, so it is what is said.
            Err(loss) if self.failure.is_none() || loss.needs_an_operator() => self.failure = Some(loss),
            Err(_) => {}
        }
    }

    fn is_settled(&self, sentinels: usize) -> bool {
        self.places.iter().any(|(_, votes)| votes * 2 > sentinels)
    }

    fn result(mut self, name: &str) -> Result<Place, LinkError> {
        self.places.sort_by_key(|(_, votes)| std::cmp::Reverse(*votes));
        if let Some((place, _)) = self.places.into_iter().next() {
            return Ok(place);
        }
        Err(match self.failure {
            Some(LinkError::Access(reason)) => LinkError::Access(format!("by a sentinel: {reason}")),
            Some(loss) => LinkError::NoMaster { name: name.to_owned(), reason: loss.to_string() },
            // There is at least one sentinel, and it has answered or failed.
            None => LinkError::NoMaster { name: name.to_owned(), reason: "nobody was asked".into() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(answers: &[Option<u16>]) -> Tally {
        let mut tally = Tally::default();
        for answer in answers {
            tally.count(answer.map(|port| ("a".to_owned(), port)).ok_or(LinkError::Closed));
        }
        tally
    }

    #[test]
    fn what_most_of_them_say_counts() {
        for (answers, settled, port) in [
            (&[Some(1)][..], 1, Some(1)),
            (&[None, Some(2)], 1, Some(2)),
            (&[Some(1), Some(2), Some(2)], 3, Some(2)),
            (&[Some(1), Some(2)], 2, Some(1)),
            (&[None, None], 0, None),
        ] {
            let tally = tally(answers);
            assert_eq!(tally.is_settled(3), answers.len() == 3, "{answers:?}");
            assert_eq!(tally.places.iter().map(|(_, votes)| votes).sum::<usize>(), settled);
            assert_eq!(tally.result("main").ok().map(|(_, port)| port), port, "{answers:?}");
        }
    }

    #[test]
    fn a_refused_password_is_said_first() {
        let mut tally = tally(&[None]);
        tally.count(Err(LinkError::Access("WRONGPASS".into())));
        tally.count(Err(LinkError::Closed));
        assert_eq!(tally.result("main"), Err(LinkError::Access("by a sentinel: WRONGPASS".into())));
    }
}
