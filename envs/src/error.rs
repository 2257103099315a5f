//! Errors of environments.

use std::path::PathBuf;

use thiserror::Error;

/// An error of an environment or of the registry, with the offending values.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvError {
    /// `step` before `reset`, or after the episode ended.
    #[error("{env}: step without an episode; call reset first")]
    ResetNeeded {
        /// The task.
        env: String,
    },
    /// An action of the wrong kind, width or range.
    #[error("{env}: step {step}: action {found}, expected {expected}")]
    Action {
        /// The task.
        env: String,
        /// The step of the episode, counted from 1.
        step: usize,
        /// What was given.
        found: String,
        /// What the action space allows.
        expected: String,
    },
    /// A buffer or state of the wrong length.
    #[error("{env}: {what} has {found} numbers, expected {expected}")]
    Shape {
        /// The task.
        env: String,
        /// Which buffer.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length it must have.
        expected: usize,
    },
    /// A state that the task cannot be in.
    #[error("{env}: state {problem}")]
    State {
        /// The task.
        env: String,
        /// What is wrong with it, with the offending value.
        problem: String,
    },
    /// The simulator diverged.
    #[error("{env}: the simulation diverged at step {step}: {warning}")]
    Simulation {
        /// The task.
        env: String,
        /// Steps since reset.
        step: usize,
        /// The simulator's warning.
        warning: String,
    },
    /// Something this task cannot do.
    #[error("{env} does not support {what}")]
    Unsupported {
        /// The task.
        env: String,
        /// The request.
        what: &'static str,
    },
    /// No task of that name; `hint` names the nearest or says what is missing.
    #[error("unknown environment \"{id}\"; {hint}")]
    Unknown {
        /// The name.
        id: String,
        /// The nearest name, or how to get it.
        hint: String,
    },
    /// The name of an environment that [`register`](crate::register) cannot use.
    #[error("there is an environment \"{id}\" already")]
    Registered {
        /// The name.
        id: String,
    },
    /// An environment that does not keep the contract of [`Env`](crate::Env).
    #[error("{env}: {problem}")]
    Contract {
        /// The environment.
        env: String,
        /// What it does, and what it should do.
        problem: String,
    },
    /// An option that the task does not have, or a value out of range.
    #[error("{env}: option \"{key}\": {problem}")]
    Option {
        /// The task.
        env: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A model that could not be loaded.
    #[error("{env}: cannot load its model: {reason}")]
    Model {
        /// The task.
        env: String,
        /// Why.
        reason: String,
    },
    /// What Python says of an environment: an exception, or why there is none to say it.
    #[error("{env}: {problem}")]
    Python {
        /// The environment.
        env: String,
        /// What was being done, and the exception.
        problem: String,
    },
    /// A process that stepped environments and does so no more.
    #[error("{env}: {worker} {problem}")]
    Worker {
        /// The environment.
        env: String,
        /// Which process.
        worker: String,
        /// How it ended, and what it wrote last.
        problem: String,
    },
    /// An image that could not be drawn.
    #[error("{env}: cannot render: {reason}")]
    Render {
        /// The task.
        env: String,
        /// Why.
        reason: String,
    },
    /// Copies that cannot be one vector environment.
    #[error("a vector environment needs {expected}, found {found}")]
    Vector {
        /// What is needed.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// An error of one copy of a vector environment.
    #[error("copy {row} of a vector environment")]
    Row {
        /// Which copy, counted from 0.
        row: usize,
        /// Its error.
        #[source]
        source: Box<EnvError>,
    },
    /// A recorded rollout that cannot be read or replayed.
    #[error("{}: {problem}", path.display())]
    Rollout {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        problem: String,
        /// The cause, where there is one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl EnvError {
    /// Whether a simulation diverged: its episode cannot go on, another one can begin.
    pub fn is_divergence(&self) -> bool {
        match self {
            Self::Simulation { .. } => true,
            Self::Row { source, .. } => source.is_divergence(),
            _ => false,
        }
    }

    pub(crate) fn state(env: &str, problem: String) -> Self {
        Self::State { env: env.into(), problem }
    }

    /// [`EnvError::Shape`] unless a buffer has the length it must have.
    pub(crate) fn check_length(env: &str, what: &'static str, found: usize, expected: usize) -> Result<(), Self> {
        if found == expected { Ok(()) } else { Err(Self::Shape { env: env.into(), what, found, expected }) }
    }
}
