//! Reference returns with their source, and the normalised score: 0 is a random policy, 100 an expert.
//!
//! ```
//! use aaren_data::score::{d4rl, normalised_score};
//!
//! let hopper = d4rl("hopper-medium-v2").unwrap();
//! assert_eq!(normalised_score(hopper.max, hopper.min, hopper.max), 100.0);
//! ```

use aaren_envs::OptionDefault;
use serde_json::{Map, Value};

/// The returns whose normalised scores are 0 and 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reference {
    /// The name under which they are published.
    pub name: &'static str,
    /// Mean return of a random policy.
    pub min: f64,
    /// Mean return of an expert.
    pub max: f64,
    /// Where the numbers were published, and the simulator they were measured on.
    pub source: &'static str,
}

const D4RL: &str = "D4RL (Fu et al. 2020, arXiv:2004.07219), on MuJoCo 2 through mujoco-py";
const D4RL_V0: &str = "D4RL, first registration of maze2d, on MuJoCo 2 through mujoco-py";

const fn reference(name: &'static str, min: f64, max: f64, source: &'static str) -> Reference {
    Reference { name, min, max, source }
}

/// D4RL's table (`d4rl/infos.py`). Locomotion names cover all datasets and versions of a task.
const REFERENCES: &[Reference] = &[
    reference("halfcheetah", -280.178953, 12135.0, D4RL),
    reference("hopper", -20.272305, 3234.3, D4RL),
    reference("walker2d", 1.629008, 4592.3, D4RL),
    reference("ant", -325.6, 3879.7, D4RL),
    reference("antmaze", 0.0, 1.0, D4RL),
    reference("maze2d-open-v0", 0.01, 20.66, D4RL_V0),
    reference("maze2d-umaze-v0", 0.94, 62.6, D4RL_V0),
    reference("maze2d-medium-v0", 5.77, 85.14, D4RL_V0),
    reference("maze2d-large-v0", 4.83, 191.99, D4RL_V0),
    reference("maze2d-umaze-v1", 23.85, 161.86, D4RL),
    reference("maze2d-medium-v1", 13.13, 277.39, D4RL),
    reference("maze2d-large-v1", 6.7, 273.99, D4RL),
    reference("maze2d-umaze-dense-v1", 68.537689, 193.66285642381482, D4RL),
    reference("maze2d-medium-dense-v1", 44.264742, 297.4552547777125, D4RL),
    reference("maze2d-large-dense-v1", 30.569041, 303.4857382709002, D4RL),
];

/// The reference of a D4RL name: a task (`hopper`, `maze2d-umaze-v1`) or one of its datasets (`hopper-medium-v2`).
pub fn d4rl(name: &str) -> Option<&'static Reference> {
    let of = |name: &str| REFERENCES.iter().find(|reference| reference.name == name);
    // The mazes are listed by full name. Of the others only the task counts, whatever the data.
    of(name).or_else(|| of(name.split('-').next()?))
}

/// Options of robots that say what a step earns.
const REWARDS: &[&str] =
    &["forward_reward_weight", "healthy_reward", "ctrl_cost_weight", "contact_cost_weight", "contact_cost_range"];

/// Whether a step earns something else than in the task as it is published.
fn is_rewarded_otherwise(task: &str, options: &Map<String, Value>) -> bool {
    let tasks = aaren_envs::tasks();
    let known = tasks.iter().find(|known| known.id == task).map_or(&[][..], |task| task.options);
    let is_default = |key: &str, value: &Value| {
        known.iter().any(|option| {
            option.key == key && matches!(option.default, OptionDefault::Number(default, ..) if value.as_f64() == Some(default))
        })
    };
    REWARDS.iter().any(|&key| options.get(key).is_some_and(|value| !is_default(key, value)))
}

