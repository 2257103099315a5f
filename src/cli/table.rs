//! `aaren table`.

use super::args::{Seeds, show};
use super::train::summary;
use aaren_agents::config::parse_seeds;
use aaren_agents::run::{interrupt, report};
use aaren_agents::table::{Made, TableRequest};
use anyhow::Result;
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub struct TableArgs {
    #[command(flatten)]
    request: TableRequest,
    /// Seeds [default: as in the manifest]
    #[arg(long, value_name = "A..B|A,B,C", value_parser = seeds)]
    seeds: Option<Seeds>,
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

fn seeds(text: &str) -> Result<Seeds, String> {
    parse_seeds(text).map(Seeds)
}

/// Makes the runs of a table, or one of them.
pub fn run(args: TableArgs) -> Result<()> {
    if args.stop_with_input {
        interrupt::stop_with_input()?;
    }
    let TableArgs { mut request, seeds, index, list, json, .. } = args;
    request.choice.seeds = seeds.map(|Seeds(seeds)| seeds).unwrap_or_default();
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
