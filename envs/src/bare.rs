//! The simulator under a task, without the task.

/// A bare simulation of a robot, which neither observes nor rewards, to measure what the task costs on top of it. Made by
/// [`bare_simulation`](crate::bare_simulation).
pub trait BareSimulation: Send {
    /// Sets positions and velocities from a state, as [`Env::state`](crate::Env::state) gives it, and computes nothing.
    ///
    /// # Panics
    /// If the state has another length than the task's.
    fn restart(&mut self, state: &[f64]);

    /// Writes an action into the controls and steps the simulator as often as the task does.
    ///
    /// # Panics
    /// If the action has another width than the task's.
    fn step(&mut self, action: &[f32]);
}
