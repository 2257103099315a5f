//! The rules of D4RL's maze2d, with and without MuJoCo: options, spaces, physical constants, first states, forces and rewards.

use super::layout::{Layout, NAMES};
use crate::env::Action;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};
use crate::rng::Generator;

/// Options of the tasks.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    OptionInfo::choice("layout", NAMES, "the maze: umaze, medium, large or open"),
    OptionInfo::choice("reward", &["sparse", "dense"], "sparse: 1 within 0.5 of the goal; dense: exp(-distance to the goal)"),
];

/// Seconds a step.
pub(crate) const DT: f64 = 0.01;
/// Newton for an action of 1.
pub(crate) const GEAR: f64 = 100.0;
/// Newton for each m/s.
pub(crate) const DAMPING: f64 = 1.0;
/// Bound of each component of the velocity, clipped before a step, in m/s.
pub(crate) const MAX_SPEED: f64 = 5.0;
/// Radius of the ball in m.
pub(crate) const RADIUS: f64 = 0.1;
/// Density of the ball in kg/m^3.
pub(crate) const DENSITY: f64 = 1000.0;
/// A position of 0 lies at 1.2 in the frame in which cell `(row, column)` is centred at `(row + 1, column + 1)`.
pub(crate) const OFFSET: f64 = 1.2;
/// Largest distance from the goal that the sparse reward counts.
const GOAL_RADIUS: f64 = 0.5;

/// One of the tasks: a maze, its goal, and the kind of reward.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) layout: Layout,
    dense: bool,
    goal: [f64; 2],
}

/// The layout that these options name.
///
/// # Errors
/// [`EnvError::Option`] as [`make`](crate::make) gives it.
pub(crate) fn layout(options: &Options) -> Result<Layout, EnvError> {
    let name = options.choice("layout")?;
    Layout::named(name).ok_or_else(|| options.error("layout", format!("\"{name}\" has no grid")))
}

impl Rules {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let layout = layout(options)?;
        let goal = layout.goal().map(|coordinate| coordinate as f64);
        Ok(Self { layout, dense: options.choice("reward")? == "dense", goal })
    }

    /// Where the goal is: the row and the column of its cell.
    pub(crate) fn goal(&self) -> [f64; 2] {
        self.goal
    }

    /// A random first position and velocity.
    pub(crate) fn first_state(&self, generator: &mut Generator) -> ([f64; 2], [f64; 2]) {
        let starts = self.layout.starts();
        let start = starts[generator.below(starts.len() as u32) as usize];
        let position = start.map(|coordinate| coordinate as f64 + generator.uniform(-0.1, 0.1));
        (position, std::array::from_fn(|_| 0.1 * generator.normal()))
    }

    /// The reward of a step that ends at a position.
    pub(crate) fn reward(&self, position: [f64; 2]) -> f64 {
        let [x, y]: [f64; 2] = std::array::from_fn(|axis| position[axis] - self.goal[axis]);
        // NumPy's norm, to the bit; `hypot` rounds otherwise.
        let distance = (x * x + y * y).sqrt();
        match self.dense {
            true => (-distance).exp(),
            false => f64::from(distance <= GOAL_RADIUS),
        }
    }
}

/// Forces along x and y in units of [`GEAR`], -1 to 1.
pub(crate) fn forces(action: Action<'_>) -> [f64; 2] {
    std::array::from_fn(|axis| action.component(axis).clamp(-1.0, 1.0))
}
