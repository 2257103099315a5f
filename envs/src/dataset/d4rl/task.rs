//! What D4RL's tasks are, since their files do not say.

/// One of D4RL's tasks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Task {
    /// D4RL's own name for it, without the kind of data.
    pub(super) name: &'static str,
    /// The registered task that comes closest, if one reads the same observations. The physics of D4RL's locomotion is that
    /// of Gym v2: a score measured in v5 is not a score on the published benchmark.
    pub(super) env_id: Option<&'static str>,
    /// Columns of `observations`.
    pub(super) observation_width: usize,
    /// Columns of `actions`. All of D4RL's tasks bound them by -1 and 1.
    pub(super) action_width: usize,
    /// Time limit in steps.
    pub(super) max_episode_steps: usize,
    /// Returns of a random policy and of an expert.
    pub(super) references: (f64, f64),
}

/// The task of a file or of an environment, by name: `hopper_medium-v2`, `maze2d-umaze-sparse-v1`, `Walker2d-v5`.
pub(super) fn find(name: &str) -> Option<Task> {
    let name = name.to_lowercase().replace('_', "-");
    let maze = ["maze2d", "antmaze", "ant-maze"].iter().find_map(|maze| name.strip_prefix(maze));
    if let Some(layout) = maze {
        return if name.starts_with("maze2d") { maze2d(layout) } else { Some(antmaze(layout)) };
    }
    let starts_with = |word: &str| name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    LOCOMOTION.into_iter().find(|task| starts_with(task.name))
}

const LOCOMOTION: [Task; 4] = [
    Task {
        name: "hopper",
        env_id: Some("Hopper-v5"),
        observation_width: 11,
        action_width: 3,
        max_episode_steps: 1000,
        references: (-20.272305, 3234.3),
    },
    Task {
        name: "halfcheetah",
        env_id: Some("HalfCheetah-v5"),
        observation_width: 17,
        action_width: 6,
        max_episode_steps: 1000,
        references: (-280.178953, 12135.0),
    },
    Task {
        name: "walker2d",
        env_id: Some("Walker2d-v5"),
        observation_width: 17,
        action_width: 6,
        max_episode_steps: 1000,
        references: (1.629008, 4592.3),
    },
    Task {
        name: "ant",
        // 111 columns, the last 84 of them zero, against the 105 of Ant-v5.
        env_id: None,
        observation_width: 111,
        action_width: 8,
        max_episode_steps: 1000,
        references: (-325.6, 3879.7),
    },
];

/// Layout, dense rewards, time limits of v1 and v0, references of v1 (or of the dense variant).
type Maze = (&'static str, &'static str, bool, usize, usize, (f64, f64));

const MAZES: [Maze; 7] = [
    ("umaze", "maze2d-umaze", false, 300, 150, (23.85, 161.86)),
    ("medium", "maze2d-medium", false, 600, 250, (13.13, 277.39)),
    ("large", "maze2d-large", false, 800, 600, (6.7, 273.99)),
    ("umaze", "maze2d-umaze-dense", true, 300, 150, (68.537689, 193.66285642381482)),
    ("medium", "maze2d-medium-dense", true, 600, 250, (44.264742, 297.4552547777125)),
    ("large", "maze2d-large-dense", true, 800, 600, (30.569041, 303.4857382709002)),
    ("open", "maze2d-open", false, 150, 150, (0.01, 20.66)),
];

/// References of the old sparse registrations, in the order of [`MAZES`].
const MAZES_V0: [(f64, f64); 3] = [(0.94, 62.6), (5.77, 85.14), (4.83, 191.99)];

fn maze2d(layout: &str) -> Option<Task> {
    let (dense, old) = (layout.contains("dense"), layout.ends_with("-v0"));
    let index = MAZES.iter().position(|maze| layout.starts_with(&format!("-{}", maze.0)) && maze.2 == dense)?;
    let (_, name, _, limit, limit_v0, references) = MAZES[index];
    Some(Task {
        name,
        env_id: match name {
            "maze2d-umaze" => Some("maze2d-umaze-v1"),
            "maze2d-medium" => Some("maze2d-medium-v1"),
            "maze2d-large" => Some("maze2d-large-v1"),
            _ => None,
        },
        observation_width: 4,
        action_width: 2,
        max_episode_steps: if old { limit_v0 } else { limit },
        references: MAZES_V0.get(index).copied().filter(|_| old).unwrap_or(references),
    })
}

fn antmaze(layout: &str) -> Task {
    let small = layout.replace('-', "").starts_with("umaze");
    Task {
        name: "antmaze",
        env_id: None,
        observation_width: 29,
        action_width: 8,
        max_episode_steps: if small { 700 } else { 1000 },
        references: (0.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_found_by_file_name() {
        let name = |stem| find(stem).map(|task| task.name);
        assert_eq!(name("hopper_medium_replay-v2"), Some("hopper"));
        assert_eq!(name("walker2d-expert-v2"), Some("walker2d"));
        assert_eq!(name("HalfCheetah-v5"), Some("halfcheetah"));
        assert_eq!(name("ant_medium-v2"), Some("ant"));
        assert_eq!(name("antmaze-large-play-v2"), Some("antmaze"));
        assert_eq!(name("Ant_maze_u-maze_noisy_multistart_True"), Some("antmaze"));
        assert_eq!(name("antique_medium-v2"), None);
        assert_eq!(name("hoppers"), None);
    }

    #[test]
    fn mazes_differ_by_layout_reward_and_version() {
        let limit = |stem| find(stem).map(|task| (task.max_episode_steps, task.references));
        assert_eq!(limit("maze2d-umaze-sparse-v1"), Some((300, (23.85, 161.86))));
        assert_eq!(limit("maze2d-medium-v0"), Some((250, (5.77, 85.14))));
        assert_eq!(limit("maze2d-large-dense-v1").unwrap().1.0, 30.569041);
        assert_eq!(limit("maze2d-nowhere-v1"), None);
        assert_eq!(limit("antmaze-umaze-v2").unwrap().0, 700);
        assert_eq!(limit("antmaze-medium-play-v2").unwrap().0, 1000);
    }
}
