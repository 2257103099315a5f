//! Robots in a plane that are rewarded for moving forward: hopper, half cheetah and walker.

use super::control_cost::control_cost;
use super::model::Model;
use super::robot::{Robot, VelocityNoise, start_noisily};
use super::simulation::Simulation;
use crate::{env::Action, error::EnvError, options::Options, rng::Generator, task::Outcome};

/// A robot in a plane. Its positions are x, z, the torso's angle, then the joints.
pub(crate) struct Runner {
    simulation: Simulation,
    forward_reward_weight: f64,
    ctrl_cost_weight: f64,
    noise: (f64, VelocityNoise),
    /// Positions that are not observed: x, or none.
    hidden: usize,
    hide_velocity: bool,
    /// Absent where a robot cannot fall.
    health: Option<Health>,
    /// What the last step's reward was made of, by name; empty after a reset.
    terms: Vec<(&'static str, f64)>,
}

/// The conditions under which a robot is healthy, and the reward for it.
pub(super) struct Health {
    reward: f64,
    terminate_when_unhealthy: bool,
    /// Open range of all angles and velocities, where there is one.
    state_range: Option<(f64, f64)>,
    z_range: (f64, f64),
    angle_range: (f64, f64),
    /// The older task rewards the step that ends unhealthy like any other.
    pub(super) is_d4rl: bool,
}

impl Health {
    pub(super) fn from_options(options: &Options, state_range: Option<(f64, f64)>) -> Result<Self, EnvError> {
        Ok(Self {
            reward: options.number("healthy_reward")?,
            terminate_when_unhealthy: options.bool("terminate_when_unhealthy")?,
            state_range,
            z_range: options.interval("healthy_z_range")?,
            angle_range: options.interval("healthy_angle_range")?,
            is_d4rl: options.choice("variant")? == "d4rl",
        })
    }

    fn holds(&self, qpos: &[f64], qvel: &[f64]) -> bool {
        let inside = |value: f64, (low, high): (f64, f64)| low < value && value < high;
        self.state_range.is_none_or(|range| qpos[2..].iter().chain(qvel).all(|&value| inside(value, range)))
            && inside(qpos[1], self.z_range)
            && inside(qpos[2], self.angle_range)
    }
}

impl Runner {
    pub(super) fn new(
        model: &Model,
        options: &Options,
        velocity_noise: VelocityNoise,
        health: Option<Health>,
    ) -> Result<Self, EnvError> {
        Ok(Self {
            forward_reward_weight: options.number("forward_reward_weight")?,
            ctrl_cost_weight: options.number("ctrl_cost_weight")?,
            noise: (options.number("reset_noise_scale")?, velocity_noise),
            hidden: usize::from(options.bool("exclude_current_positions_from_observation")?),
            hide_velocity: options.bool("hide_velocity")?,
            simulation: Simulation::new(model)?,
            health,
            terms: Vec::with_capacity(4),
        })
    }

    fn observe(&self, observation: &mut [f64]) {
        // Gymnasium clips what the robots that can fall observe of their velocities.
        let limit = if self.health.is_some() { 10.0 } else { f64::INFINITY };
        self.simulation.observe(self.hidden, limit, observation);
    }
}

impl Robot for Runner {
    fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    fn simulation_mut(&mut self) -> &mut Simulation {
        &mut self.simulation
    }

    fn observation_width(&self) -> usize {
        self.simulation.observation_width(self.hidden, self.hide_velocity)
    }

    fn start(&mut self, generator: &mut Generator) {
        start_noisily(&mut self.simulation, self.noise, generator);
    }

    fn begin(&mut self, observation: &mut [f64]) {
        self.terms.clear();
        self.observe(observation);
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        let before = self.simulation.qpos()[0];
        self.simulation.act(action)?;
        let x_velocity = (self.simulation.qpos()[0] - before) / self.simulation.seconds();
        let forward = self.forward_reward_weight * x_velocity;
        let control = control_cost(action, self.ctrl_cost_weight);
        let (mut survive, mut terminated) = (None, false);
        if let Some(health) = &self.health {
            let healthy = health.holds(self.simulation.qpos(), self.simulation.qvel());
            survive = Some(if healthy || health.is_d4rl { health.reward } else { 0.0 });
            terminated = health.terminate_when_unhealthy && !healthy;
        }
        self.terms.clear();
        self.terms.extend([("x_velocity", x_velocity), ("reward_forward", forward), ("reward_ctrl", -control)]);
        self.terms.extend(survive.map(|survive| ("reward_survive", survive)));
        self.observe(observation);
        Ok(Outcome { reward: survive.map_or(forward, |survive| forward + survive) - control, terminated })
    }

    fn info(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        let qpos = self.simulation.qpos();
        visit("x_position", qpos[0]);
        if self.health.is_some() {
            visit("z_distance_from_origin", qpos[1] - self.simulation.qpos0()[1]);
        }
        self.terms.iter().for_each(|&(name, value)| visit(name, value));
    }
}
