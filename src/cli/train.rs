//! `aaren train`.

use super::args::{Seeds, parse_seeds, show};
use aaren_agents::config::{Changes, Device};
use aaren_agents::exchange::launcher;
use aaren_agents::jobs::{TrainRequest, Trained};
use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use std::time::Duration;

#[derive(Clone, Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    pub request: TrainRequest,
    /// Train a run for each of these seeds, one after another, in folders with -seed1, -seed2, ... after the name, and compare them
    #[arg(long, value_name = "A..B|A,B,C", value_parser = parse_seeds, conflicts_with = "seed")]
    pub seeds: Option<Seeds>,
    /// Where tensors live [default: as in the config]
    #[arg(long)]
    device: Option<Device>,
    /// Train one run in all the processes that a launcher such as mpirun or srun started
    #[arg(long, value_name = "HOW")]
    distributed: Option<Distributed>,
    /// Seconds that processes wait for one that does not come, before the training ends
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..), requires = "distributed")]
    collective_timeout: u64,
    /// Print the results as JSON in place of tables
    #[arg(long)]
    pub json: bool,
}

/// What processes that were started together do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Distributed {
    /// They train one run, over MPI
    Mpi,
    /// Each trains a run of its own
    None,
}

impl TrainArgs {
    /// What the flags change in the job.
    pub fn changes(&self) -> Changes {
        Changes { device: self.device, ..self.request.changes.clone() }
    }

    /// Whether this process does what another one says.
    pub fn is_follower(&self) -> bool {
        self.distributed == Some(Distributed::Mpi) && launcher::is_follower()
    }

    /// Refuses to train a run each where several processes were started together and nobody said so.
    pub fn check_launcher(&self) -> Result<()> {
        match launcher::started_together() {
            Some((name, size)) if self.distributed.is_none() => {
                launcher::let_the_first_speak();
                bail!(
                    "this is one of {size} processes that were started together ({name} says so), and each would train a run of its own; \
                     train one run in all of them with --distributed mpi, or say that this is meant with --distributed none"
                )
            }
            _ => Ok(()),
        }
    }

    /// Refuses what several processes do not do together.
    pub fn expect_one_run(&self) -> Result<()> {
        ensure!(
            self.distributed != Some(Distributed::Mpi),
            "--distributed mpi trains one run, and --seeds asks for several; start a command for each --seed"
        );
        self.check_launcher()
    }
}

/// Trains, as the job says.
pub fn run(args: &TrainArgs) -> Result<()> {
    args.check_launcher()?;
    let request = TrainRequest { changes: args.changes(), ..args.request.clone() };
    let trained = match args.distributed {
        Some(Distributed::Mpi) => train_over_mpi(&request, Duration::from_secs(args.collective_timeout))?,
        _ => Some(request.train()?),
    };
    // Rank 0 speaks for all.
    trained.map_or(Ok(()), |trained| show(args.json, &trained, || summary(&trained)))
}

/// What a training ended with, for a person.
pub fn summary(trained: &Trained) -> String {
    let Trained { run, train, evaluation } = trained;
    let best = run.best().ok().flatten().filter(|(step, _)| *step != evaluation.checkpoint_step).map(|(step, reached)| {
        let verb = if evaluation.sequences.is_some() { "judges" } else { "plays" };
        format!("\nbest: {} at step {step}, which `aaren evaluate --checkpoint best` {verb}", evaluation.reached(reached))
    });
    format!("{train}\n{evaluation}{}\nrun folder: {}", best.unwrap_or_default(), run.path().display())
}

#[cfg(feature = "mpi")]
fn train_over_mpi(request: &TrainRequest, timeout: Duration) -> Result<Option<Trained>> {
    aaren_agents::exchange::mpi::run(timeout, |ranks| request.train_together(ranks))
}

#[cfg(not(feature = "mpi"))]
fn train_over_mpi(_: &TrainRequest, _: Duration) -> Result<Option<Trained>> {
    launcher::let_the_first_speak();
    bail!("--distributed: this build has no MPI; install an MPI library and build with `cargo build --release --features mpi`")
}
