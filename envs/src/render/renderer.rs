//! What draws a task, and what it is given.

use crate::error::EnvError;

/// An episode between two steps, as far as it can be seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// As [`Env::state`](crate::Env::state) gives it.
    pub state: Vec<f64>,
    /// What led here, a discrete action as its index; empty at the start of an episode.
    pub action: Vec<f64>,
    /// The reward of that step.
    pub reward: f64,
}

/// Draws a task. Made by [`renderer`](crate::renderer); it stays in the thread that made it.
pub trait Renderer {
    /// Simulated seconds that one environment step takes; `None` for a task without a clock.
    fn seconds_per_step(&self) -> Option<f64>;

    /// Draws a moment of an episode; the camera follows a robot.
    ///
    /// # Shapes
    /// `pixels`: `[height, width, 3]`, red, green and blue, from the top left.
    ///
    /// # Errors
    /// [`EnvError::Shape`] for a state or an image of another size.
    fn render(&mut self, moment: &Moment, pixels: &mut [u8]) -> Result<(), EnvError>;
}
