//! `aaren inspect`: the dry run of a training.

use std::path::PathBuf;

use aaren_agents::config::{Changes, Device, Job};
use aaren_agents::run::RunDir;
use aaren_agents::{device, inspect, offline};
use anyhow::{Result, bail};
use clap::Args;

use super::args::{JobArgs, show};

#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Run folder that the training would make; refused if it is taken
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Where tensors live [default: as in the config]
    #[arg(long)]
    device: Option<Device>,
    /// Print JSON in place of a table
    #[arg(long)]
    json: bool,
}

/// Refuses what `aaren train` would refuse, in its order, and prints what a training would be.
pub fn run(args: &InspectArgs) -> Result<()> {
    let job = Job::load(&args.job.files, &Changes { device: args.device, ..args.job.changes.clone() })?;
    device::require(job.device(), job.precision())?;
    job.review()?;
    args.run.as_deref().map_or(Ok(()), RunDir::check_free)?;
    let plan = match &job {
        Job::Offline(job) => {
            let dataset = offline::trajectories(job)?;
            offline::review(job, &dataset)?;
            inspect::offline(job, dataset)?
        }
        Job::Ppo(job) => inspect::online(job)?,
        Job::Sequence(job) => inspect::sequences(job)?,
        Job::Collect(_) => bail!("this job makes a dataset; there is no policy to inspect"),
    };
    show(args.json, &plan, || plan.to_string())
}
