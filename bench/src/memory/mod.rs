//! Tasks that need memory: every mixer trained with the same budget and about the same number of parameters, and played.

mod args;
mod cell;
mod command;
mod plan;
mod task;

pub use args::MemoryArgs;
pub use command::run;
