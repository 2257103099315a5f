//! Places in the tree of seeds, each the root of a stream of its own. Data collection has its place in `offline/data.rs`.
//!
//! ```
//! use aaren_agents::seeds;
//! use aaren_envs::derive_seed;
//!
//! // What an evaluation's third episode begins with, in a job with seed 1.
//! let episodes = derive_seed(1, &[seeds::EPISODES]);
//! assert_ne!(derive_seed(episodes, &[2]), derive_seed(episodes, &[3]));
//! ```

/// Initial weights.
pub const WEIGHTS: u64 = 1;
/// Segments of a batch, by optimizer step.
pub const SEGMENTS: u64 = 2;
/// Dropout, by optimizer step.
pub const DROPOUT: u64 = 3;
/// Episodes of an evaluation, by episode.
pub const EPISODES: u64 = 4;
/// Noise of actions: under an episode's seed, or by environment and iteration of a training.
pub const NOISE: u64 = 5;
/// Episodes that an online training plays, by environment and episode.
pub const TRAINING_EPISODES: u64 = 6;
/// Order of minibatches, by iteration.
pub const MINIBATCHES: u64 = 7;
/// Examples of a supervised sequence task, by split and example.
pub const EXAMPLES: u64 = 8;
