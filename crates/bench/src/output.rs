//! Prints results and warnings.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::{BenchArgs, BenchError};

/// Prints one line to standard output. An error means that the reader closed it.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Prints one line to standard error.
pub(crate) fn print_error(text: &str) {
    // Nothing to do if standard error is closed.
    let _ = writeln!(io::stderr(), "emagine-gateway: {text}");
}

/// Writes the plot if requested, and prints the text; returns the exit code of the process.
pub(crate) fn finish(
    arguments: &BenchArgs,
    svg: impl FnOnce() -> String,
    text: &str,
    is_exact: bool,
) -> Result<ExitCode, BenchError> {
    if let Some(path) = &arguments.plot {
        std::fs::write(path, svg())
            .map_err(|error| BenchError::Run(format!("cannot write the plot {}: {error}", path.display())))?;
    }
    print(text.trim_end())?;
    Ok(if is_exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
