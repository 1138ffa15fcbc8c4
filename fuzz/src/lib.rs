//! What must hold for whatever arrives. Each module has one `check`, which takes any bytes and panics when a promise is
//! broken. The fuzzer makes up the bytes (`fuzz/targets`); the gateway's tests replay those that are worth keeping
//! (`tests/it/corpus.rs`), so nothing here may need the fuzzer.

pub mod command;
pub mod deflate;
pub mod frame_reader;
mod frames;
mod json;
pub mod publication;
pub mod settings;
pub mod token;

/// What takes any bytes, and panics when a promise is broken.
pub type Check = fn(&[u8]);

/// Every target by its name, which is also the name of its folder in `fuzz/corpus`.
pub const TARGETS: [(&str, Check); 6] = [
    ("frame_reader", frame_reader::check),
    ("deflate", deflate::check),
    ("command", command::check),
    ("publication", publication::check),
    ("token", token::check),
    ("settings", settings::check),
];
