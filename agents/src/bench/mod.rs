//! `aaren bench`: measurements of the parts.

use anyhow::{Result, bail};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {}

/// Measures it.
///
/// # Errors
/// Always, until there is something to measure.
pub fn run(_args: BenchArgs) -> Result<()> {
    bail!("there is nothing to measure yet")
}
