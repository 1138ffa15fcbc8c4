//! `mixed`: the load of E-Magine: most messages go to one user, many to a small channel, a few to a big channel, while
//! heartbeats continue.

use super::{STRIDE, one};
use crate::BenchError;
use crate::clients::Pace;
use crate::publisher::Recipients;
use crate::run::ScenarioRun;

/// Clients in each small channel.
const ROOM: usize = 10;
/// The number of big channels, which share all clients evenly.
const HALLS: usize = 4;
/// The percentage of messages to a big channel.
const TO_HALLS: u64 = 1;
/// The percentage of messages to a small channel. The others go to single users.
const TO_ROOMS: u64 = 39;

/// The two channels of a client.
pub(crate) fn channels(namespace: &str, index: usize, sockets: usize) -> Vec<String> {
    vec![
        format!("{namespace}:room-{}", index / ROOM),
        format!("{namespace}:hall-{}", hall_of(index, sockets)),
    ]
}

fn hall_of(index: usize, sockets: usize) -> usize {
    index / sockets.div_ceil(HALLS)
}

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    run.connect_all(Pace::DEFAULT)?;
    let (sockets, namespace) = (run.arguments.sockets, run.namespace.clone());
    let heartbeats = run.heartbeats();
    run.publish_and_record(|number| recipients(&namespace, number, sockets))?;
    let heartbeats = run.heartbeats() - heartbeats;
    run.outcome.plain("heartbeats", "heartbeats answered during the run", heartbeats as f64);
    Ok(())
}

/// The recipients of the message with this number, the same in every run.
fn recipients(namespace: &str, number: u64, sockets: usize) -> Recipients {
    let kind = number % 100;
    // Spreads the messages to big channels evenly.
    let pick = |count: usize| ((number / 3 + number * STRIDE) % count as u64) as usize;
    if kind < TO_HALLS {
        let hall = pick(hall_of(sockets - 1, sockets) + 1);
        let size = sockets.div_ceil(HALLS);
        let members = hall * size..((hall + 1) * size).min(sockets);
        Recipients { channel: format!("{namespace}:hall-{hall}"), members }
    } else if kind * 37 % 99 < TO_ROOMS {
        let room = pick(sockets.div_ceil(ROOM));
        let members = room * ROOM..((room + 1) * ROOM).min(sockets);
        Recipients { channel: format!("{namespace}:room-{room}"), members }
    } else {
        one(pick(sockets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_the_subscribers() {
        for sockets in [1, 3, 10, 25, 104, 1_000] {
            for number in 0..500 {
                let recipients = recipients("bench", number, sockets);
                if recipients.channel.starts_with("user:") {
                    assert_eq!(recipients.members.len(), 1);
                    continue;
                }
                let subscribed = (0..sockets)
                    .filter(|index| channels("bench", *index, sockets).contains(&recipients.channel));
                assert_eq!(subscribed.collect::<Vec<_>>(), recipients.members.clone().collect::<Vec<_>>());
                assert!(!recipients.members.is_empty(), "{recipients:?} of {sockets}");
            }
        }
    }

    #[test]
    fn of_a_hundred_messages_one_goes_to_a_big_channel_and_39_to_small_ones() {
        let kinds = |name: &str| {
            (0..100).filter(|number| recipients("bench", *number, 1_000).channel.contains(name)).count()
        };
        assert_eq!((kinds("hall"), kinds("room"), kinds("user")), (1, 39, 60));
    }
}
