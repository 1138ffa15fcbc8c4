//! The error of the load generator.

use std::io;

/// Why `bench` failed, as one sentence for its user.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The arguments are invalid, or too large for this machine.
    #[error("{0}")]
    Arguments(String),
    /// A server could not be started or reached.
    #[error("{0}")]
    Server(String),
    /// The scenario failed.
    #[error("{0}")]
    Run(String),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
