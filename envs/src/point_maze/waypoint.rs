//! The waypoint controller that collected D4RL's maze2d data and defines its reference return.

use super::layout::{Cell, Layout};
use crate::rng::Generator;

/// Discount of the value iteration.
const DISCOUNT: f64 = 0.99;
const SWEEPS: usize = 50;
/// Stay, then the four neighbours; the first of equally good ones is taken.
const MOVES: [Cell; 5] = [[0, 0], [0, -1], [0, 1], [-1, 0], [1, 0]];
/// Moves after which a plan is given up.
const MAX_MOVES: usize = 100;
/// How near a point, and how slow in metres a step, counts as being there.
const NEAR: f64 = 0.1;
/// Action for each metre from the aim.
const STIFFNESS: f64 = 10.0;
/// Action against each m/s.
const BRAKE: f64 = 1.0;

/// Plans a path through the cells and steers along it.
#[derive(Clone, Debug)]
pub(crate) struct WaypointController {
    layout: Layout,
    /// The target's cell, once there is one.
    goal: Option<Cell>,
    waypoints: Vec<[f64; 2]>,
    next: usize,
    previous: [f64; 2],
}

impl WaypointController {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, goal: None, waypoints: vec![], next: 0, previous: [0.0; 2] }
    }

    /// The action for a position and a velocity, each component in -1 to 1, and whether the target is reached.
    ///
    /// A target in another cell than the last one's makes a new plan, for which `generator` moves the waypoints a little.
    pub(crate) fn act(
        &mut self,
        position: [f64; 2],
        velocity: [f64; 2],
        target: [f64; 2],
        generator: &mut Generator,
    ) -> ([f64; 2], bool) {
        if self.goal != Some(cell(target)) {
            let cells = plan(&self.layout, cell(position), cell(target));
            let last = cells.len().saturating_sub(1);
            // Cells are named by their rounded position, which lies 0.2 beyond their centre.
            let mut towards_centre = || generator.uniform(0.0, 0.2);
            let waypoints = cells
                .iter()
                .enumerate()
                .map(|(i, cell)| cell.map(|coordinate| coordinate as f64 - if i < last { towards_centre() } else { 0.0 }));
            self.follow(waypoints.collect(), cell(position), cell(target));
        }
        self.steer(position, velocity)
    }

    fn follow(&mut self, waypoints: Vec<[f64; 2]>, start: Cell, goal: Cell) {
        self.previous = start.map(|coordinate| coordinate as f64);
        (self.waypoints, self.next, self.goal) = (waypoints, 0, Some(goal));
    }

    fn steer(&mut self, position: [f64; 2], velocity: [f64; 2]) -> ([f64; 2], bool) {
        let goal = self.goal.unwrap_or_default().map(|coordinate| coordinate as f64);
        let slow = distance(self.previous, position) < NEAR;
        let busy = !(distance(position, goal) < NEAR && slow);
        // A plan that found no way ends early; then the goal itself is the aim.
        let aim = if busy { self.waypoints.get(self.next).copied().unwrap_or(goal) } else { goal };
        let action =
            std::array::from_fn(|axis| (STIFFNESS * (aim[axis] - position[axis]) - BRAKE * velocity[axis]).clamp(-1.0, 1.0));
        if busy && slow && distance(position, aim) < NEAR {
            self.next += 1;
        }
        self.previous = position;
        (action, !busy)
    }
}

