//! Faults drawn from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{BOTH, Direction, Fault};

/// One thing that a proxy does, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) lasts: Duration,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// This happens to a direction while the step lasts.
    Set(Direction, Fault),
    /// What is open is reset, once.
    ResetOpen,
}

/// So many faults, none longer than `longest`. The same seed gives the same ones; `FAULT_SEED` gives others to every
/// test that draws some, for whoever looks for a fault that is rare.
pub(crate) fn random(seed: u64, count: usize, longest: Duration) -> Vec<Step> {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_add(1_000 * shift()));
    (0..count)
        .map(|_| {
            let direction = BOTH[rng.random_range(0..2)];
            let action = match rng.random_range(0..8) {
                0 => Action::Set(direction, Fault::Pass),
                1 => Action::Set(direction, Fault::Delay(Duration::from_millis(rng.random_range(1..=100)))),
                2 => Action::Set(direction, Fault::Throttle(rng.random_range(500..=50_000))),
                3 => Action::Set(direction, Fault::Stall(rng.random_range(1..=65_536))),
                4 => Action::Set(direction, Fault::BlackHole),
                5 => Action::Set(direction, Fault::Reset),
                6 => Action::Set(direction, Fault::CutAfter(rng.random_range(0..=2_000))),
                _ => Action::ResetOpen,
            };
            Step { action, lasts: longest.mul_f64(rng.random()) }
        })
        .collect()
}

fn shift() -> u64 {
    std::env::var("FAULT_SEED").map_or(0, |number| number.parse().expect("FAULT_SEED is a number"))
}
