//! Places in the tree of seeds, each the root of a stream of its own. Data collection has its place in `offline/data.rs`.
//!
//! What an evaluation's third episode begins with, in a job with seed 1: `derive_seed(derive_seed(1, &[EPISODES]), &[2])`.

/// Initial weights.
pub(crate) const WEIGHTS: u64 = 1;
/// Segments of a batch, by optimizer step.
pub(crate) const SEGMENTS: u64 = 2;
/// Dropout, by optimizer step.
pub(crate) const DROPOUT: u64 = 3;
/// Episodes of an evaluation, by episode.
pub(crate) const EPISODES: u64 = 4;
/// Noise of actions: under an episode's seed, or by environment and iteration of a training.
pub(crate) const NOISE: u64 = 5;
/// Episodes that an online training plays, by environment and episode.
pub(crate) const TRAINING_EPISODES: u64 = 6;
/// Episodes of the data that are held out.
pub(crate) const VALIDATION: u64 = 8;
/// Examples of a task that makes them, by split and example: below the place of episodes that are held out, which such a job has not.
pub(crate) const EXAMPLES: u64 = 8;
/// Random features that are drawn anew, by optimizer step.
pub(crate) const FEATURES: u64 = 9;
/// What is added to means of actions in an update, by update and shard.
pub(crate) const PERTURBATIONS: u64 = 10;
/// Order of minibatches, by iteration.
pub(crate) const MINIBATCHES: u64 = 7;
