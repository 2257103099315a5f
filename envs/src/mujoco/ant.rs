//! `Ant-v5`: four legs that walk forward.

use super::control_cost::{control_cost, sum_of_squares};
use super::model::Model;
use super::robot::{
    FORWARD_REWARD, HEALTHY_REWARD, HIDE_VELOCITY, Robot, TERMINATE, VARIANT, VelocityNoise, ctrl_cost, normal_noise,
    start_noisily,
};
use super::simulation::Simulation;
use crate::env::Action;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};
use crate::rng::Generator;
use crate::task::Outcome;

pub(super) static MODEL: Model = Model::new("Ant-v5", 5, include_str!("ant.xml"), "ant.xml");

/// The positions x and y, which an observation leaves out.
const PLACE: usize = 2;

/// Options of the task, named as in Gymnasium.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    FORWARD_REWARD,
    ctrl_cost(0.5),
    OptionInfo::number("contact_cost_weight", 5e-4, 0.0, 1e6, "cost of the sum of squared contact forces, each clipped"),
    HEALTHY_REWARD,
    OptionInfo::count("main_body", 1, 1, 13, "number of the body whose velocity is rewarded; 1 is the torso"),
    TERMINATE,
    OptionInfo::interval("healthy_z_range", 0.2, 1.0, "closed range of the torso's height in m in a healthy state"),
    OptionInfo::interval("contact_force_range", -1.0, 1.0, "range that contact forces (N, N m) are clipped to"),
    normal_noise(0.1),
    OptionInfo::flag(
        "exclude_current_positions_from_observation",
        true,
        "whether the x and y positions are left out of the observation",
    ),
    OptionInfo::flag("include_cfrc_ext_in_observation", true, "whether contact forces are observed"),
    HIDE_VELOCITY,
    VARIANT,
];

/// The ant of Gymnasium's `Ant-v5`.
///
/// # Task
/// A ball on four legs with two joints each. Walk in the direction of x without jumping or falling.
/// # Actions
/// `Box(-1, 1, float32)` of width 8: torques of hip and ankle, in units of 150 N m, of the right back leg first, then of front left,
/// front right and back leg. The simulator clamps larger ones; their cost is not clamped.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 | height of the torso in m | unbounded |
/// | 1..5 | orientation of the torso as a quaternion w x y z | unbounded |
/// | 5..13 | angles in rad of hip and ankle: front left, front right, back, right back leg | unbounded |
/// | 13..19 | velocity of the torso: x, y, z in m/s, then about x, y, z in rad/s | unbounded |
/// | 19..27 | angular velocities in rad/s, in the order of the angles | unbounded |
/// | 27..105 | contact forces on the 13 bodies: torque (N m) and force (N) about and along x, y, z | clipped to -1 to 1 |
///
/// With `exclude_current_positions_from_observation` false, the x and y position come first (107 numbers); with
/// `include_cfrc_ext_in_observation` false, the contact forces are absent (27 numbers). With `variant` `d4rl` they are 84 zeros: those
/// of the world are there too, and the simulator of that time never filled them (111 numbers). With `hide_velocity`, numbers 13..27 are
/// absent: 13 numbers, and the contact forces if they are included.
/// # Rewards
/// `forward_reward_weight * x_velocity + healthy_reward - ctrl_cost_weight * sum(action^2) - contact_cost_weight * sum(force^2)`, the
/// second only where the step ends healthy (with `variant` `d4rl` in every step), the last with clipped contact forces.
/// # First state
/// Standing, the joints straight; each position with uniform and each velocity with normal noise.
/// # Episode end
/// Terminates when unhealthy: torso below 0.2 m or above 1 m, or a number that is not finite. Truncated after 1000 steps.
/// # State
/// `qpos` (x, y, z, quaternion, angles), then `qvel` as observed.
/// # Version history
/// v5 as in Gymnasium 1.4 on MuJoCo 3.17.0: bit-equal. `variant` `d4rl` is the older task that D4RL's data were made in.
pub(crate) struct Ant {
    simulation: Simulation,
    settings: Settings,
    /// Clipped contact forces on every body, six numbers each, the world's first; all zero after a reset.
    contact_forces: Vec<f64>,
    /// What the last step's reward was made of, by name; empty after a reset.
    terms: Vec<(&'static str, f64)>,
}

struct Settings {
    forward_reward_weight: f64,
    ctrl_cost_weight: f64,
    contact_cost_weight: f64,
    healthy_reward: f64,
    main_body: usize,
    terminate_when_unhealthy: bool,
    healthy_z_range: (f64, f64),
    contact_force_range: (f64, f64),
    reset_noise_scale: f64,
    exclude_current_positions: bool,
    include_contact_forces: bool,
    hide_velocity: bool,
    /// The older task rewards the step that ends unhealthy like any other, and its contact forces are all zero.
    is_d4rl: bool,
}

impl Ant {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let settings = Settings {
            forward_reward_weight: options.number("forward_reward_weight")?,
            ctrl_cost_weight: options.number("ctrl_cost_weight")?,
            contact_cost_weight: options.number("contact_cost_weight")?,
            healthy_reward: options.number("healthy_reward")?,
            main_body: options.count("main_body")? as usize,
            terminate_when_unhealthy: options.bool("terminate_when_unhealthy")?,
            healthy_z_range: options.interval("healthy_z_range")?,
            contact_force_range: options.interval("contact_force_range")?,
            reset_noise_scale: options.number("reset_noise_scale")?,
            exclude_current_positions: options.bool("exclude_current_positions_from_observation")?,
            include_contact_forces: options.bool("include_cfrc_ext_in_observation")?,
            hide_velocity: options.bool("hide_velocity")?,
            is_d4rl: options.choice("variant")? == "d4rl",
        };
        let simulation = Simulation::new(&MODEL)?;
        let contact_forces = vec![0.0; 6 * simulation.data.xpos().len()];
        Ok(Self { simulation, settings, contact_forces, terms: Vec::with_capacity(6) })
    }

