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
    /// Order of the runs, by a column of their table or a key of their jobs: returns from the largest on, all else from the smallest
    #[arg(long, value_name = "COLUMN|KEY")]
    sort: Option<String>,
    /// Columns of the table of runs: mixer, context, execution, seed, steps, parameters, return, best, training, act, state, or keys of
    /// the jobs such as train.steps [default: all but seed]
    #[arg(long, value_name = "COLUMN|KEY,...", value_delimiter = ',')]
    columns: Vec<String>,
    /// Print compare.json in place of its tables
    #[arg(long)]
    json: bool,
}

pub fn run(args: CompareArgs) -> Result<()> {
    let CompareArgs { runs, output, table, force, evaluation, sort, columns, json } = args;
    let comparison = compare::compare(&runs, &CompareOptions { output, table, force, evaluation, sort, columns })?;
    show(json, &comparison, || comparison.to_string())
}
