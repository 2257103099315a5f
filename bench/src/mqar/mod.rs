//! Multi-query associative recall: the task, stacks of mixers, their training, and the benchmark of them all.

mod command;
mod stack;
mod task;
mod token_model;
mod training;

pub(crate) use command::{MqarArgs, run};
pub use stack::{Sizes, Stack};
pub use task::{Example, Examples, Mqar, Split};
pub use training::{Recipe, StepCost, Trainer, accuracy, step_cost};
