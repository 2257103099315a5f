//! `Maze2D-v1`: drive a ball through a maze, D4RL's maze2d.

use std::fmt::Write;

use super::{model::Model, robot::Robot, simulation::Simulation};
use crate::env::Action;
use crate::error::EnvError;
use crate::options::Options;
use crate::point_maze::layout::{LARGE, Layout, MEDIUM, OPEN, UMAZE};
use crate::point_maze::rules;
use crate::point_maze::rules::{DAMPING, DENSITY, DT, GEAR, MAX_SPEED, OFFSET, RADIUS, Rules};
use crate::rng::Generator;
use crate::task::Outcome;

/// Registered name.
pub(crate) const ID: &str = "Maze2D-v1";

/// One model a layout.
static MODELS: [(Layout, Model); 4] = [
    (UMAZE, Model::generated(ID, 1, || xml(&UMAZE))),
    (MEDIUM, Model::generated(ID, 1, || xml(&MEDIUM))),
    (LARGE, Model::generated(ID, 1, || xml(&LARGE))),
    (OPEN, Model::generated(ID, 1, || xml(&OPEN))),
];

/// The model of a maze: a ball on two slides, and a box for every wall. Bodies are named as D4RL's.
fn xml(layout: &Layout) -> String {
    let mut walls = String::new();
    for [row, column] in layout.cells().filter(|&cell| layout.is_wall(cell)) {
        let (x, y) = (row + 1, column + 1);
        // Writing to a string cannot fail.
        let _ = writeln!(walls, r#"<geom name="wall_{row}_{column}" type="box" size="0.5 0.5 0.2" pos="{x} {y} 0"/>"#);
    }
    // A wall of contype 2 meets the ball alone, the ball (contype 1) walls and ground.
    format!(
        r#"<mujoco model="maze2d">
  <compiler angle="radian"/>
  <option integrator="Euler" timestep="{DT}" gravity="0 0 0" iterations="20"/>
  <default>
    <joint type="slide" damping="{DAMPING}" limited="false"/>
    <geom contype="2" conaffinity="1" condim="1" friction="0.5 0.1 0.1" density="{DENSITY}" margin="0.002"/>
    <motor gear="{GEAR}" ctrllimited="true" ctrlrange="-1 1"/>
  </default>
  <worldbody>
    <geom name="ground" type="plane" size="40 40 0.25" pos="0 0 -0.1" contype="1" conaffinity="0"/>
    {walls}
    <body name="particle" pos="{OFFSET} {OFFSET} 0">
      <geom name="particle_geom" type="sphere" size="{RADIUS}" contype="1"/>
      <joint name="ball_x" axis="1 0 0"/>
      <joint name="ball_y" axis="0 1 0"/>
    </body>
  </worldbody>
  <actuator>
    <motor joint="ball_x"/>
    <motor joint="ball_y"/>
  </actuator>
</mujoco>"#
    )
}

/// A ball in one of D4RL's mazes: [`PointMaze`](crate::point_maze::PointMaze) with MuJoCo's walls.
///
/// # State
/// The observation: `qpos`, then `qvel`. MuJoCo pushes a ball that is set into a wall out of it.
/// # Version history
/// v1: D4RL's `maze2d-*-v1` on MuJoCo 3.17.0, bit-equal, walls included. Start states are drawn with NumPy's newer generator, not
/// D4RL's legacy one.
pub(crate) struct Maze2d {
    rules: Rules,
    simulation: Simulation,
}

impl Maze2d {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let rules = Rules::from_options(options)?;
        let model = MODELS.iter().find(|(layout, _)| *layout == rules.layout);
        let (_, model) = model.ok_or_else(|| options.error("layout", "has no model".into()))?;
        Ok(Self { rules, simulation: Simulation::new(model)? })
    }
}

impl Robot for Maze2d {
    fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    fn simulation_mut(&mut self) -> &mut Simulation {
        &mut self.simulation
    }

    fn observation_width(&self) -> usize {
        self.simulation.state_width()
    }

    fn max_episode_steps(&self) -> usize {
        self.rules.layout.max_episode_steps
    }

    fn start(&mut self, generator: &mut Generator) {
        let (position, velocity) = self.rules.first_state(generator);
        self.simulation.set_state(&[position, velocity].concat());
    }

    fn begin(&mut self, observation: &mut [f64]) {
        self.simulation.observe(0, f64::INFINITY, observation);
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        self.simulation.clip_velocities(MAX_SPEED);
        self.simulation.act(Action::F64(&rules::forces(action)))?;
        self.begin(observation);
        Ok(Outcome { reward: self.rules.reward([observation[0], observation[1]]), terminated: false })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{make, mujoco::facts, point_maze::layout::NAMES};
    use serde_json::Map;

    #[test]
    fn the_compiled_models_are_d4rls() {
        for (name, (layout, model)) in NAMES.iter().zip(&MODELS) {
            assert_eq!(Layout::named(name), Some(*layout));
            // The open maze is not recorded.
            if *layout != OPEN {
                facts::compare(&format!("maze2d/{name}"), model);
            }
        }
    }

    #[test]
    fn every_layout_is_made_and_its_model_compiled_once() {
        for (name, (layout, model)) in NAMES.iter().zip(&MODELS) {
            let options: Map<_, _> = [("layout".to_string(), (*name).into())].into_iter().collect();
            let env = make(ID, &options).unwrap();
            assert_eq!(env.spec().max_episode_steps, Some(layout.max_episode_steps));
            let compiled = model.get().unwrap();
            assert!(Arc::ptr_eq(&compiled, &model.get().unwrap()));
            let walls = layout.cells().filter(|&cell| layout.is_wall(cell)).count();
            // Ground and ball beside them.
            assert_eq!(compiled.ngeom() as usize, walls + 2, "{name}");
        }
    }

    #[test]
    fn a_ball_pushed_at_a_wall_comes_to_rest_before_it() {
        let mut env = make(ID, &Map::new()).unwrap();
        let mut observation = [0.0; 4];
        env.set_state(&[1.0, 1.0, 0.0, 9.0], &mut observation).unwrap();
        assert_eq!(observation[3], 9.0);
        // Faster than 5 m/s only as far as one step's force goes, and actions beyond 1 are clipped, even absurd ones.
        env.step(Action::F64(&[0.0, 1e300]), &mut observation).unwrap();
        let fastest = MAX_SPEED + DT * GEAR / 4.0;
        assert!(observation[3] > 5.0 && observation[3] < fastest, "{observation:?}");
        for _ in 0..250 {
            env.step(Action::F32(&[0.0, 1.5]), &mut observation).unwrap();
        }
        // The corridor's last cell is column 3; its wall begins 0.3 beyond its middle, less the radius.
        assert!((observation[1] - 3.2).abs() < 0.05 && observation[3].abs() < 1e-3, "{observation:?}");
    }
}
