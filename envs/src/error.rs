//! What can go wrong with an environment.

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
        /// The step of the episode that it was for, counted from 1.
        step: usize,
        /// What was given.
        found: String,
        /// What the action space asks for.
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
        /// What the simulator said.
        warning: String,
    },
    /// Something this task cannot do.
    #[error("{env} does not support {what}")]
    Unsupported {
        /// The task.
        env: String,
        /// What was asked for.
        what: &'static str,
    },
    /// No task of that name; `hint` names the nearest or says what is missing.
    #[error("unknown environment \"{id}\"; {hint}")]
    Unknown {
        /// The name asked for.
        id: String,
        /// The nearest name, or how to get it.
        hint: String,
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
        /// What it said.
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
