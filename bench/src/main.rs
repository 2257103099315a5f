//! The `aaren-bench` binary: measures one part.

use std::process::ExitCode;

use aaren_agents::run::process;
use aaren_bench::BenchArgs;
use clap::Parser;

// As the `aaren` binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measurements that anybody can repeat, beside peers in Python where there are any.
#[derive(Debug, Parser)]
#[command(name = "aaren-bench", version)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    process::run(|| aaren_bench::run(cli.bench))
}
