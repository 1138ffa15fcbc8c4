//! `fanout`: each message goes to every socket, or with `--channels` to every socket of one channel.

use super::{STRIDE, all};
use crate::BenchError;
use crate::clients::Pace;
use crate::publisher::Recipients;
use crate::run::ScenarioRun;

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    run.connect_all(Pace::DEFAULT)?;
    let (sockets, namespace) = (run.arguments.sockets, run.namespace.clone());
    match run.arguments.channels {
        None => run.publish_and_record(|_| all(sockets)),
        Some(count) => run.publish_and_record(|number| recipients(&namespace, number, sockets, count)),
    }
}

/// The channels of a client: one shared channel, or several own ones.
pub(crate) fn channels(namespace: &str, index: usize, sockets: usize, count: usize) -> Vec<String> {
    let name = |channel: usize| format!("{namespace}:{channel}");
    if count <= sockets {
        vec![name(((index + 1) * count - 1) / sockets)]
    } else {
        (index..count).step_by(sockets).map(name).collect()
    }
}

/// The recipients of the message with this number, the same in every run.
fn recipients(namespace: &str, number: u64, sockets: usize, count: usize) -> Recipients {
    let channel = (number * STRIDE % count as u64) as usize;
    let members = if count <= sockets {
        channel * sockets / count..(channel + 1) * sockets / count
    } else {
        channel % sockets..channel % sockets + 1
    };
    Recipients { channel: format!("{namespace}:{channel}"), members }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_the_subscribers() {
        for (sockets, count) in [(1, 1), (10, 1), (10, 3), (7, 7), (10, 11), (3, 100), (25, 24)] {
            for number in 0..count as u64 {
                let recipients = recipients("bench", number, sockets, count);
                let subscribed = (0..sockets)
                    .filter(|index| channels("bench", *index, sockets, count).contains(&recipients.channel));
                assert_eq!(subscribed.collect::<Vec<_>>(), recipients.members.clone().collect::<Vec<_>>());
                assert!(!recipients.members.is_empty(), "{recipients:?} of {sockets}");
            }
            let all: usize = (0..sockets).map(|index| channels("bench", index, sockets, count).len()).sum();
            assert_eq!(all, count.max(sockets));
        }
    }
}
