//! Where results and warnings go.

use std::io::{self, Write as _};
use std::path::Path;

use crate::BenchError;

/// Prints one line of output. An error means that its reader is gone.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Prints one line for the user on standard error.
pub(crate) fn print_error(text: &str) {
    // Without a reader there is nothing to do.
    let _ = writeln!(io::stderr(), "emagine-gateway: {text}");
}

/// Writes a plot.
pub(crate) fn draw(path: &Path, svg: &str) -> Result<(), BenchError> {
    std::fs::write(path, svg)
        .map_err(|error| BenchError::Run(format!("the plot {}: {error}", path.display())))
}
