//! Waiting for something that must become true.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Polls `probe` until it yields a value, and fails the test when `deadline` has passed. The only way in which
/// tests wait.
#[track_caller]
pub(crate) fn eventually<T>(deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < end, "it did not become true within {deadline:?}");
        pause(Duration::from_millis(2));
    }
}

/// Waits until `actual` yields `expected`; shows the last value when it does not.
#[track_caller]
pub(crate) fn eventually_eq<T: PartialEq + Debug>(
    deadline: Duration,
    expected: &T,
    mut actual: impl FnMut() -> T,
) {
    let end = Instant::now() + deadline;
    loop {
        let value = actual();
        if value == *expected {
            return;
        }
        assert!(Instant::now() < end, "within {deadline:?} wanted {expected:?}, last was {value:?}");
        pause(Duration::from_millis(2));
    }
}

#[allow(clippy::disallowed_methods, reason = "a test's thread has no sockets to serve")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
