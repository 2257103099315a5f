//! `aaren schema`: what a job may say, for editors and for the book.

use aaren_agents::{config, run::report, table};
use anyhow::Result;
use clap::Args;

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Print a Markdown page of all keys in place of a JSON Schema
    #[arg(long)]
    markdown: bool,
    /// Print the schema of the manifests of `aaren table` in place of that of a job
    #[arg(long, conflicts_with = "markdown")]
    table: bool,
}

/// Prints it.
pub fn run(args: &SchemaArgs) -> Result<()> {
    report::print(match (args.markdown, args.table) {
        (true, _) => config::keys_page().trim_end().to_owned(),
        (false, true) => serde_json::to_string_pretty(&table::schema())?,
        (false, false) => serde_json::to_string_pretty(&config::schema())?,
    })
}
