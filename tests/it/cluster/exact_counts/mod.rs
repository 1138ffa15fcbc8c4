//! Durable messages arrive once and in order while the cluster changes and fails.
//!
//! Backends publish numbered messages to many channels: 1 000 durable ones a second, and plain ones. Two gateways have
//! two version 2 clients each. Each durable number must arrive once and in order, without a gap. A plain number may be
//! lost while the cluster changes, where a gap follows. `/readyz` must be true: no plain number is lost while both
//! gateways are ready, except in the moment in which a fault is noticed.
//!
//! - `faults`: what happens to the cluster
//! - `judged`: the verdict on all clients
//! - `publishers`: the backends
//! - `readiness`: what `/readyz` said at each moment
//! - `run`: the processes of a test

mod faults;
mod judged;
mod publishers;
mod readiness;
mod run;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use faults::{ALL, Fault};
use run::{Layout, Run};

/// Injects every fault, or as many random ones as CLUSTER_FAULTS says; CLUSTER_FAULT_SEED repeats their order.
#[track_caller]
fn survive_faults(layout: Layout) {
    let mut run = Run::start(layout);
    for fault in drawn_faults() {
        run.survive(fault);
    }
    run.finish();
}

fn drawn_faults() -> Vec<Fault> {
    let Some(count) = number("CLUSTER_FAULTS") else { return ALL.to_vec() };
    let mut rng = StdRng::seed_from_u64(number("CLUSTER_FAULT_SEED").unwrap_or_else(|| rand::rng().random()));
    (0..count).map(|_| *ALL.choose(&mut rng).expect("there are faults")).collect()
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn durable_messages_are_exact_with_one_slot() {
    survive_faults(Layout::OneSlot);
}

#[test]
fn durable_messages_are_exact_with_all_slots() {
    survive_faults(Layout::Slots);
}