    /// The contact forces that are observed: those of the world, always zero, are in the older observation only.
    fn seen_forces(&self) -> &[f64] {
        match (self.settings.include_contact_forces, self.settings.is_d4rl) {
            (false, _) => &[],
            (true, false) => &self.contact_forces[6..],
            (true, true) => &self.contact_forces,
        }
    }

    fn skipped_positions(&self) -> usize {
        if self.settings.exclude_current_positions { PLACE } else { 0 }
    }

    fn observe(&self, observation: &mut [f64]) {
        let forces = self.seen_forces();
        let (seen_state, seen_forces) = observation.split_at_mut(observation.len() - forces.len());
        self.simulation.observe(self.skipped_positions(), f64::INFINITY, seen_state);
        seen_forces.copy_from_slice(forces);
    }

    fn is_healthy(&self) -> bool {
        let (qpos, qvel) = (self.simulation.qpos(), self.simulation.qvel());
        let (low, high) = self.settings.healthy_z_range;
        qpos.iter().chain(qvel).all(|value| value.is_finite()) && (low..=high).contains(&qpos[2])
    }
}

impl Robot for Ant {
    fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    fn simulation_mut(&mut self) -> &mut Simulation {
        &mut self.simulation
    }

    fn observation_width(&self) -> usize {
        self.simulation.observation_width(self.skipped_positions(), self.settings.hide_velocity) + self.seen_forces().len()
    }

    fn start(&mut self, generator: &mut Generator) {
        start_noisily(&mut self.simulation, (self.settings.reset_noise_scale, VelocityNoise::Normal), generator);
    }

    fn begin(&mut self, observation: &mut [f64]) {
        self.terms.clear();
        // A reset clears them, and what it computes does not fill them.
        self.contact_forces.fill(0.0);
        self.observe(observation);
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        let settings = &self.settings;
        // The body's place lags behind `qpos` by a stage of the integrator, after a step but not after a reset. So does Gymnasium's.
        let before = self.simulation.data.xpos()[settings.main_body];
        self.simulation.act(action)?;
        let after = self.simulation.data.xpos()[settings.main_body];
        let velocity = |axis: usize| (after[axis] - before[axis]) / self.simulation.seconds();
        let (x_velocity, y_velocity) = (velocity(0), velocity(1));
        if !settings.is_d4rl && (settings.include_contact_forces || settings.contact_cost_weight > 0.0) {
            let (low, high) = settings.contact_force_range;
            for (clipped, force) in self.contact_forces.iter_mut().zip(self.simulation.contact_forces()) {
                *clipped = force.clamp(low, high);
            }
        }
        let healthy = self.is_healthy();
        let settings = &self.settings;
        let forward = settings.forward_reward_weight * x_velocity;
        let control = control_cost(action, settings.ctrl_cost_weight);
        let contact = settings.contact_cost_weight * sum_of_squares(&self.contact_forces);
        let survive = if healthy || settings.is_d4rl { settings.healthy_reward } else { 0.0 };
        let terminated = settings.terminate_when_unhealthy && !healthy;
        self.terms.clear();
        self.terms.extend([("x_velocity", x_velocity), ("y_velocity", y_velocity), ("reward_forward", forward)]);
        self.terms.extend([("reward_ctrl", -control), ("reward_contact", -contact), ("reward_survive", survive)]);
        self.observe(observation);
        Ok(Outcome { reward: (forward + survive) - (control + contact), terminated })
    }

    fn info(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        let (x, y) = (self.simulation.qpos()[0], self.simulation.qpos()[1]);
        visit("x_position", x);
        visit("y_position", y);
        visit("distance_from_origin", (x * x + y * y).sqrt());
        self.terms.iter().for_each(|&(name, value)| visit(name, value));
    }
}
