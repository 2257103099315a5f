//! Replays a recorded rollout and measures the differences.
//!
//! The recordings are JSON files of the kinds `mujoco_rollout`, `mujoco_transitions`, `classic_rollout` and `maze2d_rollout`: a task,
//! its options, a first state, actions, and the observations, rewards and flags of the original implementation.

mod node;

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::env::{Action, Env, StepEnd};
use crate::error::EnvError;
use crate::registry::make;
use crate::space::Dtype;
use node::Node;

/// The differences between a replay and its recording.
///
/// Errors are largest absolute differences over the first `robust_steps` steps: beyond them the simulation amplifies the last
/// digit of the math library, so that only bit-equal runs can be compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReplayReport {
    /// The recording.
    pub file: String,
    /// The task.
    pub env_id: String,
    /// Steps of the recording.
    pub steps: usize,
    /// Steps that recordings under different math libraries agree on; all of them where the recording does not say.
    pub robust_steps: usize,
    /// Largest error of an observation, the first one included.
    pub max_abs_error_observation: f64,
    /// Largest error of a reward.
    pub max_abs_error_reward: f64,
    /// Largest error of a recorded simulation state.
    pub max_abs_error_state: f64,
    /// Largest error of a diagnostic; infinite where the names differ.
    pub max_abs_error_info: f64,
    /// Whether every step ended, or did not end, its episode as recorded.
    pub flags_equal: bool,
    /// Number of leading steps that are equal to the last bit in everything.
    pub steps_bit_equal: usize,
    /// Whether all of them are, and the states too.
    pub bit_equal: bool,
    /// Undiscounted return of the replay; absent for independent transitions.
    pub episode_return: Option<f64>,
}

/// Replays a recording through the registry.
///
/// # Errors
/// [`EnvError::Rollout`] for a file that cannot be read, is no JSON, is of another kind, or lacks a key or has a wrong value there;
/// the message names the file and the key. Otherwise the errors of [`make`] and of the task.
pub fn replay(file: &Path) -> Result<ReplayReport, EnvError> {
    let json = node::read(file)?;
    let root = Node::root(file, &json);
    match root.get("kind")?.text()? {
        "mujoco_transitions" => replay_transitions(&root),
        "mujoco_rollout" | "classic_rollout" => replay_rollout(&root),
        "maze2d_rollout" => replay_maze(&root),
        other => {
            let kinds = "mujoco_rollout, mujoco_transitions, classic_rollout or maze2d_rollout";
            Err(root.get("kind")?.error(format!("\"{other}\", expected {kinds}")))
        }
    }
}

/// One episode from a given state.
fn replay_rollout(root: &Node) -> Result<ReplayReport, EnvError> {
    let mut options = root.get("kwargs")?.object()?.clone();
    if let Some(limit) = root.optional("max_episode_steps_override") {
        options.insert("max_episode_steps".into(), Value::from(limit.count()?));
    }
    let (actions, steps) = (root.get("actions")?, root.get("steps")?.items()?);
    let robust_steps = match root.optional("other_libm") {
        Some(other) => other.get("steps_within_1e-9")?.count()?.min(steps.len()),
        None => steps.len(),
    };
    let mut replay = Replay::new(root, root.get("env_id")?.text()?, &options, steps.len(), robust_steps)?;
    let classic = root.get("kind")?.text()? == "classic_rollout";
    let first_state = if classic { root.get("init_state")?.numbers()? } else { root.state("init_qpos", "init_qvel")? };
    replay.start(&first_state, &root.get("init_obs")?.numbers()?)?;
    let mut over = false;
    for (t, recorded) in steps.iter().enumerate() {
        replay.robust = t < robust_steps;
        if over {
            // Our episode ended before the recorded one.
            replay.report.flags_equal &= !replay.robust;
            replay.report.bit_equal = false;
            break;
        }
        let state = if classic { Some(recorded.get("state")?.numbers()?) } else { None };
        over = replay.step_of_gymnasium(&actions.index(t)?, recorded, state.as_deref())?.is_end();
    }
    if !classic && replay.steps == steps.len() {
        replay.robust = robust_steps == steps.len();
        replay.compare_state(&root.state("final_qpos", "final_qvel")?)?;
    }
    Ok(replay.report)
}

