//! A crowd that comes and goes at random while replicas and Redis fail: edges and counts stay exact.
//!
//! - `kind`: what is counted, by its keys.
//! - `deployment`: replicas, clients and disturbances.
//! - `observer`: watches Redis meanwhile.
//! - `oracle`: what must hold for edges.
//! - `rooms`: what must hold for counts and members of channels.

mod deployment;
mod kind;
mod observer;
mod oracle;
mod rooms;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::RngExt as _;

use self::deployment::{Crowd, Disturbance};
use self::kind::{CHANNELS, Kind, USERS};
use super::BURIAL;
use crate::support::deadline::eventually_eq;

/// Most of a run is waiting, so several share the machine.
const PARALLEL_RUNS: u64 = 7;

/// Runs one seed: its disturbances begin 2 s apart, and the first differs in nine seeds after each other.
fn run(kind: &'static Kind, seed: u64) {
    let mut crowd = Crowd::start(kind, seed);
    let all = Disturbance::ALL;
    let own = all[(seed % all.len() as u64) as usize];
    let mut disturbances = vec![own];
    while disturbances.len() < 4 {
        disturbances.push(all[crowd.random().random_range(0..all.len())]);
    }
    crowd.churn(Duration::from_secs(9), &disturbances);
    end(kind, crowd);
}

/// Checks a crowd, and again after all have left.
fn end(kind: &Kind, mut crowd: Crowd) {
    crowd.wait_arrived();
    check(kind, &crowd);
    crowd.leave();
    check(kind, &crowd);
}

/// Counts and edges become the truth, and nothing of a dead replica is left.
fn check(kind: &Kind, crowd: &Crowd) {
    let mut backend = crowd.redis.client();
    let truth = crowd.truth();
    eventually_eq(BURIAL, &truth, || -> BTreeMap<String, i64> {
        redis::cmd("HGETALL").arg(kind.counts).query(&mut backend).unwrap()
    });
    eventually_eq(BURIAL, &crowd.replica_count(), || {
        redis::cmd("ZCARD").arg("gateway:{presence}:replicas").query(&mut backend).unwrap()
    });
    let rosters: Vec<String> = redis::cmd("KEYS").arg(kind.rosters).query(&mut backend).unwrap();
    assert!(rosters.len() <= crowd.replica_count(), "{rosters:?}");
    let leaving: usize = redis::cmd("ZCARD").arg(kind.leaving).query(&mut backend).unwrap();
    assert_eq!(leaving, 0);
    if let Some(pages) = kind.pages {
        let names: Vec<String> =
            redis::cmd("ZRANGE").arg(pages).arg(&["0", "-1"]).query(&mut backend).unwrap();
        assert!(names.iter().eq(truth.keys()), "pages have {names:?}, not {truth:?}");
    }
    (kind.check_more)(crowd);
    let edges = oracle::read_edges(kind, &mut backend);
    let observed = crowd.observer.observed();
    let present = oracle::check_edges(&edges, crowd.arrivals(), &observed);
    assert_eq!(present, truth.into_keys().collect::<Vec<_>>());
    if kind.published.is_some() {
        // All of the stream was published before it was read.
        eventually_eq(BURIAL, &true, || {
            crowd.observer.observed().heard.last().is_some_and(|heard| edges.ends_with(heard))
        });
        oracle::check_heard(&edges, &crowd.observer.observed(), true);
    }
}

/// Runs many seeds, and names those that fail.
fn run_seeds(kind: &'static Kind) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, seeds) = (number("PRESENCE_SEED").unwrap_or(1), number("PRESENCE_SEEDS").unwrap_or(20));
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..PARALLEL_RUNS.min(seeds) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= first + seeds {
                        return;
                    }
                    if thread::scope(|scope| scope.spawn(|| run(kind, seed)).join()).is_err() {
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "seeds {failed:?} failed; PRESENCE_SEED=… PRESENCE_SEEDS=1 repeats one");
}

#[test]
fn edges_of_users_stay_exact_while_everything_fails() {
    run_seeds(&USERS);
}

#[test]
fn edges_and_counts_of_channels_stay_exact_while_everything_fails() {
    run_seeds(&CHANNELS);
}

#[test]
fn edges_of_users_stay_exact_while_replicas_drain() {
    let mut crowd = Crowd::start(&USERS, 1);
    crowd.churn(Duration::from_secs(7), &[Disturbance::Drain; 3]);
    end(&USERS, crowd);
}

#[test]
fn edges_of_users_stay_exact_over_slow_links() {
    let mut crowd = Crowd::start(&USERS, 2);
    crowd.delay_links(Duration::from_millis(150));
    crowd.churn(Duration::from_secs(5), &[]);
    end(&USERS, crowd);
}
