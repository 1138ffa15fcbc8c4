//! Why a run ends early.

use std::io;

/// Why `bench` failed: one sentence for its user.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The arguments fit neither each other nor this machine.
    #[error("{0}")]
    Arguments(String),
    /// A server could not be started or reached.
    #[error("{0}")]
    Server(String),
    /// The scenario was given up.
    #[error("{0}")]
    Run(String),
    /// The operating system refused a call.
    #[error(transparent)]
    Io(#[from] io::Error),
}
