//! The `aaren` binary: parses the command line and runs one command.

mod cli;

use std::process::ExitCode;

use aaren_agents::run::{made_by, process};
use clap::Parser;
use cli::Cli;

// Training allocates and frees many short-lived tensors; the system allocator returns their memory to the kernel each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    made_by::set_commit(env!("AAREN_COMMIT"));
    process::run_with(cli.verbosity(), || cli.run())
}
