//! Draws sequences of faults from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{BOTH, Direction, Fault};

/// One fault and its duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) lasts: Duration,
}

/// The effect of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Sets the fault of a direction while the step lasts.
    Set(Direction, Fault),
    /// Resets the open connections once.
    ResetOpen,
}

/// Draws `count` faults, none longer than `longest`. The same seed gives the same faults. `FAULT_SEED` changes the
/// seeds of all tests, to search for rare failures.
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
