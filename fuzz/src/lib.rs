//! Properties that must hold for any input. Each module has one function `check`, which takes any bytes and panics if a
//! property does not hold.
//!
//! The fuzzer generates the bytes (`fuzz/targets`). The gateway's tests replay the corpus (`tests/it/corpus.rs`), so
//! this code must not depend on the fuzzer.
//!
//! # Files
//!
//! - [`frame_reader`]: the bytes of a client's socket.
//! - [`deflate`]: compressed messages.
//! - [`command`]: commands of clients.
//! - [`publication`]: payloads published to Redis.
//! - [`token`]: login tokens.
//! - [`settings`]: settings files and flags.
//! - `frames`, `json`: second implementations of frames and of JSON's grammar, to check the gateway's.

pub mod command;
pub mod deflate;
pub mod frame_reader;
mod frames;
mod json;
pub mod publication;
pub mod settings;
pub mod token;

/// Takes any bytes, and panics if a property does not hold.
pub type Check = fn(&[u8]);

/// Every target by its name. `fuzz/corpus` has a folder of the same name.
pub const TARGETS: [(&str, Check); 6] = [
    ("frame_reader", frame_reader::check),
    ("deflate", deflate::check),
    ("command", command::check),
    ("publication", publication::check),
    ("token", token::check),
    ("settings", settings::check),
];
