//! What every binary of ours does around its command: the log, signals, errors as one line, the exit code.
//!
//! ```
//! use std::process::ExitCode;
//!
//! let code = aaren_agents::run::process::run(|| Ok(println!("done")));
//! assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
//! # Ok::<(), anyhow::Error>(())
//! ```

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::progress::{self, AboveBars};
use super::{Taken, interrupt, words::plain};

/// How much a process says on stderr beside its results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors alone: no progress, no warnings.
    Quiet,
    /// Progress, warnings, and what `AAREN_LOG` asks for.
    #[default]
    Normal,
    /// Also what is done and how fast.
    Verbose,
    /// Also what only a developer wants to know.
    Debug,
}

/// Has mimalloc, for a program whose allocator it is, keep freed memory for ten seconds in place of one and ask for large pages: training
/// allocates and frees tensors of megabytes at every step, and the kernel clears each page that it gives. What the environment says
/// (`MIMALLOC_PURGE_DELAY`, `MIMALLOC_ALLOW_LARGE_OS_PAGES`) stays. To be called before the program has threads.
pub fn keep_pages() {
    // Numbers of options in mimalloc.h of version 3, which its crate has no names for.
    const ALLOW_LARGE_OS_PAGES: libmimalloc_sys::mi_option_t = 6;
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    const MILLISECONDS: std::ffi::c_long = 10_000;
    // SAFETY: asking for the version has no requirements, and setting an option writes a number that allocations read; there are no other
    // threads yet.
    unsafe {
        if libmimalloc_sys::mi_version() / 10_000 == 3 {
            libmimalloc_sys::mi_option_set_default(ALLOW_LARGE_OS_PAGES, 1);
            libmimalloc_sys::mi_option_set_default(PURGE_DELAY, MILLISECONDS);
        }
    }
}

/// Exit code of a command whose run another process is writing, as `sysexits.h` has it: the same command may succeed later.
pub const TRY_AGAIN: u8 = 75;

static PROGRAM: OnceLock<Vec<OsString>> = OnceLock::new();

/// Says how this program is started, for one that is not the file of this process.
///
/// - `words`: the file of the program and its first arguments, at least one word
pub fn set_program(words: Vec<OsString>) {
    let _ = PROGRAM.set(words); // the first one stands
}

/// A command that starts this program once more, to which arguments are still to be given.
///
/// # Errors
/// If the system does not say which file this process is of.
pub(crate) fn this_program() -> Result<Command> {
    match PROGRAM.get().and_then(|words| words.split_first()) {
        Some((file, first)) => {
            let mut command = Command::new(file);
            command.args(first);
            Ok(command)
        }
        None => Ok(Command::new(std::env::current_exe().context("cannot find the program to start it once more")?)),
    }
}

/// Runs a command as the whole work of a process, once: sets up the log (`AAREN_LOG`) and signals before it, and says an error in one
/// line on stderr after it.
pub fn run(command: impl FnOnce() -> Result<()>) -> ExitCode {
    run_with(Verbosity::default(), command)
}

/// As [`run`], and says more or less than by default; then `AAREN_LOG` is not asked.
pub fn run_with(verbosity: Verbosity, command: impl FnOnce() -> Result<()>) -> ExitCode {
    exit_code(verbosity, command).into()
}

/// As [`run_with`], and gives the exit code as a number, for a process that is not ours to end.
pub fn exit_code(verbosity: Verbosity, command: impl FnOnce() -> Result<()>) -> u8 {
    let filter = EnvFilter::builder().with_env_var("AAREN_LOG").with_default_directive(LevelFilter::WARN.into());
    let filter = match verbosity {
        Verbosity::Quiet => EnvFilter::new("error"),
        Verbosity::Normal => filter.from_env_lossy(),
        Verbosity::Verbose => EnvFilter::new("info"),
        Verbosity::Debug => EnvFilter::new("debug"),
    };
    if verbosity == Verbosity::Quiet {
        progress::silence();
    }
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| AboveBars).with_ansi(has_colours());
    log.without_time().with_target(false).init();

    match interrupt::install().and_then(|()| command()) {
        Ok(()) => 0,
        Err(error) => {
            // A closed stderr must not turn the error into a panic.
            let _ = writeln!(std::io::stderr(), "error: {}", message(&error));
            match error.downcast_ref::<Taken>() {
                _ if error.is::<interrupt::Interrupted>() => interrupt::exit_code(),
                Some(Taken::Writing { .. }) => TRY_AGAIN,
                _ => 1,
            }
        }
    }
}

/// Whether stderr is a terminal that shows colours, and is allowed to (<https://no-color.org>).
fn has_colours() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !is_set("NO_COLOR") && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

/// The error and its causes on one line that a terminal can show.
pub fn message(error: &anyhow::Error) -> String {
    plain(&one_line(error)).into_owned()
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a message".into())
}

/// The error and its causes, joined by colons; line breaks become blanks. A cause that the text before it ends with already
/// (many error types print their source) is not said twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        if !text.ends_with(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_joined_on_one_line_and_said_once() {
        let error = anyhow::anyhow!("disk\n  full").context("cannot write x: disk full").context("checkpoint");
        assert_eq!(one_line(&error), "checkpoint: cannot write x: disk full");
        assert_eq!(one_line(&anyhow::anyhow!("a").context("b")), "b: a");
    }
}