/// A run in one of D4RL's mazes, which has no time limit. The observation is the state.
fn replay_maze(root: &Node) -> Result<ReplayReport, EnvError> {
    let mut options = Map::new();
    for (key, name) in [("layout", "layout_name"), ("reward", "reward_type")] {
        options.insert(key.into(), root.get(name)?.text()?.into());
    }
    options.insert("max_episode_steps".into(), Value::Null);
    let (actions, steps) = (root.get("actions")?, root.get("steps")?.items()?);
    let mut replay = Replay::new(root, "Maze2D-v1", &options, steps.len(), steps.len())?;
    replay.start(&root.state("init_qpos", "init_qvel")?, &root.get("init_obs")?.numbers()?)?;
    for (t, recorded) in steps.iter().enumerate() {
        let end = StepEnd { terminated: recorded.get("terminated")?.flag()?, truncated: false };
        let state = recorded.get("obs")?.numbers()?;
        replay.step(&actions.index(t)?, recorded, end, &Map::new(), Some(&state))?;
    }
    Ok(replay.report)
}

/// Single steps from given states, in which no error can grow.
fn replay_transitions(root: &Node) -> Result<ReplayReport, EnvError> {
    let transitions = root.get("transitions")?.items()?;
    let steps = transitions.len();
    let mut replay = Replay::new(root, root.get("env_id")?.text()?, &Map::new(), steps, steps)?;
    replay.report.episode_return = None;
    for transition in &transitions {
        replay.start(&transition.state("qpos", "qvel")?, &transition.get("obs_before")?.numbers()?)?;
        let state = transition.state("next_qpos", "next_qvel")?;
        replay.step_of_gymnasium(&transition.get("action")?, transition, Some(&state))?;
    }
    Ok(replay.report)
}

/// A running replay.
struct Replay {
    env: Box<dyn Env>,
    dtype: Dtype,
    observation: Vec<f64>,
    /// Whether the step counts for the errors.
    robust: bool,
    /// Steps replayed.
    steps: usize,
    /// Errors and equality of the steps so far.
    report: ReplayReport,
}

impl Replay {
    fn new(root: &Node, env_id: &str, options: &Map<String, Value>, steps: usize, robust_steps: usize) -> Result<Self, EnvError> {
        let dtype = root.get("action_dtype")?;
        let text = dtype.text()?;
        let expected = |_| dtype.error(format!("\"{text}\", expected float32, float64 or int64"));
        let dtype = serde_json::from_value(text.into()).map_err(expected)?;
        let env = make(env_id, options)?;
        let report = ReplayReport {
            file: root.file().display().to_string(),
            env_id: env.spec().id.clone(),
            steps,
            robust_steps,
            flags_equal: true,
            bit_equal: true,
            episode_return: Some(0.0),
            ..ReplayReport::default()
        };
        let observation = vec![0.0; env.spec().observation_space.width()];
        Ok(Self { env, dtype, observation, robust: true, steps: 0, report })
    }

    fn start(&mut self, state: &[f64], expected: &[f64]) -> Result<(), EnvError> {
        self.env.set_state(state, &mut self.observation)?;
        let (error, equal) = difference(&self.observation, expected);
        self.report.max_abs_error_observation = self.report.max_abs_error_observation.max(error);
        self.report.bit_equal &= equal;
        Ok(())
    }

    /// A step of a recording of Gymnasium, which has both flags and the diagnostics.
    fn step_of_gymnasium(&mut self, action: &Node, recorded: &Node, state: Option<&[f64]>) -> Result<StepEnd, EnvError> {
        let end = StepEnd { terminated: recorded.get("terminated")?.flag()?, truncated: recorded.get("truncated")?.flag()? };
        self.step(action, recorded, end, recorded.get("info")?.object()?, state)
    }

    fn step(
        &mut self,
        action: &Node,
        recorded: &Node,
        end: StepEnd,
        info: &Map<String, Value>,
        state: Option<&[f64]>,
    ) -> Result<StepEnd, EnvError> {
        let step = match self.dtype {
            Dtype::Int64 => self.env.step(Action::Discrete(action.integer()?), &mut self.observation)?,
            Dtype::Float64 => self.env.step(Action::F64(&action.numbers()?), &mut self.observation)?,
            Dtype::Float32 => {
                let narrow: Vec<f32> = action.numbers()?.into_iter().map(|number| number as f32).collect();
                self.env.step(Action::F32(&narrow), &mut self.observation)?
            }
        };
        self.steps += 1;
        let observation = difference(&self.observation, &recorded.get("obs")?.numbers()?);
        let reward = difference(&[step.reward], &[recorded.get("reward")?.number()?]);
        let info = self.info_difference(info);
        let report = &mut self.report;
        report.episode_return = report.episode_return.map(|sum| sum + step.reward);
        if self.robust {
            report.max_abs_error_observation = report.max_abs_error_observation.max(observation.0);
            report.max_abs_error_reward = report.max_abs_error_reward.max(reward.0);
            report.max_abs_error_info = report.max_abs_error_info.max(info.0);
            report.flags_equal &= step.end == end;
        }
        report.bit_equal &= observation.1 && reward.1 && info.1 && step.end == end;
        if let Some(state) = state {
            self.compare_state(state)?;
        }
        self.report.steps_bit_equal += usize::from(self.report.bit_equal);
        Ok(step.end)
    }

