//! Ctrl-C: the first one asks the job to stop at a clean point, the second one stops the process.
//!
//! ```
//! // Without a Ctrl-C before it, this is no error.
//! aaren_agents::run::interrupt::check()?;
//! # Ok::<(), anyhow::Error>(())
//! ```

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use thiserror::Error;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Exit code of a process that was interrupted.
pub(crate) const EXIT_CODE: u8 = 130;

/// A job stopped because the user asked for it.
#[derive(Clone, Copy, Debug, Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Handles Ctrl-C from now on; called once, by the binary.
///
/// # Errors
/// If the operating system refuses, or it was called before.
pub(crate) fn install() -> Result<()> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(EXIT_CODE));
        }
        // A closed stderr must not stop the handler.
        let _ = writeln!(std::io::stderr(), "stopping at the next step; press Ctrl-C again to stop at once");
    })
    .context("cannot handle Ctrl-C")
}

/// Whether the user asked to stop.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// The same as an error, for loops that have nothing to save.
///
/// # Errors
/// [`Interrupted`], which the binary turns into exit code 130.
pub fn check() -> Result<(), Interrupted> {
    if requested() { Err(Interrupted) } else { Ok(()) }
}
