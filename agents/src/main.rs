//! The `aaren` binary: sets up the process, runs one command, turns an error into one line and an exit code.

use std::{io::Write, process::ExitCode};

use agents::{cli::Cli, interrupt};
use clap::Parser;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

// Training allocates and frees many short-lived tensors; the system allocator returns their memory to the kernel each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::builder()
        .with_env_var("AAREN_LOG")
        .with_default_directive(LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().with_target(false).init();

    match interrupt::install().and_then(|()| cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr must not turn the error into a panic.
            let _ = writeln!(std::io::stderr(), "error: {}", one_line(&format!("{error:#}")));
            if error.is::<interrupt::Interrupted>() { interrupt::EXIT_CODE.into() } else { ExitCode::FAILURE }
        }
    }
}

/// Folds line breaks, with the blanks around them, into single blanks.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
