//! Channels in use: edges, pages and counts, by what hubs report.

use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::replica::{Hub, Replica};
use super::*;
use crate::support::deadline::eventually;

const NO_GRACE: Duration = Duration::ZERO;

/// The edges of each channel, in order.
fn channel_edges(backend: &mut Connection) -> BTreeMap<String, Vec<String>> {
    let entries: Vec<(String, BTreeMap<String, String>)> =
        redis::cmd("XRANGE").arg("gateway:{presence}:channels").arg("-").arg("+").query(backend).unwrap();
    let mut edges = BTreeMap::<String, Vec<String>>::new();
    for (_, fields) in entries {
        assert!(fields["at"].parse::<u64>().unwrap() > 1_700_000_000_000, "Unix time in milliseconds");
        edges.entry(fields["channel"].clone()).or_default().push(fields["state"].clone());
    }
    edges
}

fn over_both(test: impl Fn(&Replica)) {
    test(&Replica::in_memory(NO_GRACE));
    let redis = RedisServer::start();
    test(&Replica::start(&redis, NO_GRACE));
}

#[test]
fn channels_in_use_are_listed_by_namespace_and_page() {
    over_both(|replica| {
        let hub = replica.hub();
        let names = ["members:1", "occupancy:1", "occupancy:10", "occupancy:2"];
        for channel in names {
            hub.occupied(channel, true);
        }
        hub.count("occupancy:2", 3);
        hub.member("members:1", "42", true);
        let all =
            ["members:1 1 1", "occupancy:1 1 0", "occupancy:10 1 0", "occupancy:2 1 3"].map(String::from);
        eventually_eq(BURIAL, &(all.to_vec(), None), || replica.channels(None, None, 10));
        let first = (all[..3].to_vec(), Some("occupancy:10".into()));
        assert_eq!(replica.channels(None, None, 3), first);
        assert_eq!(replica.channels(None, Some("occupancy:10"), 3), (all[3..].to_vec(), None));
        assert_eq!(replica.channels(Some("occupancy"), None, 3), (all[1..].to_vec(), None));
        assert_eq!(replica.channels(Some("occupancy"), Some("a:1"), 3), (all[1..].to_vec(), None));
        assert_eq!(
            replica.channels(Some("occupancy"), None, 1),
            (all[1..2].to_vec(), Some("occupancy:1".into()))
        );
        assert_eq!(replica.channels(Some("members"), Some("occupancy:1"), 3), (vec![], None));
        assert_eq!(replica.channel("occupancy:2"), Some((1, Some(3))));
        assert_eq!(replica.channel("occupancy:3"), None);
        hub.occupied("occupancy:2", false);
        eventually_eq(BURIAL, &None, || replica.channel("occupancy:2"));
    });
}

#[test]
fn a_channel_within_its_grace_is_in_use_without_replicas() {
    let redis = RedisServer::start();
    let minute = Duration::from_secs(60);
    for replica in [Replica::in_memory(minute), Replica::start(&redis, minute)] {
        let hub = replica.hub();
        hub.occupied("occupancy:1", true);
        eventually_eq(BURIAL, &Some((1, Some(0))), || replica.channel("occupancy:1"));
        hub.occupied("occupancy:1", false);
        eventually_eq(BURIAL, &Some((0, Some(0))), || replica.channel("occupancy:1"));
        assert_eq!(replica.channels(None, None, 1), (vec!["occupancy:1 0 0".to_owned()], None));
    }
    assert_eq!(channel_edges(&mut redis.client())["occupancy:1"], ["occupied"]);
}

#[test]
fn a_channel_on_two_replicas_has_one_pair_of_edges() {
    let redis = RedisServer::start();
    let replicas = [Replica::start(&redis, NO_GRACE), Replica::start(&redis, NO_GRACE)];
    // Two hubs of one replica, and a hub of another.
    let hubs = [replicas[0].hub(), replicas[0].hub(), replicas[1].hub()];
    hubs.iter().for_each(|hub| hub.occupied("occupancy:1", true));
    eventually_eq(BURIAL, &Some((2, Some(0))), || replicas[0].channel("occupancy:1"));
    hubs.iter().for_each(|hub| hub.occupied("occupancy:1", false));
    eventually_eq(BURIAL, &None, || replicas[1].channel("occupancy:1"));
    assert_eq!(channel_edges(&mut redis.client())["occupancy:1"], ["occupied", "vacated"]);
}

/// Channels that gain and lose subscribers at random, while replicas are killed.
#[test]
fn edges_of_channels_stay_exact_while_replicas_are_killed() {
    const CHANNELS: usize = 4;
    let redis = RedisServer::start();
    let mut random = SmallRng::seed_from_u64(1);
    let mut replicas: Vec<(Replica, Hub, [bool; CHANNELS])> = Vec::new();
    let start = || {
        let replica = Replica::start(&redis, NO_GRACE);
        let hub = replica.hub();
        (replica, hub, [false; CHANNELS])
    };
    replicas.extend((0..3).map(|_| start()));
    let (begin, mut kills) = (Instant::now(), [5, 11].map(Duration::from_secs).into_iter().peekable());
    while begin.elapsed() < Duration::from_secs(12) {
        let at = random.random_range(0..replicas.len());
        if kills.next_if(|kill| begin.elapsed() > *kill).is_some() {
            replicas[at] = start();
            continue;
        }
        let channel = random.random_range(0..CHANNELS);
        let (replica, hub, occupied) = &mut replicas[at];
        // Every two seconds another channel loses its subscribers, so that it has an edge.
        let is_vacant = channel == (begin.elapsed().as_secs() / 2) as usize % CHANNELS;
        if is_vacant && !occupied[channel] {
            continue;
        }
        occupied[channel] = !occupied[channel];
        let reports = replica.metrics.presence_reports.get();
        hub.occupied(&format!("occupancy:{channel}"), occupied[channel]);
        eventually(BURIAL, || (replica.metrics.presence_reports.get() > reports).then_some(()));
    }
    let truth: Vec<Option<u32>> = (0..CHANNELS)
        .map(|channel| {
            let count = replicas.iter().filter(|(_, _, occupied)| occupied[channel]).count() as u32;
            (count > 0).then_some(count)
        })
        .collect();
    eventually_eq(BURIAL, &truth, || {
        let found = |channel| replicas[0].0.channel(&format!("occupancy:{channel}"));
        (0..CHANNELS).map(|channel| found(channel).map(|(replicas, _)| replicas)).collect()
    });
    let edges = channel_edges(&mut redis.client());
    assert!(edges.values().map(Vec::len).sum::<usize>() > CHANNELS, "too few edges: {edges:?}");
    for (channel, states) in edges {
        let expected = ["occupied", "vacated"].into_iter().cycle().take(states.len());
        assert!(states.iter().eq(expected), "{channel} has {states:?}");
        let number: usize = channel.trim_start_matches("occupancy:").parse().unwrap();
        assert_eq!(states.len() % 2 == 1, truth[number].is_some(), "{channel} ends with {states:?}");
    }
}