    fn compare_state(&mut self, expected: &[f64]) -> Result<(), EnvError> {
        let mut state = vec![];
        self.env.state(&mut state)?;
        let (error, equal) = difference(&state, expected);
        if self.robust {
            self.report.max_abs_error_state = self.report.max_abs_error_state.max(error);
        }
        self.report.bit_equal &= equal;
        Ok(())
    }

    fn info_difference(&self, expected: &Map<String, Value>) -> (f64, bool) {
        let (mut found, mut wanted) = (vec![], vec![]);
        self.env.info(&mut |name, value| {
            found.push(value);
            wanted.push(expected.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN));
        });
        if found.len() != expected.len() { (f64::INFINITY, false) } else { difference(&found, &wanted) }
    }
}

/// The largest absolute difference, infinite for another length or a NaN, and whether all are equal.
fn difference(found: &[f64], expected: &[f64]) -> (f64, bool) {
    if found.len() != expected.len() {
        return (f64::INFINITY, false);
    }
    let errors = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
    let worst = errors.fold(0.0, |worst: f64, error| if error.is_nan() { f64::INFINITY } else { worst.max(error) });
    // Recordings write a negative zero as 0, so equality is that of numbers.
    (worst, found == expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A recording of the T-maze.
    fn recording() -> Value {
        let step = |obs: [f64; 3], reward: f64, terminated: bool, state: [f64; 3]| json!({"obs": obs, "reward": reward, "terminated": terminated, "truncated": false, "info": {}, "state": state});
        json!({
            "kind": "classic_rollout", "env_id": "TMaze-v0", "kwargs": {"corridor": 1}, "max_episode_steps_override": null,
            "action_dtype": "int64", "init_state": [1, 0, 1], "init_obs": [1, 1, 0], "actions": [0, 2],
            "steps": [step([0.0, 0.0, 1.0], 0.0, false, [1.0, 1.0, 0.0]), step([0.0; 3], 1.0, true, [1.0, 1.0, 0.0])]
        })
    }

    fn replay_json(recording: &Value) -> Result<ReplayReport, EnvError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("recorded.json");
        std::fs::write(&file, recording.to_string()).unwrap();
        replay(&file)
    }

    #[test]
    fn a_true_recording_is_bit_equal() {
        let report = replay_json(&recording()).unwrap();
        assert!(report.bit_equal && report.flags_equal, "{report:?}");
        assert_eq!((report.steps, report.steps_bit_equal, report.episode_return), (2, 2, Some(1.0)));
    }

    #[test]
    fn every_kind_of_difference_shows() {
        let change = |path: &str, value: Value| {
            let mut changed = recording();
            *changed.pointer_mut(path).unwrap() = value;
            replay_json(&changed).unwrap()
        };
        assert_eq!(change("/steps/1/reward", json!(0.75)).max_abs_error_reward, 0.25);
        assert_eq!(change("/steps/0/obs/1", json!(0.5)).max_abs_error_observation, 0.5);
        assert_eq!(change("/init_obs/0", json!(0.0)).max_abs_error_observation, 1.0);
        assert_eq!(change("/steps/1/state/1", json!(3)).max_abs_error_state, 2.0);
        assert_eq!(change("/steps/0/info", json!({"x": 1})).max_abs_error_info, f64::INFINITY);
        let flags = change("/steps/1/terminated", json!(false));
        assert!(!flags.flags_equal && !flags.bit_equal);
        assert_eq!(flags.steps_bit_equal, 1);
        // Our episode ends before the recorded one.
        let early = change("/max_episode_steps_override", json!(1));
        assert!(!early.flags_equal && !early.bit_equal, "{early:?}");
    }

    #[test]
    fn a_bad_recording_names_the_file_and_the_key() {
        let mut missing = recording();
        missing["steps"][1].as_object_mut().unwrap().remove("reward");
        let error = replay_json(&missing).unwrap_err().to_string();
        assert!(error.ends_with("recorded.json: steps[1].reward: missing"), "{error}");
        let mut wrong = recording();
        wrong["actions"][0] = json!("left");
        let error = replay_json(&wrong).unwrap_err().to_string();
        assert!(error.ends_with("recorded.json: actions[0]: found \"left\", expected an integer"), "{error}");
        wrong = recording();
        wrong["kind"] = json!("maze2d_plans");
        let error = replay_json(&wrong).unwrap_err().to_string();
        assert!(error.contains("recorded.json: kind: \"maze2d_plans\", expected mujoco_rollout"), "{error}");
        let error = replay(Path::new("nowhere/gone.json")).unwrap_err();
        assert!(error.to_string().starts_with("nowhere/gone.json: cannot be read"), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
}
