//! The description of a dataset in one page.

use crate::provenance::own_task_differences;
use crate::report::{Check, Finding};
use crate::{format::Format, loaded::Loaded, statistics::Statistics};
use aaren_envs::Space;
use serde::Serialize;
use std::path::PathBuf;

/// A description of a dataset, ready to be printed or written as JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The dataset's own name.
    pub id: String,
    /// Its path.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// The task, where known.
    pub env_id: Option<String>,
    /// The task with all that is said of it, in words.
    pub task: Option<String>,
    /// The options of the task that the data were made in, where they are known.
    pub env_options: Option<serde_json::Map<String, serde_json::Value>>,
    /// Wrappers around it that change what was recorded.
    pub wrappers: Vec<String>,
    /// The task's time limit in steps, where known.
    pub max_episode_steps: Option<usize>,
    /// Components of an observation.
    pub observation_width: usize,
    /// Components of an action, or how many choices there are.
    pub action_width: usize,
    /// Observations.
    pub observation_space: Space,
    /// Actions.
    pub action_space: Space,
    /// Observations as they were recorded, in words, where that was otherwise: `Dict(position: Box(3), gripper: Discrete(2))`.
    pub recorded_observation_space: Option<String>,
    /// Actions likewise; of several choices the joint choice is counted.
    pub recorded_action_space: Option<String>,
    /// Counts, means, spreads, ends, references and score.
    #[serde(flatten)]
    pub statistics: Statistics,
    /// All other metadata.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The warnings of the checks.
    pub warnings: Vec<Finding>,
}

impl Summary {
    /// Describes a dataset that was read. `references` as in [`Statistics::of`].
    pub fn of(loaded: &Loaded, references: Option<(f64, f64)>) -> Self {
        let dataset = &loaded.dataset;
        let of_task = own_task_differences(dataset).into_iter().map(|text| Finding { check: Check::Task, count: 1, text });
        Self {
            id: dataset.id.clone(),
            path: loaded.path.clone(),
            format: loaded.format,
            env_id: dataset.env_id.clone(),
            task: dataset.task(),
            env_options: dataset.env_options(),
            wrappers: dataset.wrappers(),
            max_episode_steps: dataset.max_episode_steps,
            observation_width: dataset.observation_space.width(),
            action_width: dataset.action_space.width(),
            observation_space: dataset.observation_space.clone(),
            action_space: dataset.action_space.clone(),
            recorded_observation_space: dataset.recorded_space("observation_space"),
            recorded_action_space: dataset.recorded_space("action_space"),
            statistics: Statistics::of(dataset, references),
            metadata: dataset.metadata.clone(),
            warnings: loaded.warnings.iter().cloned().chain(of_task).collect(),
        }
    }
}
