//! `PointMaze-v0`: drive a ball through a maze, D4RL's maze2d without MuJoCo.

pub(crate) mod layout;
pub(crate) mod rules;
pub(crate) mod waypoint;

use std::f64::consts::PI;

use crate::env::Action;
use crate::error::EnvError;
use crate::options::Options;
use crate::rng::Generator;
use crate::space::{Dtype, Space};
use crate::task::{Outcome, Task};
use rules::{DAMPING, DENSITY, DT, GEAR, MAX_SPEED, OFFSET, RADIUS, Rules};

/// Registered name.
pub(crate) const ID: &str = "PointMaze-v0";

/// A ball in one of D4RL's mazes.
///
/// # Task
/// A ball is driven by two motors through a maze seen from above. Reach the goal and stay there. Where the goal is is not
/// observed; it is always the same cell of the layout.
/// # Actions
/// `Box(-1, 1, float32)` of width 2: forces along x and y in units of 100 N. Larger ones are clipped.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0, 1 | position; cell (row, column) is centred at row - 0.2, column - 0.2 | unbounded |
/// | 2, 3 | velocity | unbounded; clipped to -5 to 5 before each step |
/// # Rewards
/// With d the distance of the position to the goal's row and column: sparse 1 where d <= 0.5, else 0; dense `exp(-d)`. One point
/// for each step spent at the goal, so faster is better.
/// # First state
/// Row and column of a random free cell plus uniform noise in [-0.1, 0.1); velocity 0.1 times a standard normal.
/// # Episode end
/// Never terminates; truncated after 300 (umaze), 600 (medium), 800 (large) or 150 (open) steps.
/// # State
/// The observation. A position that overlaps a wall is moved out of it; the middle of the ball in a wall is an error.
/// # Version history
/// v0: in free space (more than MuJoCo's contact margin of 0.004 from any wall) bit-equal to maze2d on MuJoCo 3.17.0. Walls are
/// our own: hard and without friction or bounce, where MuJoCo's are soft. There a ball sinks in by up to 0.04 on impact and
/// comes to rest 0.003 before the wall; here it stops at the wall and slides along it. `Maze2D-v1`, which needs MuJoCo, has its
/// contacts too. Start states are drawn with NumPy's newer generator, not D4RL's legacy one.
#[derive(Clone, Debug)]
pub(crate) struct PointMaze {
    rules: Rules,
    position: [f64; 2],
    velocity: [f64; 2],
}

/// Kilograms.
const MASS: f64 = DENSITY * 4.0 / 3.0 * PI * (RADIUS * RADIUS * RADIUS);

impl PointMaze {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let rules = Rules::from_options(options)?;
        let position = rules.goal();
        Ok(Self { rules, position, velocity: [0.0; 2] })
    }

    fn observe(&self, observation: &mut [f64]) {
        observation[..2].copy_from_slice(&self.position);
        observation[2..].copy_from_slice(&self.velocity);
    }

    /// The cell that holds the middle of the ball.
    fn cell(&self) -> [i64; 2] {
        self.position.map(|coordinate| (coordinate + OFFSET - 0.5).floor() as i64)
    }

    /// The deepest overlap of the ball with a wall: the direction out of it, of length 1, and how far.
    fn overlap(&self) -> Option<([f64; 2], f64)> {
        let [row, column] = self.cell();
        let mut deepest: Option<([f64; 2], f64)> = None;
        // The ball is smaller than a cell: only the neighbours can touch it.
        for neighbour in (row - 1..=row + 1).flat_map(|row| (column - 1..=column + 1).map(move |column| [row, column])) {
            if !self.rules.layout.is_wall(neighbour) {
                continue;
            }
            let away: [f64; 2] = std::array::from_fn(|axis| {
                let from_centre = self.position[axis] + OFFSET - (neighbour[axis] + 1) as f64;
                from_centre - from_centre.clamp(-0.5, 0.5)
            });
            let distance = away[0].hypot(away[1]);
            let depth = RADIUS - distance;
            if depth > 0.0 && distance > 0.0 && deepest.is_none_or(|(_, deeper)| depth > deeper) {
                deepest = Some((away.map(|component| component / distance), depth));
            }
        }
        deepest
    }

    /// Moves the ball out of the walls and takes the part of its velocity that goes into them, so that it slides.
    fn resolve_contacts(&mut self) {
        // Deepest first: where boxes lie side by side, the face hides the corner behind it. Two walls meet at most; the rest
        // of the rounds is for rounding.
        for _ in 0..4 {
            let Some((normal, depth)) = self.overlap() else { return };
            let inward = (self.velocity[0] * normal[0] + self.velocity[1] * normal[1]).min(0.0);
            for (axis, normal) in normal.into_iter().enumerate() {
                self.position[axis] += normal * depth;
                self.velocity[axis] -= normal * inward;
            }
        }
    }
}

