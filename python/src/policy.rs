//! A policy that acts, and its state as a value.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use aaren_agents::config::{Execution, memory};
use aaren_agents::device::Cpu;
use aaren_agents::jobs::{Checkpoint, EvaluateRequest};
use aaren_agents::play::{Acting, ExecutionMode, SavedPolicy};
use aaren_policy::mixer::CachePolicy;
use aaren_policy::{ActionBatch, ActionValue, AnyDescription, AnyPolicy};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};
use serde_json::json;

use crate::error::{failure, lock, wrong_value};
use crate::{arrays, fork, news};

/// Numbers the policies of this process, so that a state knows whose it is.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A policy, to act with on the CPU.
#[pyclass(frozen, module = "aaren._aaren")]
pub(crate) struct Policy {
    number: u64,
    policy: Mutex<AnyPolicy<Cpu>>,
    saved: SavedPolicy,
    rows: Shape,
}

/// What a row of a batch is.
#[derive(Clone, Copy)]
struct Shape {
    observation: usize,
    /// Numbers of a continuous action; `None` where it is an index.
    action: Option<usize>,
    is_told_return: bool,
    is_shown_reward: bool,
}

/// What a policy carries along in a batch of episodes.
#[pyclass(frozen, module = "aaren._aaren")]
pub(crate) struct State {
    content: Mutex<Content>,
}

enum Content {
    /// Of the policy with this number.
    Live(u64, Box<Acting>),
    /// As bytes, of nobody knows which policy.
    Stored(Vec<u8>),
}

/// What a word of the command line means.
pub(crate) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: Option<&str>) -> PyResult<Option<T>> {
    let parse = |text: &str| text.parse().map_err(|error| wrong_value(format!("{name}: {text:?}: {error}")));
    text.map(parse).transpose()
}

/// How a decision policy is run, by its word.
pub(crate) fn execution(text: Option<&str>) -> PyResult<Option<Execution>> {
    Ok(match text {
        None => None,
        Some("streaming") => Some(Execution::Streaming),
        Some("window") => Some(Execution::Window),
        Some(other) => return Err(wrong_value(format!("execution: {other:?}, expected \"streaming\" or \"window\""))),
    })
}

#[pymethods]
impl Policy {
    /// Loads what `SavedPolicy::find` finds.
    #[new]
    fn new(py: Python<'_>, path: PathBuf, checkpoint: Option<&str>) -> PyResult<Self> {
        news::begin();
        let checkpoint: Option<Checkpoint> = parse("checkpoint", checkpoint)?;
        let request = EvaluateRequest { checkpoint, ..EvaluateRequest::of(path) };
        let loaded = py.detach(|| fork::compute(|| request.load()))?;
        let (saved, policy) = loaded.map_err(|error| failure(&error))?;
        let is_told_return = match &policy {
            AnyPolicy::Decision(policy) => policy.description.config.tokens.has_return_to_go(),
            AnyPolicy::ActorCritic(_) => false,
        };
        let is_shown_reward = matches!(&policy, AnyPolicy::ActorCritic(policy) if policy.description.inputs.reward);
        let action = policy.action();
        let rows = Shape {
            observation: policy.observation_width(),
            action: (!action.is_discrete()).then(|| action.width()),
            is_told_return,
            is_shown_reward,
        };
        Ok(Self { number: NEXT.fetch_add(1, Ordering::Relaxed), policy: Mutex::new(policy), saved, rows })
    }

    /// What is known of it, as JSON.
    fn description(&self) -> String {
        let policy = lock(&self.policy);
        let description = match &*policy {
            AnyPolicy::Decision(policy) => AnyDescription::Decision(policy.description.clone()),
            AnyPolicy::ActorCritic(policy) => AnyDescription::ActorCritic(policy.description.clone()),
        };
        json!({
            "name": self.saved.name,
            "folder": self.saved.folder,
            "run": self.saved.run.as_ref().map(|run| run.path()),
            "step": self.saved.step,
            "mixer": policy.mixer(),
            "parameters": policy.parameters(),
            "observation_width": self.rows.observation,
            "action": policy.action(),
            "is_told_return": self.rows.is_told_return,
            "description": description,
        })
        .to_string()
    }

