//! `aaren convert`.

use aaren_agents::jobs::Checkpoint;
use aaren_agents::offline::convert;
use aaren_agents::run::{RunDir, check_folder, report};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// Run folder
    run: PathBuf,
    /// The new mixer, for example performer
    #[arg(long)]
    mixer: String,
    /// New run folder [default: the old one's name with the mixer's]
    #[arg(long = "run", value_name = "DIR")]
    new_run: Option<PathBuf>,
    /// Checkpoint to take, by its step
    #[arg(long, value_name = "STEP|latest|best", default_value = "latest")]
    checkpoint: Checkpoint,
    /// Set one key of the new run's job, for example --set policy.options.performer.rows=256
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
}

pub fn run(args: &ConvertArgs) -> Result<()> {
    let run = RunDir::open(&args.run)?;
    let (step, checkpoint) = args.checkpoint.of(&run)?;
    let beside = || args.run.with_file_name(format!("{}-{}", run.name(), args.mixer));
    let to = args.new_run.clone().unwrap_or_else(beside);
    check_folder(&to)?;
    let conversion = convert(&run, (step, &checkpoint), &args.mixer, &args.overrides, &to)?;
    report::print(conversion)
}
