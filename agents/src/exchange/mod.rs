//! Several processes that train one policy together: what they tell each other, and how gradients are added.
//!
//! The arithmetic of a step is laid down by the number of *shards* that a batch is cut into (`train.shards`, `ppo.shards`), and
//! processes, called ranks, only decide where it is done: the gradients of shards are added in a binary tree over their numbers
//! (`shards.rs`), whoever adds them. So every number of ranks that divides the number of shards gives the same bits. No arithmetic is done
//! by what carries the numbers ([`Exchange`]), because that may add in whatever order it likes.
//!
//! ```
//! use aaren_agents::exchange::Ranks;
//!
//! // One process that is alone says something to all.
//! let ranks = Ranks::alone();
//! assert_eq!((ranks.rank(), ranks.size()), (0, 1));
//! assert_eq!(ranks.from_first(|| Ok(3))?, 3);
//! # Ok::<(), anyhow::Error>(())
//! ```

mod carrier;
#[cfg(test)]
pub(crate) mod channels;
mod folder;
pub mod launcher;
#[cfg(feature = "mpi")]
pub mod mpi;
mod ranks;
mod run;
mod shards;
mod sum;

pub use carrier::{Exchange, WaitedTooLong};
pub use ranks::Ranks;
pub use run::SharedRun;
pub(crate) use shards::{Shards, Tree};
