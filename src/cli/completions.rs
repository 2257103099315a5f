//! `aaren completions` and `aaren man`: what a shell and `man` know of the command line.

use std::path::Path;

use aaren_agents::run::report;
use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions of a shell.
///
/// - `aaren`: the definition of the command line
pub fn run(args: &CompletionsArgs, mut aaren: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut aaren, "aaren", &mut script);
    report::print(String::from_utf8(script)?.trim_end())
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for every command into this folder, in place of printing the first one
    #[arg(long, value_name = "DIR")]
    output: Option<std::path::PathBuf>,
}

/// Prints the manual's page, or writes those of all commands.
///
/// - `aaren`: the definition of the command line
pub fn man(args: &ManArgs, aaren: Command) -> Result<()> {
    match &args.output {
        Some(folder) => write_pages(folder, aaren),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(aaren).render(&mut page)?;
            report::print(String::from_utf8(page)?.trim_end())
        }
    }
}

fn write_pages(folder: &Path, aaren: Command) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    clap_mangen::generate_to(aaren, folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    report::print(format!("wrote the manual's pages to {}", folder.display()))
}
