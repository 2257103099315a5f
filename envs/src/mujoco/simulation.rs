//! A running simulation of a model.

use std::sync::Arc;

use mujoco_rs::prelude::{MjData, MjModel};

use super::model::Model;
use crate::{bare::BareSimulation, env::Action, error::EnvError};

/// One running simulation of a model.
pub(super) struct Simulation {
    env: &'static str,
    pub(super) data: MjData<Arc<MjModel>>,
    frame_skip: usize,
}

impl Simulation {
    /// # Errors
    /// [`EnvError::Model`] where the model does not compile or no memory is left for it.
    pub(super) fn new(model: &Model) -> Result<Self, EnvError> {
        Self::of(model, model.get()?)
    }

    /// The same of another compiled form of a model.
    ///
    /// # Errors
    /// [`EnvError::Model`] where no memory is left for it.
    pub(super) fn of(model: &Model, compiled: Arc<MjModel>) -> Result<Self, EnvError> {
        let data =
            MjData::try_new(compiled).map_err(|error| EnvError::Model { env: model.env.into(), reason: error.to_string() })?;
        Ok(Self { env: model.env, data, frame_skip: model.frame_skip })
    }

    /// Generalised positions. `[nq]`
    pub(super) fn qpos(&self) -> &[f64] {
        self.data.qpos()
    }

    /// Generalised velocities. `[nv]`
    pub(super) fn qvel(&self) -> &[f64] {
        self.data.qvel()
    }

    /// Positions of the model's initial pose. `[nq]`
    pub(super) fn qpos0(&self) -> &[f64] {
        self.data.model().qpos0()
    }

    /// Components of an action.
    pub(super) fn motors(&self) -> usize {
        self.data.ctrl().len()
    }

    /// Seconds an environment step.
    pub(super) fn seconds(&self) -> f64 {
        self.data.model_opt().timestep * self.frame_skip as f64
    }

    /// Starts anew: clears everything, lets `write` set `qpos` (initially the initial pose) and `qvel` (initially zero), and
    /// computes what depends on them. What MuJoCo warns of meanwhile is an error of the first step, so that every episode begins.
    pub(super) fn start(&mut self, write: impl FnOnce(&mut [f64], &mut [f64])) {
        self.data.reset();
        // Two buffers of `mjData` cannot be borrowed at once through its wrapper; velocities are at most a few dozen.
        let mut qvel = self.data.qvel().to_vec();
        write(self.data.qpos_mut(), &mut qvel);
        self.data.qvel_mut().copy_from_slice(&qvel);
        self.data.forward();
    }

    /// Sets positions and velocities from `state`, which is `qpos` followed by `qvel`.
    pub(super) fn set_state(&mut self, state: &[f64]) {
        self.start(|qpos, qvel| {
            let (positions, velocities) = state.split_at(qpos.len());
            qpos.copy_from_slice(positions);
            qvel.copy_from_slice(velocities);
        });
    }

    /// Numbers of a state: `qpos`, then `qvel`.
    pub(super) fn state_width(&self) -> usize {
        self.qpos().len() + self.qvel().len()
    }

    /// One environment step.
    ///
    /// # Errors
    /// [`EnvError::Simulation`] where MuJoCo raised a warning: it has then reset itself, and its numbers mean nothing.
    pub(super) fn act(&mut self, action: Action<'_>) -> Result<(), EnvError> {
        self.advance(action);
        self.check()
    }

    fn advance(&mut self, action: Action<'_>) {
        self.data.ctrl_mut().iter_mut().enumerate().for_each(|(index, ctrl)| *ctrl = action.component(index));
        (0..self.frame_skip).for_each(|_| self.data.step());
    }

    /// Writes the velocities back clipped to `-limit..=limit`, and computes what depends on them.
    pub(super) fn clip_velocities(&mut self, limit: f64) {
        self.data.qvel_mut().iter_mut().for_each(|velocity| *velocity = velocity.clamp(-limit, limit));
        self.data.forward();
    }

    /// Numbers that [`Simulation::observe`] gives, with or without velocities.
    ///
    /// - `skipped`: positions that are left out
    pub(super) fn observation_width(&self, skipped: usize, hide_velocity: bool) -> usize {
        self.qpos().len() - skipped + if hide_velocity { 0 } else { self.qvel().len() }
    }

    /// Observes positions from the `skipped`th on, then velocities clipped to `-limit..=limit`, where the observation has room for them.
    pub(super) fn observe(&self, skipped: usize, limit: f64, observation: &mut [f64]) {
        let positions = &self.qpos()[skipped..];
        let (seen_positions, seen_velocities) = observation.split_at_mut(positions.len());
        seen_positions.copy_from_slice(positions);
        for (seen, velocity) in seen_velocities.iter_mut().zip(self.qvel()) {
            *seen = velocity.clamp(-limit, limit);
        }
    }

    /// Torque and force on each body by contacts, six numbers a body, the world's first. A plain step leaves them alone, so they are
    /// computed here.
    pub(super) fn contact_forces(&mut self) -> &[f64] {
        self.data.rne_post_constraint();
        self.data.cfrc_ext().as_flattened()
    }

    fn check(&self) -> Result<(), EnvError> {
        let Some(kind) = self.data.warning().iter().position(|warning| warning.number > 0) else {
            return Ok(());
        };
        // The order of MuJoCo's `mjtWarning`.
        let names = [
            "the inertia matrix is nearly singular",
            "no memory is left for contacts",
            "no memory is left for constraints",
            "bad number in qpos",
            "bad number in qvel",
            "bad number in qacc",
            "bad number in ctrl",
        ];
        let name = names.get(kind).copied().unwrap_or("unknown warning");
        let warning = format!("{name} (index {})", self.data.warning()[kind].lastinfo);
        // The wrapper that counts steps fills in the number.
        Err(EnvError::Simulation { env: self.env.into(), step: 0, warning })
    }
}

impl BareSimulation for Simulation {
    fn restart(&mut self, state: &[f64]) {
        self.data.reset();
        let (positions, velocities) = state.split_at(self.qpos().len());
        self.data.qpos_mut().copy_from_slice(positions);
        self.data.qvel_mut().copy_from_slice(velocities);
    }

    fn step(&mut self, action: &[f32]) {
        assert_eq!(self.motors(), action.len(), "an action's width");
        self.advance(Action::F32(action));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blow_up_is_an_error_and_leaves_no_log_file() {
        static BALL: Model = Model::new(
            "Ball-v0",
            2,
            "<mujoco><worldbody><body><freejoint/><geom size=\"1\"/></body></worldbody></mujoco>",
            "ball.xml",
        );
        let mut ball = Simulation::new(&BALL).unwrap();
        ball.start(|_, qvel| qvel[4] = 1e12);
        let error = ball.act(Action::F64(&[])).unwrap_err();
        assert_eq!(error.to_string(), "Ball-v0: the simulation diverged at step 0: bad number in qvel (index 4)");
        ball.start(|_, _| ());
        ball.act(Action::F64(&[])).unwrap();
        assert!(!std::path::Path::new("MUJOCO_LOG.TXT").exists());
    }
}
