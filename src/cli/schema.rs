//! `aaren schema`: what a job may say, for editors and for the book.

use aaren_agents::{config, run::report};
use anyhow::Result;
use clap::Args;

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Print a Markdown page of all keys in place of a JSON Schema
    #[arg(long)]
    markdown: bool,
}

/// Prints it.
pub fn run(args: &SchemaArgs) -> Result<()> {
    report::print(match args.markdown {
        true => config::keys_page().trim_end().to_owned(),
        false => serde_json::to_string_pretty(&config::schema())?,
    })
}
