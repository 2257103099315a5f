//! Images of robots.

use crate::error::EnvError;

/// Draws states of a robot. Made by [`renderer`](crate::renderer); it stays in the thread that made it.
pub trait Renderer {
    /// Simulated seconds that one environment step takes.
    fn seconds_per_step(&self) -> f64;

    /// Draws a state, as [`Env::state`](crate::Env::state) gives it, from the side, the camera following the robot.
    ///
    /// # Shapes
    /// `pixels`: `[height, width, 3]`, red, green and blue, from the top left.
    ///
    /// # Errors
    /// [`EnvError::Shape`] for a state or an image of another size.
    fn render(&mut self, state: &[f64], pixels: &mut [u8]) -> Result<(), EnvError>;
}
