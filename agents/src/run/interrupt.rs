//! Signals that ask a job to stop: Ctrl-C, SIGTERM (schedulers, `timeout`) and SIGHUP (a closed terminal). The job stops at a clean
//! point; a second Ctrl-C stops the process.
//!
//! ```
//! // Without a signal before it, this is no error.
//! aaren_agents::run::interrupt::check()?;
//! # Ok::<(), anyhow::Error>(())
//! ```

use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use thiserror::Error;

use super::progress::AboveBars;

/// The first signal; 0 before there was one.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// A job stopped because the user asked for it.
#[derive(Clone, Copy, Debug, Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Handles the signals from now on; called once, by the binary.
///
/// # Errors
/// If the operating system refuses, or has no thread left.
pub(crate) fn install() -> Result<()> {
    // What `nohup` has the process ignore stays ignored.
    let handled = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| signal != SIGHUP || !is_ignored(signal));
    let mut signals = Signals::new(handled).context("cannot handle signals")?;
    let handle = move || {
        for signal in signals.forever() {
            let is_first = SIGNAL.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if is_first {
                // A closed stderr must not stop the handler.
                let _ = writeln!(AboveBars, "stopping at the next step; press Ctrl-C again to stop at once");
            } else if signal == SIGINT {
                // Not so for the others: `timeout` and systemd send two of them at once.
                std::process::exit(i32::from(exit_code()));
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(handle).context("cannot start the thread that handles signals")?;
    Ok(())
}

/// Whether the process was started with a signal ignored, as far as the system says.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// Exit code of a process that was interrupted: 128 and the signal's number, as shells have it.
pub(crate) fn exit_code() -> u8 {
    let signal = SIGNAL.load(Ordering::Relaxed);
    128 + if signal == 0 { SIGINT } else { signal } as u8
}

/// Asks all jobs of the process to stop at a clean point, as Ctrl-C does: for a process that handles signals in its own way.
pub fn request() {
    let _ = SIGNAL.compare_exchange(0, SIGINT, Ordering::Relaxed, Ordering::Relaxed); // the first one stands
}

/// Forgets that jobs were asked to stop, so that the next one runs: for a process that outlives its jobs, when all of them have ended.
pub fn forget() {
    SIGNAL.store(0, Ordering::Relaxed);
}

/// Whether the user asked to stop.
pub(crate) fn requested() -> bool {
    SIGNAL.load(Ordering::Relaxed) != 0
}

/// The same as an error, for loops that have nothing to save.
///
/// # Errors
/// [`Interrupted`], which the binary turns into its exit code: 130, 143 or 129.
pub fn check() -> Result<(), Interrupted> {
    if requested() { Err(Interrupted) } else { Ok(()) }
}
