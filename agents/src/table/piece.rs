//! One run of a table: where it is, how far it is, and training it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::config::{Changes, Job, keys};
use crate::jobs::{TrainRequest, Trained, is_finished, other_keys};
use crate::run::{RunDir, Taken};

/// One run of a table.
#[derive(Clone, Debug, Serialize)]
pub struct Piece {
    /// Its number in the table.
    pub index: usize,
    /// Its name: those of its row and its agent, and its seed.
    pub name: String,
    /// Name of its row; empty where the table has one row without a name.
    pub row: String,
    /// Name of its agent; empty in the same way.
    pub agent: String,
    /// Its seed.
    pub seed: u64,
    /// Its run folder.
    pub run: PathBuf,
    /// The files of its job.
    #[serde(skip)]
    pub(super) files: Vec<PathBuf>,
    /// What changes in them.
    #[serde(skip)]
    pub(super) changes: Changes,
    /// The job.
    #[serde(skip)]
    pub(super) job: Job,
}

/// How far a run of a table is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "kebab-case")]
pub enum State {
    /// There is no run yet.
    New,
    /// It was begun, and has not come to its end; another process may be at it.
    Begun,
    /// It is at its end.
    Finished,
    /// Its folder holds something else, and why.
    Refused(String),
}

/// What came of a run that was asked for.
#[derive(Debug)]
pub enum Made {
    /// It was finished before.
    Before,
    /// It was trained to its end.
    Now(Box<Trained>),
}

impl Piece {
    /// How far it is, by what its folder holds.
    pub fn state(&self) -> State {
        if RunDir::check_free(&self.run).is_ok() {
            return State::New;
        }
        self.state_of_run().unwrap_or_else(|error| State::Refused(crate::run::process::message(&error)))
    }

    fn state_of_run(&self) -> Result<State> {
        let run = RunDir::open(&self.run)?;
        let job = run.job(&Changes::default())?;
        let other = other_keys(&job, &self.job)?;
        if let Some(first) = other.first() {
            let value =
                |job: &Job| anyhow::Ok(keys::get(&serde_json::to_value(job)?, first).cloned().unwrap_or_default().to_string());
            let more = if other.len() == 1 { String::new() } else { format!(" (and {} differ too)", other[1..].join(", ")) };
            return Ok(State::Refused(format!(
                "{} holds a run of another job: {first} is {} there, and {} in the table{more}; choose another folder (--runs), remove that run, or \
                 change the table",
                self.run.display(),
                value(&job)?,
                value(&self.job)?
            )));
        }
        Ok(if is_finished(&run, &job)? { State::Finished } else { State::Begun })
    }

    /// Whether a run that had not come to its end has since: it is this process's to look at, and no other writes it.
    fn has_ended(&self) -> Result<bool> {
        let run = RunDir::resume(&self.run)?;
        is_finished(&run, &run.job(&Changes::default())?)
    }

    /// Trains it in this process, or goes on with it, unless it is finished.
    ///
    /// # Errors
    /// As [`TrainRequest::train`]; what is in its folder, if that is not this run; [`Taken::Writing`] while another process is at it.
    pub fn train(&self) -> Result<Made> {
        loop {
            let state = self.state();
            let request = match &state {
                State::Finished => return Ok(Made::Before),
                State::Refused(reason) => bail!("{reason}"),
                State::New => TrainRequest {
                    files: self.files.clone(),
                    changes: self.changes.clone(),
                    agent: Some(self.agent.clone()).filter(|name| !name.is_empty()),
                    ..TrainRequest::default()
                },
                State::Begun if self.has_ended().with_context(|| self.name.clone())? => return Ok(Made::Before),
                State::Begun => TrainRequest { resume: true, ..TrainRequest::default() },
            };
            match (TrainRequest { run: Some(self.run.clone()), ..request }).train() {
                Ok(trained) => return Ok(Made::Now(Box::new(trained))),
                // Another process began it after the look.
                Err(error) if state == State::New && matches!(error.downcast_ref(), Some(Taken::NotEmpty(_))) => {}
                Err(error) => return Err(error).with_context(|| self.name.clone()),
            }
        }
    }
}
