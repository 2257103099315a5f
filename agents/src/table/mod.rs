//! `aaren table`: a run for every row, agent and seed of a manifest, and their comparison.
//!
//! What has been done is in the run folders and nowhere else: a finished run is left as it is, a broken one goes on, and the lock of a run
//! folder keeps two processes apart. So the same command can be given again, on one machine or on many that share a disk, until the table
//! is whole.
//!
//! ```
//! use aaren_agents::table::{Choice, Plan};
//!
//! let folder = std::env::temp_dir().join(format!("aaren-table-{}", std::process::id()));
//! std::fs::create_dir_all(&folder)?;
//! let manifest = folder.join("mine.toml");
//! std::fs::write(&manifest, "agents = [\"aaren\", \"gru\"]\nseeds = \"1..3\"")?;
//! let plan = Plan::read(&manifest, &Choice::default())?;
//! let names: Vec<&str> = plan.pieces.iter().map(|piece| &*piece.name).collect();
//! assert_eq!(names[..3], ["aaren-seed1", "gru-seed1", "aaren-seed2"]);
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), anyhow::Error>(())
//! ```

mod ended;
mod manifest;
mod piece;
mod plan;
mod workers;

pub use ended::{Ended, How};
pub use manifest::{Manifest, Part, schema};
pub use piece::{Made, Piece, State};
pub use plan::{Choice, Plan};

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::compare::{self, CompareOptions, Comparison};
use crate::run::report::count;
use crate::run::{check_folder, interrupt};

/// Runs that an error names, at most.
const NAMED: usize = 5;

/// Makes what is missing of a table in processes of their own, and compares what has finished.
#[derive(Clone, Debug, Default, Args)]
pub struct TableRequest {
    /// The manifest, TOML or JSON: rows, agents and seeds.
    pub manifest: PathBuf,
    /// Which of its runs.
    #[command(flatten)]
    pub choice: Choice,
    /// Processes at a time, each with a share of the processors; 0 trains nothing and compares what has finished [default: the number of
    /// processors].
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<usize>,
}

/// A table, as far as it has been made.
#[derive(Debug, Serialize)]
pub struct Table {
    /// The runs in the order in which they ended; with 0 jobs all of them in that of the table.
    pub runs: Vec<Ended>,
    /// The finished ones beside each other; none where there are fewer than two.
    pub comparison: Option<Comparison>,
}

/// A run in a list: a line of JSON.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// The run.
    #[serde(flatten)]
    pub piece: Piece,
    /// How far it is.
    #[serde(flatten)]
    pub state: State,
    /// Words of the command that makes it, whatever becomes of the order of rows and agents.
    pub command: Vec<String>,
}

impl TableRequest {
    /// The runs.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub fn plan(&self) -> Result<Plan> {
        Plan::read(&self.manifest, &self.choice)
    }

    /// The runs as a list.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub fn list(&self) -> Result<Vec<Listed>> {
        let plan = self.plan()?;
        let order = self.order(&plan, 1);
        let listed = |piece: Piece| Listed {
            state: piece.state(),
            command: std::iter::once("aaren".to_owned()).chain(order.arguments(&piece)).collect(),
            piece,
        };
        Ok(plan.pieces.clone().into_iter().map(listed).collect())
    }

    fn order<'a>(&'a self, plan: &'a Plan, threads: usize) -> workers::Order<'a> {
        workers::Order { manifest: &self.manifest, runs: &plan.runs, set: &self.choice.set, threads }
    }

    /// Makes the runs that have not finished, and compares those that have.
    ///
    /// - `told`: hears of every run as it ends
    ///
    /// # Errors
    /// As [`Plan::read`]; a folder that cannot be written; what `told` returned; or an interrupt, when all runs are saved. A run that fails is
    /// no error of the others: [`Table::check`] says which did.
    pub fn make(&self, told: &mut dyn FnMut(&Ended) -> Result<()>) -> Result<Table> {
        let plan = self.plan()?;
        check_folder(&plan.runs)?;
        interrupt::check()?;
        let runs = if self.jobs == Some(0) {
            plan.pieces.iter().map(Piece::seen).collect()
        } else {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let left = plan.pieces.iter().filter(|piece| piece.state() != State::Finished).count().max(1);
            let jobs = self.jobs.unwrap_or(cores).min(left);
            workers::make(&plan.pieces, &self.order(&plan, (cores / jobs).max(1)), jobs, told)?
        };
        // In the order of the table, in whichever order they ended.
        let finished = |piece: &&Piece| runs.iter().any(|ended| ended.name == piece.name && ended.is_finished());
        let finished: Vec<PathBuf> = plan.pieces.iter().filter(finished).map(|piece| piece.run.clone()).collect();
        let options = CompareOptions { output: Some(plan.runs.join("compare")), table: true, ..CompareOptions::default() };
        let comparison = (finished.len() >= 2).then(|| compare::compare(&finished, &options)).transpose();
        Ok(Table { comparison: comparison.context("the runs have finished, and cannot be compared")?, runs })
    }
}

impl Piece {
    /// As what it counts where nothing is made.
    fn seen(&self) -> Ended {
        let how = match self.state() {
            State::Finished => How::Before,
            State::New => How::Failed { error: "it has not begun".into(), log: None },
            State::Begun => How::Failed { error: "it has not finished".into(), log: None },
            State::Refused(error) => How::Failed { error, log: None },
        };
        Ended { name: self.name.clone(), run: self.run.clone(), seconds: None, how }
    }
}

impl Table {
    /// Whether the table is whole.
    ///
    /// # Errors
    /// Names the runs that are missing, and why; of very many the first.
    pub fn check(&self) -> Result<()> {
        let missing: Vec<&Ended> = self.runs.iter().filter(|ended| !ended.is_finished()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let named: Vec<String> = missing.iter().take(NAMED).map(|ended| ended.to_string()).collect();
        let more = if missing.len() > NAMED { format!("; and {} more", missing.len() - NAMED) } else { String::new() };
        bail!(
            "{} of {} did not finish: {}{more}; the same command tries again what failed",
            missing.len(),
            count(self.runs.len(), "run"),
            named.join("; ")
        )
    }
}

/// The comparison, and where it is.
impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let finished = self.runs.iter().filter(|ended| ended.is_finished()).count();
        write!(f, "{finished} of {} finished", count(self.runs.len(), "run"))?;
        self.comparison.iter().try_for_each(|comparison| write!(f, "\n\n{comparison}"))
    }
}
