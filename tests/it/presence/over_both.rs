//! Runs the same test over both brokers.

/// The broker of a test.
#[derive(Clone, Copy)]
pub(crate) enum Over {
    Memory,
    Redis,
}

/// Runs each test over both brokers.
macro_rules! over_both {
    ($($test:ident)*) => {
        mod over_memory {
            $(#[test] fn $test() { super::$test($crate::presence::over_both::Over::Memory); })*
        }
        mod over_redis {
            $(#[test] fn $test() { super::$test($crate::presence::over_both::Over::Redis); })*
        }
    };
}
pub(crate) use over_both;
