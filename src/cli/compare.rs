//! `aaren compare`.

use super::args::show;
use aaren_agents::compare::{self, CompareOptions};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Run folders: at least two, or one that was evaluated with --cache-sizes
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    options: CompareOptions,
    /// Print compare.json in place of its tables
    #[arg(long)]
    json: bool,
}

pub fn run(args: &CompareArgs) -> Result<()> {
    let comparison = compare::compare(&args.runs, &args.options)?;
    show(args.json, &comparison, || comparison.to_string())
}
