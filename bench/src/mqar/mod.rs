//! Multi-query associative recall: stacks of mixers, their training, and the benchmark of them all.

mod command;
mod stack;
mod training;

pub(crate) use command::{MqarArgs, run};
pub use stack::{Sizes, Stack};
pub use training::{Recipe, StepCost, step_cost};
