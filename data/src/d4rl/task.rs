//! D4RL's tasks, which its files do not describe.

use serde_json::{Map, Value};

/// One of D4RL's tasks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Task {
    /// D4RL's name of the task, without the kind of data; its reference returns are listed under this name.
    pub(super) name: String,
    /// The registered task that comes closest, if one reads the same observations. The physics of D4RL's locomotion is that
    /// of Gym v2: a score measured in v5 is not a score on the published benchmark.
    pub(super) env_id: Option<&'static str>,
    /// Options that the registered task has to be made with.
    pub(super) env_options: Map<String, Value>,
    /// Columns of `observations`.
    pub(super) observation_width: usize,
    /// Columns of `actions`. All of D4RL's tasks bound them by -1 and 1.
    pub(super) action_width: usize,
    /// Time limit in steps.
    pub(super) max_episode_steps: usize,
}

/// Name, registered task, widths of observations and actions.
const LOCOMOTION: [(&str, Option<&str>, usize, usize); 4] = [
    ("hopper", Some("Hopper-v5"), 11, 3),
    ("halfcheetah", Some("HalfCheetah-v5"), 17, 6),
    ("walker2d", Some("Walker2d-v5"), 17, 6),
    // The last 84 of the 111 columns are zero, as in Ant-v5 with D4RL's variant; without it that has 105, all of them in use.
    ("ant", Some("Ant-v5"), 111, 8),
];

/// Layout, time limits in steps of version 1 and of version 0.
const MAZES: [(&str, usize, usize); 4] = [("umaze", 300, 150), ("medium", 600, 250), ("large", 800, 600), ("open", 150, 150)];

/// The task of a file, by its name without the extension: `hopper_medium-v2`, `maze2d-umaze-sparse-v1`.
pub(super) fn find(stem: &str) -> Option<Task> {
    let stem = stem.to_lowercase().replace('_', "-");
    if let Some(rest) = stem.strip_prefix("maze2d-") {
        return maze2d(rest);
    }
    if let Some(layout) = stem.strip_prefix("antmaze").or(stem.strip_prefix("ant-maze")) {
        return Some(antmaze(layout));
    }
    let starts_with = |word: &str| stem.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let &(name, env_id, observation_width, action_width) = LOCOMOTION.iter().find(|task| starts_with(task.0))?;
    // Gymnasium's versions in the same layout are no data of D4RL's.
    let is_d4rl = !["-v3", "-v4", "-v5"].iter().any(|version| stem.ends_with(version));
    let variant = (is_d4rl && name != "halfcheetah").then(|| ("variant".into(), "d4rl".into()));
    Some(Task {
        name: name.into(),
        env_id,
        env_options: variant.into_iter().collect(),
        observation_width,
        action_width,
        max_episode_steps: 1000,
    })
}

fn maze2d(rest: &str) -> Option<Task> {
    let &(layout, limit, limit_v0) = MAZES.iter().find(|maze| rest.starts_with(maze.0))?;
    let (dense, old) = (rest.contains("dense"), rest.ends_with("-v0"));
    // The dense tasks have one reference for both versions, and the open layout has a first version only.
    let version = if layout == "open" || (old && !dense) { "v0" } else { "v1" };
    let reward = if dense { "dense" } else { "sparse" };
    Some(Task {
        name: format!("maze2d-{layout}{}-{version}", if dense { "-dense" } else { "" }),
        env_id: Some("Maze2D-v1"),
        env_options: [("layout", layout), ("reward", reward)]
            .map(|(key, value)| (key.into(), value.into()))
            .into_iter()
            .collect(),
        observation_width: 4,
        action_width: 2,
        max_episode_steps: if old { limit_v0 } else { limit },
    })
}

fn antmaze(layout: &str) -> Task {
    let small = layout.replace('-', "").starts_with("umaze");
    Task {
        name: "antmaze".into(),
        env_id: None,
        env_options: Map::new(),
        observation_width: 29,
        action_width: 8,
        max_episode_steps: if small { 700 } else { 1000 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_found_by_file_name() {
        let name = |stem| find(stem).map(|task| task.name);
        let some = |name: &str| Some(name.to_string());
        assert_eq!(name("hopper_medium_replay-v2"), some("hopper"));
        assert_eq!(name("walker2d-expert-v2"), some("walker2d"));
        assert_eq!(name("HalfCheetah-v5"), some("halfcheetah"));
        assert_eq!(name("ant_medium-v2"), some("ant"));
        assert_eq!(name("antmaze-large-play-v2"), some("antmaze"));
        assert_eq!(name("Ant_maze_u-maze_noisy_multistart_True"), some("antmaze"));
        assert_eq!(name("antique_medium-v2"), None);
        assert_eq!(name("hoppers"), None);
    }

    #[test]
    fn mazes_differ_by_layout_reward_and_version() {
        let limit = |stem| find(stem).map(|task| (task.max_episode_steps, task.name)).unwrap();
        assert_eq!(limit("maze2d-umaze-sparse-v1"), (300, "maze2d-umaze-v1".into()));
        assert_eq!(limit("maze2d-medium-v0"), (250, "maze2d-medium-v0".into()));
        assert_eq!(limit("maze2d-large-dense-v1"), (800, "maze2d-large-dense-v1".into()));
        assert_eq!(limit("antmaze-umaze-v2").0, 700);
        assert_eq!(limit("antmaze-medium-play-v2").0, 1000);
        assert_eq!(find("maze2d-nowhere-v1"), None);
        let options = find("maze2d-large-dense-v1").unwrap().env_options;
        assert_eq!((&options["layout"], &options["reward"]), (&"large".into(), &"dense".into()));
        assert_eq!(find("maze2d-umaze-v1").unwrap().env_id, Some("Maze2D-v1"));
    }

    #[test]
    fn every_task_has_reference_returns() {
        for stem in ["hopper", "halfcheetah", "walker2d", "ant", "antmaze-umaze-v2", "maze2d-open-v0", "maze2d-large-dense-v0"] {
            let name = find(stem).unwrap().name;
            assert_eq!(crate::score::d4rl(&name).map(|reference| reference.name), Some(name.as_str()));
        }
    }
}
