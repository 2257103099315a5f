//! `aaren table`.

use super::args::show;
use super::train::summary;
use aaren_agents::config::parse_seeds;
use aaren_agents::run::{interrupt, report};
use aaren_agents::table::{Choice, Made, TableRequest};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct TableArgs {
    /// The manifest, TOML or JSON: rows, agents and seeds
    manifest: PathBuf,
    /// Processes at a time, each with a share of the processors; 0 trains nothing and compares what has finished [default: the number of
    /// processors]
    #[arg(long, short, value_name = "N")]
    jobs: Option<usize>,
    /// Rows by their names, in which * stands for anything [default: all]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    rows: Vec<String>,
    /// Agents by their names, in the same way [default: all]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    agents: Vec<String>,
    /// Seeds [default: as in the manifest]
    #[arg(long, value_name = "A..B|A,B,C", value_parser = seeds)]
    seeds: Option<Seeds>,
    /// Folder for the run folders [default: as in the manifest, or runs/ and its name]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Set any key of all jobs, over all that the manifest says
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// Make this run of the list in this process, and no comparison: for array jobs of schedulers
    #[arg(long, value_name = "I", conflicts_with = "jobs")]
    index: Option<usize>,
    /// Print a line of JSON for each run: its number, its folder, how far it is, and the command that makes it
    #[arg(long, conflicts_with_all = ["jobs", "index", "json"])]
    list: bool,
    /// Print the results as JSON in place of lines and tables
    #[arg(long)]
    json: bool,
    /// With --index: save the run and stop when stdin ends, for a program that starts this one and may be killed
    #[arg(long, requires = "index")]
    stop_with_input: bool,
}

/// One seed or several.
#[derive(Clone, Debug)]
struct Seeds(Vec<u64>);

fn seeds(text: &str) -> Result<Seeds, String> {
    parse_seeds(text).map(Seeds)
}

/// Makes the runs of a table, or one of them.
pub fn run(args: TableArgs) -> Result<()> {
    if args.stop_with_input {
        interrupt::stop_with_input()?;
    }
    let TableArgs { manifest, jobs, rows, agents, seeds, runs, set, index, list, json, .. } = args;
    let seeds = seeds.map(|Seeds(seeds)| seeds).unwrap_or_default();
    let request = TableRequest { manifest, choice: Choice { rows, agents, seeds, runs, set }, jobs };
    if list {
        return request.list()?.iter().try_for_each(|piece| report::print(serde_json::to_string(piece)?));
    }
    if let Some(index) = index {
        let plan = request.plan()?;
        let piece = plan.piece(index)?;
        return match piece.train()? {
            Made::Now(trained) => show(json, &trained, || format!("{}\n{}", piece.name, summary(&trained))),
            Made::Before => show(json, &json!({ "run": piece.run, "state": "finished-before" }), || {
                format!("{}: finished before", piece.name)
            }),
        };
    }
    let table = request.make(&mut |ended| if json { Ok(()) } else { report::print(ended) })?;
    show(json, &table, || table.to_string())?;
    table.check()
}