/// The cell that a position is said to be in: each coordinate rounded, ties to even.
fn cell(position: [f64; 2]) -> Cell {
    position.map(|coordinate| coordinate.round_ties_even() as i64)
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// The cells entered on the way from `start` to `goal`, by value iteration over the whole grid.
pub(crate) fn plan(layout: &Layout, start: Cell, goal: Cell) -> Vec<Cell> {
    let [rows, columns] = layout.size();
    let index = |[row, column]: Cell| (row * columns + column) as usize;
    let moved = |from: Cell, step: Cell| {
        let to = [from[0] + step[0], from[1] + step[1]];
        if layout.is_wall(to) { from } else { to }
    };
    let mut values = vec![0.0; (rows * columns) as usize];
    let quality = |values: &[f64], from: Cell, step: Cell| f64::from(from == goal) + DISCOUNT * values[index(moved(from, step))];
    for _ in 0..SWEEPS {
        let best = |from| MOVES.map(|step| quality(&values, from, step)).into_iter().fold(f64::NEG_INFINITY, f64::max);
        values = layout.cells().map(best).collect();
    }
    let mut path = vec![];
    let mut here = start;
    while path.len() < MAX_MOVES {
        let qualities = MOVES.map(|step| quality(&values, here, step));
        let mut best = 0;
        for i in 1..MOVES.len() {
            if qualities[i] > qualities[best] {
                best = i;
            }
        }
        here = moved(here, MOVES[best]);
        path.push(here);
        if here == goal {
            break;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, fixtures, make, point_maze::ID};
    use serde_json::{Value, json};

    fn as_cell(value: &Value) -> Cell {
        let [row, column] = fixtures::numbers(value)[..] else { unreachable!() };
        [row as i64, column as i64]
    }

    fn as_point(value: &Value) -> [f64; 2] {
        fixtures::numbers(value).try_into().unwrap()
    }

    const RECORDED: [&str; 3] = ["umaze", "medium", "large"];

    #[test]
    fn plans_are_d4rls() {
        for name in RECORDED {
            let (plans, layout) = (fixtures::recording(&format!("maze2d/{name}"), "plans"), Layout::named(name).unwrap());
            let plans = plans["plans"].as_array().unwrap();
            assert!(plans.len() > 20);
            for recorded in plans {
                let cells: Vec<Cell> = recorded["cells"].as_array().unwrap().iter().map(as_cell).collect();
                assert_eq!(plan(&layout, as_cell(&recorded["start"]), as_cell(&recorded["goal"])), cells, "{name}");
            }
        }
    }

    /// The recorded controller never touches a wall, so our maze and our controller must reproduce its whole run.
    #[test]
    fn controlled_runs_are_d4rls() {
        for name in RECORDED {
            let recording = fixtures::recording(&format!("maze2d/{name}"), "controller");
            let mut env = make(ID, &fixtures::options(json!({"layout": name, "max_episode_steps": null}))).unwrap();
            let mut controller = WaypointController::new(Layout::named(name).unwrap());
            let mut observation = [0.0; 4];
            env.set_state(&fixtures::numbers(&recording["init_obs"]), &mut observation).unwrap();
            let switches = fixtures::numbers(&recording["goal_switched_after_step"]);
            let (mut stage, mut worst) = (0, 0.0_f64);
            let (actions, steps) = (recording["actions"].as_array().unwrap(), recording["steps"].as_array().unwrap());
            for (t, (action, step)) in actions.iter().zip(steps).enumerate() {
                if t == 0 || switches.contains(&(t as f64 - 1.0)) {
                    let plan = &recording["plans"][stage];
                    let waypoints: Vec<[f64; 2]> = plan["waypoints"].as_array().unwrap().iter().map(as_point).collect();
                    assert_eq!(cell([observation[0], observation[1]]), as_cell(&plan["start"]), "{name}, step {t}");
                    assert_eq!(cell(as_point(&recording["controller_goals"][stage])), as_cell(&plan["goal"]));
                    controller.follow(waypoints, as_cell(&plan["start"]), as_cell(&plan["goal"]));
                    stage += 1;
                }
                let (ours, done) = controller.steer([observation[0], observation[1]], [observation[2], observation[3]]);
                env.step(Action::F64(&ours), &mut observation).unwrap();
                let error = |found: &[f64], expected: &Value| {
                    found.iter().zip(fixtures::numbers(expected)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
                };
                worst = worst.max(error(&ours, action)).max(error(&observation, &step["obs"]));
                assert_eq!(done, step["controller_done"].as_bool().unwrap(), "{name}, step {t}");
            }
            assert_eq!(stage, 3);
            println!("{name}/controller: {} steps in closed loop, worst error {worst:e}", steps.len());
            assert!(worst < 1e-12, "{name}: {worst:e}");
        }
    }

    #[test]
    fn the_controller_reaches_the_goal_from_everywhere() {
        for &name in super::super::layout::NAMES {
            let layout = Layout::named(name).unwrap();
            let mut env = make(ID, &fixtures::options(json!({"layout": name, "max_episode_steps": 2000}))).unwrap();
            let target = layout.goal().map(|coordinate| coordinate as f64);
            for (seed, start) in layout.starts().into_iter().enumerate() {
                let mut generator = Generator::from_seed(seed as u64);
                let mut observation = [0.0; 4];
                env.set_state(&[start[0] as f64, start[1] as f64, 0.0, 0.0], &mut observation).unwrap();
                let mut controller = WaypointController::new(layout);
                let reached = (0..1500).find(|_| {
                    let [x, y, vx, vy] = observation;
                    let (action, done) = controller.act([x, y], [vx, vy], target, &mut generator);
                    env.step(Action::F64(&action), &mut observation).unwrap();
                    done
                });
                assert!(reached.is_some(), "{name}: stuck at {observation:?} from {start:?}");
            }
        }
    }
}
