//! `aaren train`.

use super::args::{JobArgs, Seeds, parse_seeds, show};
use aaren_agents::config::{Changes, Device};
use aaren_agents::jobs::{TrainRequest, Trained};
use aaren_agents::run::report;
use anyhow::Result;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Run folder [default: runs/ and the config's name, numbered if taken]
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Train a run for each of these seeds, one after another, in folders with -seed1, -seed2, ... after the name, and compare them
    #[arg(long, value_name = "A..B|A,B,C", value_parser = parse_seeds, conflicts_with = "seed")]
    pub seeds: Option<Seeds>,
    /// Where tensors live [default: as in the config]
    #[arg(long)]
    device: Option<Device>,
    /// Continue a run from its newest checkpoint; without a config, with the one in the run folder
    #[arg(long, requires = "run")]
    pub resume: bool,
    /// Begin with the weights of a run (its best checkpoint), a checkpoint or a saved policy, under this job
    #[arg(long, value_name = "RUN|POLICY", conflicts_with = "resume")]
    from: Option<PathBuf>,
    /// Print the results as JSON in place of tables
    #[arg(long)]
    pub json: bool,
}

impl TrainArgs {
    /// What the flags change in the job.
    pub fn changes(&self) -> Changes {
        Changes { device: self.device, ..self.job.changes() }
    }
}

/// Trains, as the job says.
pub fn run(args: &TrainArgs) -> Result<()> {
    let trained = train(args, args.changes(), args.run.as_deref(), args.resume)?;
    show(args.json, &trained, || summary(&trained))
}

/// What a training ended with, for a person.
pub fn summary(trained: &Trained) -> String {
    let Trained { run, train, evaluation } = trained;
    let best = run.best().ok().flatten().filter(|(step, _)| *step != evaluation.checkpoint_step).map(|(step, reached)| {
        format!("\nbest: {} at step {step}, which `aaren evaluate --checkpoint best` plays", report::number(reached))
    });
    format!("{train}\n{evaluation}{}\nrun folder: {}", best.unwrap_or_default(), run.path().display())
}

/// Trains in a run folder, a new one or one that is resumed.
///
/// - `run`: the folder; none for the next free one of the job's name
pub fn train(args: &TrainArgs, changes: Changes, run: Option<&Path>, resume: bool) -> Result<Trained> {
    let (files, from) = (args.job.files.clone(), args.from.clone());
    TrainRequest { files, changes, run: run.map(Path::to_path_buf), resume, from }.train()
}
