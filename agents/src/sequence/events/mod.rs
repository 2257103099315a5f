//! The next event of a sequence: when it comes, and of which kind.

mod hawkes;
mod known;
mod score;
mod shown;
mod task;
mod token;

pub(super) use shown::gap;
pub use task::EventsTask;
pub(super) use task::{LARGEST, SPAN};
pub(super) use token::Token;
