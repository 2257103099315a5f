//! The `aaren-bench` binary: measures one part.

use std::process::ExitCode;

use aaren_agents::run::process;
use clap::Parser;

// As the `aaren` binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::keep_pages();
    let cli = aaren_bench::Cli::parse();
    process::run(|| cli.run())
}
