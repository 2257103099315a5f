//! Images of tasks.

mod bandit;
mod canvas;
mod cards;
mod maze;
mod picture;
mod renderer;
mod rods;
mod tmaze;

pub(crate) use picture::picture;
pub use renderer::{Moment, Renderer};
