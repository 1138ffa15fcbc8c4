//! The load generator. The next commit makes its files modules of this crate; until then the gateway compiles them.