impl Task for PointMaze {
    fn observation_space(&self) -> Space {
        Space::uniform_box(4, f64::NEG_INFINITY, f64::INFINITY, Dtype::Float64)
    }

    fn action_space(&self) -> Space {
        Space::uniform_box(2, -1.0, 1.0, Dtype::Float32)
    }

    fn max_episode_steps(&self) -> Option<usize> {
        Some(self.rules.layout.max_episode_steps)
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        (self.position, self.velocity) = self.rules.first_state(generator);
        self.observe(observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        // MuJoCo's Euler step with implicit joint damping, in its order of operations. The clip keeps a step shorter than the
        // ball's radius, so no wall can be passed over.
        const INVERSE: f64 = 1.0 / (MASS + DT * DAMPING);
        for (axis, force) in rules::forces(action).into_iter().enumerate() {
            let velocity = self.velocity[axis].clamp(-MAX_SPEED, MAX_SPEED);
            let acceleration = (GEAR * force - DAMPING * velocity) * INVERSE;
            self.velocity[axis] = velocity + DT * acceleration;
            self.position[axis] += DT * self.velocity[axis];
        }
        self.resolve_contacts();
        self.observe(observation);
        Ok(Outcome { reward: self.rules.reward(self.position), terminated: false })
    }

    fn state_width(&self) -> Option<usize> {
        Some(4)
    }

    fn qpos_width(&self) -> Option<usize> {
        Some(2)
    }

    fn state(&self, state: &mut Vec<f64>) {
        state.extend(self.position);
        state.extend(self.velocity);
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        let mut placed = Self { position: [state[0], state[1]], velocity: [state[2], state[3]], ..self.clone() };
        if placed.rules.layout.is_wall(placed.cell()) {
            let problem = format!("has its position ({}, {}) in a wall", state[0], state[1]);
            return Err(EnvError::state(ID, problem));
        }
        // The velocity stays as given; the next step takes away the part that goes into the wall.
        placed.resolve_contacts();
        (self.position, self.velocity) = (placed.position, [state[2], state[3]]);
        self.observe(observation);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Env, fixtures, make};
    use layout::{Layout, NAMES};
    use serde_json::{Map, json};

    fn maze(layout: &str, reward: &str) -> Box<dyn Env> {
        make(ID, &fixtures::options(json!({"layout": layout, "reward": reward}))).unwrap()
    }

    /// Distance of the ball's surface from the nearest wall.
    fn clearance(layout: &Layout, position: &[f64]) -> f64 {
        let walls = layout.cells().filter(|&cell| layout.is_wall(cell));
        let distances = walls.map(|cell| {
            let beyond = |axis: usize| ((position[axis] + OFFSET - (cell[axis] + 1) as f64).abs() - 0.5).max(0.0);
            beyond(0).hypot(beyond(1))
        });
        distances.fold(f64::INFINITY, f64::min) - RADIUS
    }

    #[test]
    fn steps_in_free_space_are_mujocos() {
        for (name, case) in ["umaze", "medium", "large"].iter().flat_map(|n| ["random", "push", "controller"].map(|c| (*n, c))) {
            let recording = fixtures::recording(&format!("maze2d/{name}"), case);
            let mut env = maze(name, recording["reward_type"].as_str().unwrap());
            let layout = Layout::named(name).unwrap();
            let mut state = fixtures::numbers(&recording["init_obs"]);
            let (mut free, mut bit_equal, mut worst, mut worst_contact) = (0, 0, 0.0_f64, 0.0_f64);
            let steps = recording["steps"].as_array().unwrap();
            for (action, step) in recording["actions"].as_array().unwrap().iter().zip(steps) {
                let (mut observation, expected) = ([0.0; 4], fixtures::numbers(&step["obs"]));
                env.set_state(&state, &mut observation).unwrap();
                let reward = env.step(Action::F64(&fixtures::numbers(action)), &mut observation).unwrap().reward;
                let error =
                    |range: std::ops::Range<usize>| range.map(|i| (observation[i] - expected[i]).abs()).fold(0.0, f64::max);
                // MuJoCo feels a wall from 0.004 on, and looks at the position before the step; ours touches after it.
                if clearance(&layout, &state) > 0.004 + 1e-9 && clearance(&layout, &expected) >= 0.0 {
                    free += 1;
                    bit_equal += usize::from(observation[..] == expected[..]);
                    worst = worst.max(error(0..4)).max((reward - step["reward"].as_f64().unwrap()).abs());
                } else {
                    worst_contact = worst_contact.max(error(0..2));
                }
                state = expected;
            }
            println!(
                "{name}/{case}: {free} of {} steps in free space, {bit_equal} bit-equal, worst error {worst:e}; worst error of \
                 a position in contact {worst_contact:e}",
                steps.len()
            );
            // The push runs spend most of their steps at walls.
            assert!(free > 30 && worst < 1e-12, "{name}/{case}: {free} free steps, worst error {worst:e}");
            // How far MuJoCo's soft walls let the ball in.
            assert!(worst_contact < 0.06, "{name}/{case}: {worst_contact}");
        }
    }

    #[test]
    fn no_force_drives_the_ball_into_a_wall() {
        let mut generator = Generator::from_seed(4);
        for name in NAMES {
            let (mut env, layout) = (maze(name, "sparse"), Layout::named(name).unwrap());
            let mut observation = [0.0; 4];
            let mut touched = 0;
            for seed in 0..40 {
                env.reset(Some(seed), &mut observation).unwrap();
                // Long pushes in random directions reach every wall and corner at full speed.
                let mut push = [0.0; 2];
                for t in 0..layout.max_episode_steps {
                    if t % 29 == 0 {
                        push = std::array::from_fn(|_| generator.uniform(-3.0, 3.0));
                    }
                    env.step(Action::F64(&push), &mut observation).unwrap();
                    let clearance = clearance(&layout, &observation[..2]);
                    assert!(clearance > -1e-9, "{name}: {clearance} deep at {observation:?}");
                    touched += usize::from(clearance < 1e-9);
                }
            }
            assert!(touched > 1000, "{name}: only {touched} contacts");
        }
    }

    #[test]
    fn a_ball_slides_along_a_wall_without_losing_speed() {
        let mut env = maze("open", "sparse");
        // Against the wall below row 3, pushed into it and along it; then the same without a wall.
        let [mut along, mut free] = [[0.0; 4]; 2];
        for (position, observation) in [(3.2, &mut along), (2.0, &mut free)] {
            env.set_state(&[position, 2.0, 0.0, 1.0], observation).unwrap();
            for _ in 0..10 {
                env.step(Action::F64(&[if position > 3.0 { 1.0 } else { 0.0 }, 0.3]), observation).unwrap();
            }
        }
        assert!((along[0] - 3.2).abs() < 1e-12 && along[2].abs() < 1e-12, "{along:?}");
        assert_eq!((along[1], along[3]), (free[1], free[3]));
    }

    #[test]
    fn rewards_are_by_distance_to_the_goals_row_and_column() {
        let mut observation = [0.0; 4];
        for (distance, sparse) in [(0.0, 1.0), (0.49, 1.0), (0.51, 0.0)] {
            for reward in ["sparse", "dense"] {
                let mut env = maze("open", reward);
                env.set_state(&[2.0, 3.0 + distance, 0.0, 0.0], &mut observation).unwrap();
                let step = env.step(Action::F64(&[0.0; 2]), &mut observation).unwrap();
                assert_eq!(step.reward, if reward == "sparse" { sparse } else { (-observation[1] + 3.0).exp() });
            }
        }
    }

    #[test]
    fn a_state_in_a_wall_is_refused_and_one_that_overlaps_is_moved_out() {
        let mut env = maze("umaze", "sparse");
        let mut observation = [0.0; 4];
        let error = env.set_state(&[2.0, 1.0, 0.0, 0.0], &mut observation).unwrap_err().to_string();
        assert_eq!(error, "PointMaze-v0: state has its position (2, 1) in a wall");
        env.set_state(&[1.24, 1.0, 2.0, -3.0], &mut observation).unwrap();
        assert!((observation[0] - 1.2).abs() < 1e-12 && observation[1..] == [1.0, 2.0, -3.0], "{observation:?}");
    }

    #[test]
    fn starts_cover_the_free_cells() {
        let mut env = make(ID, &Map::new()).unwrap();
        let mut cells: Vec<[i64; 2]> = (0..200)
            .map(|seed| {
                let mut observation = [0.0; 4];
                env.reset(Some(seed), &mut observation).unwrap();
                [observation[0].round() as i64, observation[1].round() as i64]
            })
            .collect();
        cells.sort_unstable();
        cells.dedup();
        let mut starts = Layout::named("umaze").unwrap().starts();
        starts.sort_unstable();
        assert_eq!(cells, starts);
    }
}
