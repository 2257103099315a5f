//! Episodes as a collector records them, and sources of episodes that need not be in memory together.

use crate::{error::DatasetError, trajectory::Trajectory};

/// Records of each step besides the transition. D4RL keeps them under `infos/`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepInfos {
    /// Log-density of each action under the policy that acted, where it was drawn. `[time]`
    pub action_log_probs: Option<Vec<f32>>,
    /// Generalised positions before each step, where there is a simulator. `[time, nq]`, row-major
    pub qpos: Option<Vec<f64>>,
    /// Generalised velocities before each step. `[time, nv]`, row-major
    pub qvel: Option<Vec<f64>>,
}

/// One recorded episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// The transitions.
    pub trajectory: Trajectory,
    /// The other records of its steps.
    pub infos: StepInfos,
}

/// The function that [`Episodes::visit`] calls with each episode and its number.
pub type Visit<'a> = dyn FnMut(usize, &Trajectory, &StepInfos) -> Result<(), DatasetError> + 'a;

/// Episodes in a fixed order, handed over one by one: a dataset larger than the memory is written from such a source.
pub trait Episodes {
    /// Hands over every episode in order. Writers call this several times and rely on getting the same each time.
    ///
    /// # Errors
    /// The error of `visit`, or of the source.
    fn visit(&self, visit: &mut Visit<'_>) -> Result<(), DatasetError>;
}

impl Episodes for &[Trajectory] {
    fn visit(&self, visit: &mut Visit<'_>) -> Result<(), DatasetError> {
        let none = StepInfos::default();
        self.iter().enumerate().try_for_each(|(index, trajectory)| visit(index, trajectory, &none))
    }
}

impl Episodes for &[Episode] {
    fn visit(&self, visit: &mut Visit<'_>) -> Result<(), DatasetError> {
        self.iter().enumerate().try_for_each(|(index, episode)| visit(index, &episode.trajectory, &episode.infos))
    }
}