/// The reference of a registered environment with these options; `None` where none is published, so raw returns are reported: a robot
/// whose options say what a step earns has none.
///
/// The MuJoCo tasks borrow D4RL's numbers, which were measured on older simulators and rewards: a score in between is
/// comparable among our own runs, not with the published benchmark. Nor is 100 a ceiling in the mazes: the waypoint collector,
/// which drives straight to the goal, scores means of 219 (umaze), 409 (medium) and 546 (large) over 100 episodes.
pub fn of_env(env_id: &str, options: &Map<String, Value>) -> Option<&'static Reference> {
    // A robot in Python, `gymnasium:Hopper-v5`, is the same robot.
    let task = env_id.rsplit(':').next()?;
    if is_rewarded_otherwise(task, options) {
        return None;
    }
    match task {
        "HalfCheetah-v5" => d4rl("halfcheetah"),
        "Hopper-v5" => d4rl("hopper"),
        "Walker2d-v5" => d4rl("walker2d"),
        "Ant-v5" => d4rl("ant"),
        "PointMaze-v0" | "Maze2D-v1" => {
            let text = |key: &str, default| options.get(key).map_or(Some(default), Value::as_str);
            let dense = if text("reward", "sparse")? == "dense" { "-dense" } else { "" };
            let layout = text("layout", "umaze")?;
            let version = if layout == "open" { "v0" } else { "v1" };
            REFERENCES.iter().find(|reference| reference.name == format!("maze2d-{layout}{dense}-{version}"))
        }
        _ => None,
    }
}

/// `100 * (mean_return - min) / (max - min)`: 0 is the random policy, 100 the expert. Not clipped.
pub fn normalised_score(mean_return: f64, min: f64, max: f64) -> f64 {
    100.0 * (mean_return - min) / (max - min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_datasets_find_their_task() {
        assert_eq!(d4rl("hopper-medium-replay-v2").map(|r| r.max), Some(3234.3));
        assert_eq!(d4rl("antmaze-large-play-v2").map(|r| r.name), Some("antmaze"));
        assert_eq!(d4rl("maze2d-large-v0").map(|r| r.max), Some(191.99));
        assert_eq!(d4rl("maze2d-large-dense-v1").map(|r| r.max), Some(303.4857382709002));
        assert_eq!(d4rl("maze2d-huge-v1"), None);
        assert_eq!(d4rl("hopper2-medium-v2"), None);
    }

    #[test]
    fn environments_find_their_reference_by_their_options() {
        let options = |json: Value| {
            if let Value::Object(map) = json { map } else { unreachable!() }
        };
        assert_eq!(of_env("Hopper-v5", &Map::new()).map(|r| r.name), Some("hopper"));
        assert_eq!(of_env("gymnasium:Hopper-v5", &Map::new()).map(|r| r.name), Some("hopper"));
        assert_eq!(of_env("Hopper-v5", &options(serde_json::json!({"forward_reward_weight": 2}))), None);
        assert!(of_env("Hopper-v5", &options(serde_json::json!({"hide_velocity": true}))).is_some());
        #[cfg(feature = "mujoco")]
        assert!(of_env("Hopper-v5", &options(serde_json::json!({"forward_reward_weight": 1}))).is_some());
        assert_eq!(of_env("PointMaze-v0", &Map::new()).map(|r| r.name), Some("maze2d-umaze-v1"));
        let dense = options(serde_json::json!({"layout": "large", "reward": "dense"}));
        for id in ["PointMaze-v0", "Maze2D-v1"] {
            assert_eq!(of_env(id, &dense).map(|r| r.name), Some("maze2d-large-dense-v1"));
        }
        assert_eq!(of_env("PointMaze-v0", &options(serde_json::json!({"layout": "open", "reward": "dense"}))), None);
        assert_eq!(of_env("Pendulum-v1", &Map::new()), None);
    }

    #[test]
    fn scores_of_the_published_data_are_the_published_scores() {
        let hopper = d4rl("hopper").unwrap();
        let score = |mean_return| normalised_score(mean_return, hopper.min, hopper.max);
        assert_eq!((score(hopper.min), score(hopper.max)), (0.0, 100.0));
        // hopper-medium and hopper-expert: mean returns 1422.06 and 3511.36, published scores 44.3 and 108.5.
        assert_eq!([score(1422.06), score(3511.36)].map(|score| (score * 10.0).round()), [443.0, 1085.0]);
    }
}