    /// The state of episodes that have not begun.
    fn initial_state(&self, rows: usize, window: Option<usize>, cache: Option<&str>, stochastic: bool) -> PyResult<State> {
        let cache: CachePolicy = parse("cache", cache)?.unwrap_or_default();
        if window == Some(0) {
            return Err(wrong_value("window: 0, expected at least 1".into()));
        }
        let policy = lock(&self.policy).clone();
        let of_rows = |rows| {
            let acting = Acting::new(&policy, ExecutionMode { window, cache, stochastic }, rows);
            acting.map_err(|error| wrong_value(format!("{error:#}")))
        };
        // A row's observation at the least.
        let bytes = of_rows(1)?.bytes().max(size_of::<f64>() * self.rows.observation.max(1));
        if let Some(problem) = memory::too_many("rows", rows, bytes) {
            return Err(wrong_value(problem));
        }
        let acting = of_rows(rows)?;
        Ok(State { content: Mutex::new(Content::Live(self.number, Box::new(acting))) })
    }

    /// Chooses actions: an array of `float32` or `int64`, and the next state. All arguments but the state are arrays, of `float64` but
    /// for flags (`bool`) and previous actions (as the actions).
    #[pyo3(signature = (observations, state, *, reset=None, previous_action=None, return_to_go=None, reward=None, seeds=None, active=None))]
    fn step<'py>(
        &self,
        py: Python<'py>,
        observations: &[u8],
        state: &State,
        reset: Option<&[u8]>,
        previous_action: Option<&[u8]>,
        return_to_go: Option<&[u8]>,
        reward: Option<&[u8]>,
        seeds: Option<Vec<u64>>,
        active: Option<&[u8]>,
    ) -> PyResult<(Bound<'py, PyByteArray>, State)> {
        let mut acting = self.acting(py, state)?;
        let rows = acting.rows();
        let observations = arrays::to_f64("observation", observations, rows * self.rows.observation)?;
        let flags = |name, flags: Option<&[u8]>| flags.map(|flags| arrays::to_bool(name, flags, rows)).transpose();
        let numbers = |name, numbers: Option<&[u8]>| numbers.map(|numbers| arrays::to_f64(name, numbers, rows)).transpose();
        let previous = previous_action.map(|actions| match self.rows.action {
            Some(width) => arrays::to_f32("previous_action", actions, rows * width).map(ActionBatch::Continuous),
            None => arrays::to_i64("previous_action", actions, rows).map(ActionBatch::Discrete),
        });
        let told = Told {
            reset: flags("reset", reset)?,
            active: flags("active", active)?,
            previous: previous.transpose()?,
            return_to_go: numbers("return_to_go", return_to_go)?,
            reward: numbers("reward", reward)?,
            seeds,
        };
        told.tell(&mut acting, self.rows)?;
        let active = told.active.unwrap_or_else(|| vec![true; rows]);
        for (row, observation) in observations.chunks(self.rows.observation.max(1)).enumerate().filter(|&(row, _)| active[row]) {
            if let Some(number) = observation.iter().find(|number| !number.is_finite()) {
                return Err(wrong_value(format!("observation: row {row} has {number}, expected finite numbers")));
            }
        }
        let (outcome, acting) = py.detach(|| {
            fork::compute(move || {
                let outcome = acting.act(&observations, &active);
                (outcome, acting)
            })
        })?;
        let actions = outcome.map_err(|error| failure(&error))?;
        let executed = match &actions.executed {
            ActionBatch::Continuous(actions) => arrays::of_f32(py, actions)?,
            ActionBatch::Discrete(actions) => arrays::of_i64(py, actions)?,
        };
        Ok((executed, State { content: Mutex::new(Content::Live(self.number, acting)) }))
    }

    /// How `aaren evaluate` would play it, as JSON.
    #[pyo3(signature = (*, episodes=None, target_returns=vec![], seed=None, execution=None, cache=None, stochastic=false))]
    fn plan(
        &self,
        episodes: Option<usize>,
        target_returns: Vec<f64>,
        seed: Option<u64>,
        execution: Option<&str>,
        cache: Option<&str>,
        stochastic: bool,
    ) -> PyResult<String> {
        let execution = self::execution(execution)?;
        let cache = parse("cache", cache)?;
        let policy = lock(&self.policy).clone();
        let path = self.saved.run.as_ref().map_or(&*self.saved.folder, |run| run.path());
        // Where neither the policy nor its job says a task, the environment of Gymnasium that it is given is the task, whatever its name.
        let env = policy.environment()["id"].is_null().then(|| "gymnasium:given".to_owned());
        let request =
            EvaluateRequest { env, episodes, target_returns, seed, execution, cache, stochastic, ..EvaluateRequest::of(path) };
        let evaluation = request.evaluation(&self.saved, &policy).map_err(|error| failure(&error))?;
        Ok(json!({
            "env": evaluation.env,
            "rows": evaluation.envs_per_actor,
            "window": evaluation.window,
            "target_returns": evaluation.target_returns,
            "seeds": evaluation.seeds(),
        })
        .to_string())
    }
}

