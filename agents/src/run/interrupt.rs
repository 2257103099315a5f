//! Signals that ask a process to stop: Ctrl-C, SIGTERM (schedulers, `timeout`) and SIGHUP (a closed terminal).
//!
//! A process dies of them at once, unless a part of it says otherwise: work in [`Steps`] stops at a clean point, and a second Ctrl-C
//! stops it at once; a short piece of writing is finished first; what [`Leftovers`] are of is removed.
//!
//! ```
//! // Without a signal before it, this is no error.
//! aaren_agents::run::interrupt::check()?;
//! # Ok::<(), anyhow::Error>(())
//! ```

use std::io::Write;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use thiserror::Error;

use super::progress::AboveBars;

/// The first signal; 0 before there was one.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// How many [`Steps`] and [`Whole`] there are.
static STEPS: AtomicUsize = AtomicUsize::new(0);
static WHOLE: AtomicUsize = AtomicUsize::new(0);

type Removal = Box<dyn Fn() + Send>;

/// What a signal removes before the process dies of it.
static LEFTOVERS: Mutex<Option<Removal>> = Mutex::new(None);

/// Work that looks for a signal at every step ([`check`]): while this is there, a signal is left to it.
#[derive(Debug)]
#[must_use]
pub struct Steps(());

impl Steps {
    /// From now on.
    #[allow(clippy::new_without_default, reason = "it counts")]
    pub fn new() -> Self {
        STEPS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        STEPS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Something short that is not to be left half done, such as a file on its way to its name: a process that was sent a signal dies of it
/// when it is done.
#[derive(Debug)]
#[must_use]
pub(crate) struct Whole(());

impl Whole {
    pub(crate) fn new() -> Self {
        WHOLE.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let is_last = WHOLE.fetch_sub(1, Ordering::SeqCst) == 1;
        let signal = SIGNAL.load(Ordering::SeqCst);
        if is_last && signal != 0 && STEPS.load(Ordering::SeqCst) == 0 {
            die(signal);
        }
    }
}

/// Something long that leaves files or processes behind where it is cut off: a signal has them removed before the process dies of it. There is
/// one at a time.
#[derive(Debug)]
#[must_use]
pub struct Leftovers(());

impl Leftovers {
    /// - `remove`: called in another thread while the work goes on
    pub fn new(remove: impl Fn() + Send + 'static) -> Self {
        *LEFTOVERS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(remove));
        Self(())
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        *LEFTOVERS.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn remove_leftovers() {
    if let Some(remove) = &*LEFTOVERS.lock().unwrap_or_else(PoisonError::into_inner) {
        remove();
    }
}

/// Ends the process by a signal, as if nobody handled it.
fn die(signal: i32) {
    remove_leftovers();
    let _ = emulate_default_handler(signal);
    // Where the system would not.
    std::process::exit(128 + signal);
}

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
            let is_first = SIGNAL.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            let (is_whole, has_steps) = (WHOLE.load(Ordering::SeqCst) > 0, STEPS.load(Ordering::SeqCst) > 0);
            if !is_whole && !has_steps {
                die(signal);
            } else if is_first && has_steps {
                // A closed stderr must not stop the handler.
                let _ = writeln!(AboveBars, "stopping at the next step; press Ctrl-C again to stop at once");
            } else if signal == SIGINT && !is_first {
                // Not so for the others: `timeout` and systemd send two of them at once.
                remove_leftovers();
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

/// Asks the jobs of the process to stop, as [`request`] does, when the input of the process ends: whoever holds its other end can stop them
/// so, and stops them by dying.
///
/// # Errors
/// If the system has no thread left.
pub fn stop_with_input() -> Result<()> {
    let wait = || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        request();
    };
    std::thread::Builder::new().name("input".into()).spawn(wait).context("cannot start the thread that watches the input")?;
    Ok(())
}

/// Asks all jobs of the process to stop at a clean point, as Ctrl-C does: for a process that handles signals in its own way.
pub fn request() {
    let _ = SIGNAL.compare_exchange(0, SIGINT, Ordering::Relaxed, Ordering::Relaxed); // the first one stands
}

/// Forgets that jobs were asked to stop, so that the next one runs: for a process that outlives its jobs, when all of them have ended.
pub fn forget() {
    SIGNAL.store(0, Ordering::Relaxed);
}

/// The signal that asked to stop; 0 without one.
pub(crate) fn signal() -> i32 {
    SIGNAL.load(Ordering::Relaxed)
}

/// Takes over a signal that another process of the same job was sent: this one stops as that one does, with the same exit code.
pub(crate) fn agree(signal: i32) {
    let _ = SIGNAL.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed); // the first one stands
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
