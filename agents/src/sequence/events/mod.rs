//! The next event of a sequence: when it comes, and of which kind.

mod hawkes;
mod known;
mod score;
mod shown;
mod task;

pub use task::EventsTask;
