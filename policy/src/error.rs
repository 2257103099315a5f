//! What can go wrong with a policy.

use std::path::PathBuf;
use thiserror::Error;

/// An error of a policy or its checkpoint, with the offending values.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// No mixer of that name.
    #[error("there is no mixer \"{name}\"; there are {known}")]
    UnknownMixer {
        /// The name that was given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A name to register a mixer by that another has.
    #[error("there is a mixer \"{name}\" already")]
    MixerName {
        /// The name.
        name: String,
    },
    /// Sizes that do not fit each other.
    #[error("policy.{key}: {problem}")]
    Size {
        /// The key of the config.
        key: &'static str,
        /// What does not fit.
        problem: String,
    },
    /// An action space that no head can act in.
    #[error("actions: {0}")]
    ActionSpace(String),
    /// A file of a checkpoint that could not be read or written.
    #[error("{}: cannot {action}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A description that is not what this version writes.
    #[error("{}: not a policy description", .path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: serde_json::Error,
    },
    /// A policy of another kind than the caller wants.
    #[error("{}: {found}, expected {expected}", .path.display())]
    Kind {
        /// The checkpoint.
        path: PathBuf,
        /// The kind that is there.
        found: &'static str,
        /// The kind that the caller wants.
        expected: &'static str,
    },
    /// Weights that are not those of the described policy.
    #[error("{}: {problem}", .path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// Which tensor, what was found and what was expected.
        problem: String,
    },
    /// A bound on a KV cache that cannot be.
    #[error("cache \"{text}\": {problem}")]
    Cache {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Weights of one policy that are not all of another's.
    #[error("parameters do not match: {0}")]
    Transfer(String),
    /// Tokens and outputs that no model of sequences can have.
    #[error("spec: {0}")]
    Spec(String),
    /// A stored state that does not fit the policy.
    #[error("state: {0}")]
    State(String),
}
