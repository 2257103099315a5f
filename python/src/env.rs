//! One environment.

use std::sync::Mutex;

use aaren_envs::{Action, Dtype, EnvError, Moment, Space, Step};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict};
use serde_json::{Map, Value, json};

use crate::arrays;
use crate::error::{env_error, lock, wrong_value};
use crate::news;

/// An observation, and Gymnasium's `info`.
type Observed<'py> = (Bound<'py, PyByteArray>, Bound<'py, PyDict>);

/// An observation, the reward, both flags, and `info`.
type Stepped<'py> = (Bound<'py, PyByteArray>, f64, bool, bool, Bound<'py, PyDict>);

/// One environment.
#[pyclass(frozen, module = "aaren._aaren")]
pub(crate) struct Env {
    inner: Mutex<Inner>,
}

struct Inner {
    env: Box<dyn aaren_envs::Env>,
    dtype: Dtype,
    observation: Vec<f64>,
    /// The last action, empty at the start of an episode, and its reward: for pictures.
    action: Vec<f64>,
    reward: f64,
}

/// Options of a task as an object of JSON.
///
/// # Errors
/// If the text is no such object.
pub(crate) fn options(text: &str) -> PyResult<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| wrong_value(format!("options: {error}")))
}

/// The number type of a space's members.
pub(crate) fn dtype(space: &Space) -> Dtype {
    match space {
        Space::Box { dtype, .. } => *dtype,
        Space::Discrete { .. } => Dtype::Int64,
    }
}

#[pymethods]
impl Env {
    #[new]
    fn new(py: Python<'_>, id: &str, options_json: &str) -> PyResult<Self> {
        let env = aaren_envs::make(id, &options(options_json)?).map_err(|error| env_error(py, error))?;
        let space = &env.spec().observation_space;
        let (dtype, observation) = (dtype(space), vec![0.0; space.width()]);
        Ok(Self { inner: Mutex::new(Inner { env, dtype, observation, action: Vec::new(), reward: 0.0 }) })
    }

    /// The task's spec as JSON.
    fn spec(&self) -> String {
        json!(lock(&self.inner).env.spec()).to_string()
    }

    /// Starts an episode.
    fn reset<'py>(&self, py: Python<'py>, seed: Option<u64>) -> PyResult<Observed<'py>> {
        let inner = &mut *lock(&self.inner);
        inner.env.reset(seed, &mut inner.observation).map_err(|error| env_error(py, error))?;
        (inner.action, inner.reward) = (Vec::new(), 0.0);
        Ok((inner.observation(py)?, inner.info(py)?))
    }

    /// Takes a discrete action.
    fn step_index<'py>(&self, py: Python<'py>, action: i64) -> PyResult<Stepped<'py>> {
        lock(&self.inner).step(py, Action::Discrete(action), &[action as f64])
    }

    /// Takes an action of `float32`.
    fn step_f32<'py>(&self, py: Python<'py>, action: &[u8]) -> PyResult<Stepped<'py>> {
        let action = arrays::to_f32("action", action, action.len() / 4)?;
        let drawn: Vec<f64> = action.iter().copied().map(f64::from).collect();
        lock(&self.inner).step(py, Action::F32(&action), &drawn)
    }

    /// Takes an action of `float64`.
    fn step_f64<'py>(&self, py: Python<'py>, action: &[u8]) -> PyResult<Stepped<'py>> {
        let action = arrays::to_f64("action", action, action.len() / 8)?;
        lock(&self.inner).step(py, Action::F64(&action), &action)
    }

    /// The simulator's state.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        let mut state = Vec::new();
        lock(&self.inner).env.state(&mut state).map_err(|error| env_error(py, error))?;
        arrays::of_f64(py, &state)
    }

    /// Starts an episode in a state, an array of `float64`.
    fn set_state<'py>(&self, py: Python<'py>, state: &[u8]) -> PyResult<Bound<'py, PyByteArray>> {
        let state = arrays::to_f64("state", state, state.len() / 8)?;
        let inner = &mut *lock(&self.inner);
        inner.env.set_state(&state, &mut inner.observation).map_err(|error| env_error(py, error))?;
        (inner.action, inner.reward) = (Vec::new(), 0.0);
        inner.observation(py)
    }
}

impl Inner {
    fn observation<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        arrays::of_dtype(py, &self.observation, self.dtype)
    }

    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (info, mut outcome) = (PyDict::new(py), Ok(()));
        self.env.info(&mut |name, value| {
            if outcome.is_ok() {
                outcome = info.set_item(name, value);
            }
        });
        outcome.map(|()| info)
    }

    fn step<'py>(&mut self, py: Python<'py>, action: Action<'_>, drawn: &[f64]) -> PyResult<Stepped<'py>> {
        let step = self.env.step(action, &mut self.observation);
        let (Step { reward, end }, diverged) = match step {
            Ok(step) => (step, false),
            Err(error) if error.is_divergence() => {
                warn_of_divergence(&error);
                (Step::DIVERGED, true)
            }
            Err(error) => return Err(env_error(py, error)),
        };
        self.action.clear();
        self.action.extend_from_slice(drawn);
        self.reward = reward;
        let info = if diverged { PyDict::new(py) } else { self.info(py)? };
        if diverged {
            info.set_item("diverged", true)?;
        }
        Ok((self.observation(py)?, reward, end.terminated, end.truncated, info))
    }
}

/// Says that a simulation diverged, which counts as truncated.
pub(crate) fn warn_of_divergence(error: &EnvError) {
    news::begin();
    tracing::warn!("the episode ends here, as truncated: {error}");
}

/// Draws a task, in the thread that made it.
#[pyclass(unsendable, module = "aaren._aaren")]
pub(crate) struct Renderer {
    renderer: Box<dyn aaren_envs::Renderer>,
    bytes: usize,
}

#[pymethods]
impl Renderer {
    #[new]
    fn new(py: Python<'_>, id: &str, options_json: &str, width: usize, height: usize) -> PyResult<Self> {
        let renderer = aaren_envs::renderer(id, &options(options_json)?, width, height).map_err(|error| env_error(py, error))?;
        Ok(Self { renderer, bytes: 3 * width * height })
    }

    /// Simulated seconds of a step, where the task has a clock.
    fn seconds_per_step(&self) -> Option<f64> {
        self.renderer.seconds_per_step()
    }

    /// Where an environment is: `[height, width, 3]`.
    fn render<'py>(&mut self, py: Python<'py>, env: &Env) -> PyResult<Bound<'py, PyByteArray>> {
        let moment = {
            let inner = lock(&env.inner);
            let mut state = Vec::new();
            inner.env.state(&mut state).map_err(|error| env_error(py, error))?;
            Moment { state, action: inner.action.clone(), reward: inner.reward }
        };
        let mut pixels = vec![0; self.bytes];
        self.renderer.render(&moment, &mut pixels).map_err(|error| env_error(py, error))?;
        Ok(PyByteArray::new(py, &pixels))
    }
}

/// All tasks as JSON: names, what they are, options, and their specs where this build has them.
#[pyfunction]
pub(crate) fn tasks() -> String {
    let task = |task: aaren_envs::TaskInfo| {
        let spec = aaren_envs::make(task.id, &Map::new()).ok().map(|env| env.spec().clone());
        let options: Map<String, Value> = task.options.iter().map(|option| (option.key.to_owned(), option.help.into())).collect();
        json!({"id": task.id, "summary": task.summary, "options": options, "spec": spec})
    };
    json!(aaren_envs::tasks().into_iter().map(task).collect::<Vec<_>>()).to_string()
}
