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
    /// Folder for compare.md, compare.json and compare.html [default: `compare` beside the runs]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Make a table with a row for each task; only runs of one row are compared with each other
    #[arg(long)]
    table: bool,
    /// Compare even runs on different tasks or data
    #[arg(long)]
    force: bool,
    /// Compare this evaluation of every run, which `aaren evaluate` left in evaluations/NAME.json [default: that of the training]
    #[arg(long, value_name = "NAME")]
    evaluation: Option<String>,
    /// Print compare.json in place of its tables
    #[arg(long)]
    json: bool,
}

pub fn run(args: CompareArgs) -> Result<()> {
    let options = CompareOptions { output: args.output, table: args.table, force: args.force, evaluation: args.evaluation };
    let comparison = compare::compare(&args.runs, &options)?;
    show(args.json, &comparison, || comparison.to_string())
}