impl Policy {
    /// The episodes of a state, in a copy of their own.
    fn acting(&self, py: Python<'_>, state: &State) -> PyResult<Box<Acting>> {
        let bytes = match &*lock(&state.content) {
            Content::Live(number, acting) if *number == self.number => return Ok(acting.clone()),
            Content::Live(_, acting) => acting.store().map_err(|error| failure(&error))?,
            Content::Stored(bytes) => bytes.clone(),
        };
        let policy = lock(&self.policy).clone();
        let acting = py.detach(|| fork::compute(move || Acting::restore(&policy, &bytes)))?;
        acting.map(Box::new).map_err(|error| wrong_value(format!("state: {error:#}")))
    }
}

/// What the caller says of every row before the policy acts.
struct Told {
    reset: Option<Vec<bool>>,
    active: Option<Vec<bool>>,
    previous: Option<ActionBatch>,
    return_to_go: Option<Vec<f64>>,
    reward: Option<Vec<f64>>,
    seeds: Option<Vec<u64>>,
}

impl Told {
    fn tell(&self, acting: &mut Acting, shape: Shape) -> PyResult<()> {
        let rows = acting.rows();
        if let Some(seeds) = self.seeds.as_ref().filter(|seeds| seeds.len() != rows) {
            return Err(wrong_value(format!("seed: {} seeds for {rows} rows", seeds.len())));
        }
        for row in (0..rows).filter(|&row| self.active.as_ref().is_none_or(|active| active[row])) {
            let begins = self.reset.as_ref().is_some_and(|reset| reset[row]) || !acting.is_under_way(row);
            let asked = self.return_to_go.as_ref().map(|returns| returns[row]).filter(|asked| !asked.is_nan());
            if begins && shape.is_told_return && asked.is_none() {
                return Err(wrong_value(format!(
                    "return_to_go: row {row} begins an episode, and this policy is told which return to reach; give one"
                )));
            }
            match &self.seeds {
                Some(seeds) if begins => acting.begin(row, seeds[row], 0.0),
                None if begins => acting.begin_with_same_noise(row),
                _ => {
                    if let Some(rewards) = &self.reward {
                        if !rewards[row].is_finite() {
                            let problem = format!("reward: row {row} has {}, expected a finite number", rewards[row]);
                            return Err(wrong_value(problem));
                        }
                        acting.reward(row, rewards[row]);
                    } else if shape.is_shown_reward {
                        return Err(wrong_value(format!(
                            "reward: row {row} is in the middle of an episode, and this policy is shown what its last action was rewarded \
                             with; give it"
                        )));
                    }
                    if let Some(previous) = &self.previous {
                        let previous = previous.row(row, shape.action.unwrap_or(1));
                        is_an_action(row, previous)?;
                        acting.tell_action(row, previous);
                    }
                }
            }
            if let Some(asked) = asked {
                acting.ask_for(row, asked);
            }
        }
        Ok(())
    }
}

/// Whether an action consists of numbers; its range is checked where the space is known.
fn is_an_action(row: usize, action: ActionValue<'_>) -> PyResult<()> {
    match action {
        ActionValue::Continuous(components) if components.iter().any(|component| !component.is_finite()) => {
            Err(wrong_value(format!("previous_action: row {row} has a NaN or infinity")))
        }
        _ => Ok(()),
    }
}

#[pymethods]
impl State {
    /// What `store` stored.
    #[new]
    fn new(bytes: &[u8]) -> Self {
        State { content: Mutex::new(Content::Stored(bytes.to_vec())) }
    }

    /// All of it but the weights.
    fn store<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        match &*lock(&self.content) {
            Content::Live(_, acting) => Ok(PyBytes::new(py, &acting.store().map_err(|error| failure(&error))?)),
            Content::Stored(bytes) => Ok(PyBytes::new(py, bytes)),
        }
    }

    /// Bytes that it holds for all rows together; `None` for one that was stored and not used since.
    fn nbytes(&self) -> Option<usize> {
        match &*lock(&self.content) {
            Content::Live(_, acting) => Some(acting.bytes()),
            Content::Stored(_) => None,
        }
    }

    /// Number of rows; `None` as above.
    fn rows(&self) -> Option<usize> {
        match &*lock(&self.content) {
            Content::Live(_, acting) => Some(acting.rows()),
            Content::Stored(_) => None,
        }
    }
}
