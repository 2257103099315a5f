//! Whole jobs. Each runs in a thread of its own, while the thread that called looks after signals and shows what the job says.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use aaren_agents::compare::CompareOptions;
use aaren_agents::config::{Changes, Device};
use aaren_agents::jobs::{EvaluateRequest, TrainRequest};
use aaren_agents::play::PlayedEpisode;
use aaren_agents::run::interrupt::{self, Interrupted};
use aaren_agents::run::process::message;
use aaren_agents::run::progress;
use anyhow::{Context, Result, anyhow};
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::json;

use crate::error::{failure, wrong_value};
use crate::policy::{execution, parse};
use crate::{arrays, fork, news};

/// How long Ctrl-C waits, at most, before a job hears of it.
const PERIOD: Duration = Duration::from_millis(100);

/// Jobs of the process that have not ended. What asks them to stop is one flag for all.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Does the work of a job.
///
/// Signals are Python's: where its handler raises, as it does for Ctrl-C, the job is asked to stop, and once it has saved what it made,
/// what was raised is raised here. `show` is called with the news; what it raises ends the job in the same way.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    name: &str,
    show: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> PyResult<T> {
    fork::check(&format!("aaren.{name}"))?;
    news::begin();
    let (sender, receiver) = channel();
    let receiver = Mutex::new(receiver);
    RUNNING.fetch_add(1, Ordering::SeqCst);
    let thread = std::thread::Builder::new().name(format!("aaren-{name}")).spawn(move || {
        // Nobody waits any more only if the interpreter has ended.
        let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
    });
    let tell = |raised: &mut Option<PyErr>| {
        let Some(show) = show else { return };
        let shown = show.call1((news::drain(),)).map(drop);
        if let Err(error) = shown {
            interrupt::request();
            raised.get_or_insert(error);
        }
    };
    let (mut raised, mut outcome) = (None, None);
    if let Err(error) = &thread {
        outcome = Some(Err(anyhow!("the system has no thread for the job: {error}")));
    }
    while outcome.is_none() {
        let received = py.detach(|| crate::error::lock(&receiver).recv_timeout(PERIOD));
        match received {
            Ok(Ok(result)) => outcome = Some(result),
            Ok(Err(panic)) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
                raised = Some(PyRuntimeError::new_err(format!("aaren.{name} panicked, which is a bug in aaren: {text}")));
                outcome = Some(Err(anyhow!("panicked")));
            }
            Err(RecvTimeoutError::Disconnected) => outcome = Some(Err(anyhow!("the job ended without a word"))),
            Err(RecvTimeoutError::Timeout) => {}
        }
        tell(&mut raised);
        if let Err(error) = py.check_signals() {
            interrupt::request();
            raised.get_or_insert(error);
        }
    }
    if RUNNING.fetch_sub(1, Ordering::SeqCst) == 1 {
        interrupt::forget();
    }
    match (outcome, raised) {
        (Some(Ok(result)), None) => Ok(result),
        // Where the run can be taken up again is worth saying.
        (Some(Err(error)), Some(raised)) if error.is::<Interrupted>() && raised.is_instance_of::<PyKeyboardInterrupt>(py) => {
            Err(PyKeyboardInterrupt::new_err(message(&error)))
        }
        (_, Some(raised)) => Err(raised),
        (Some(Err(error)), None) if error.is::<Interrupted>() => Err(PyKeyboardInterrupt::new_err(message(&error))),
        (Some(Err(error)), None) => Err(failure(&error)),
        (None, None) => unreachable!("the loop ends with an outcome"),
    }
}

/// Trains; results as JSON, and as the table that the program prints.
#[pyfunction]
#[pyo3(signature = (show, *, files, set, mixer=None, env=None, data=vec![], max_episode_steps=None, seed=None, device=None, strict=false, run=None, resume=false, from_policy=None))]
pub(crate) fn train(
    py: Python<'_>,
    show: Option<Bound<'_, PyAny>>,
    files: Vec<PathBuf>,
    set: Vec<String>,
    mixer: Option<String>,
    env: Option<String>,
    data: Vec<String>,
    max_episode_steps: Option<usize>,
    seed: Option<u64>,
    device: Option<&str>,
    strict: bool,
    run: Option<PathBuf>,
    resume: bool,
    from_policy: Option<PathBuf>,
) -> PyResult<(String, String)> {
    let device = device.map(|name| {
        let device = serde_json::from_value::<Device>(name.into());
        device.map_err(|_| wrong_value(format!("device: {name:?}, expected \"cpu\", \"vulkan\" or \"cuda\"")))
    });
    let env_options = Vec::new();
    let changes = Changes { set, env, env_options, data, max_episode_steps, mixer, seed, device: device.transpose()?, strict };
    let request = TrainRequest { files, changes, run, resume, from: from_policy, agent: None };
    self::run(py, "train", show.as_ref(), move || {
        let trained = request.train()?;
        Ok((serde_json::to_string(&trained)?, format!("{}\n{}", trained.train, trained.evaluation)))
    })
}

/// What `evaluate` and `record` are asked for.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Asked {
    policy: PathBuf,
    checkpoint: Option<String>,
    env: Option<String>,
    env_options: Vec<String>,
    episodes: Option<usize>,
    target_returns: Vec<f64>,
    actors: Option<usize>,
    envs_per_actor: Option<usize>,
    execution: Option<String>,
    cache: Option<String>,
    stochastic: bool,
    seed: Option<u64>,
}

impl Asked {
    pub(crate) fn request(self) -> PyResult<EvaluateRequest> {
        Ok(EvaluateRequest {
            policy: self.policy,
            checkpoint: parse("checkpoint", self.checkpoint.as_deref())?,
            env: self.env,
            env_options: self.env_options,
            episodes: self.episodes,
            target_returns: self.target_returns,
            actors: self.actors,
            envs_per_actor: self.envs_per_actor,
            execution: execution(self.execution.as_deref())?,
            cache: parse("cache", self.cache.as_deref())?,
            stochastic: self.stochastic,
            seed: self.seed,
        })
    }
}

/// Evaluates; the report as JSON, and as the table that the program prints.
#[pyfunction]
pub(crate) fn evaluate(py: Python<'_>, show: Option<Bound<'_, PyAny>>, asked: &Bound<'_, PyDict>) -> PyResult<(String, String)> {
    let request = asked.extract::<Asked>()?.request()?;
    run(py, "evaluate", show.as_ref(), move || {
        let report = request.evaluate()?;
        Ok((serde_json::to_string(&report)?, report.to_string()))
    })
}

/// Plays the episodes of an evaluation and gives all of each.
#[pyfunction]
pub(crate) fn record<'py>(
    py: Python<'py>,
    show: Option<Bound<'py, PyAny>>,
    asked: &Bound<'py, PyDict>,
) -> PyResult<Vec<Bound<'py, PyDict>>> {
    let request = asked.extract::<Asked>()?.request()?;
    let (targets, episodes) = run(py, "record", show.as_ref(), move || {
        let prepared = request.prepare()?;
        let evaluation = &prepared.evaluation;
        let count = evaluation.target_returns.len() * evaluation.episodes;
        let watch = progress::watch(count as u64, "recording");
        let mut done = 0;
        let episodes =
            evaluation.record(&prepared.policy, &|| aaren_envs::make(&evaluation.env.id, &evaluation.env.options), |_| {
                done += 1;
                watch(done, String::new());
            })?;
        let targets = evaluation.target_returns.iter().flat_map(|target| vec![*target; evaluation.episodes]).collect::<Vec<_>>();
        Ok((targets, episodes))
    })?;
    targets.into_iter().zip(episodes).map(|(target, episode)| whole(py, target, episode)).collect()
}

/// An episode in Python's terms.
fn whole<'py>(py: Python<'py>, target_return: Option<f64>, episode: PlayedEpisode) -> PyResult<Bound<'py, PyDict>> {
    let recorded = episode.recorded.context("the episode was not recorded").map_err(|error| failure(&error))?;
    let (trajectory, dict) = (recorded.trajectory, PyDict::new(py));
    dict.set_item("target_return", target_return)?;
    dict.set_item("seed", trajectory.seed)?;
    dict.set_item("return", episode.result.episode_return)?;
    dict.set_item("length", episode.result.length)?;
    dict.set_item("terminated", trajectory.end.terminated)?;
    dict.set_item("truncated", trajectory.end.truncated)?;
    dict.set_item("diverged", episode.result.diverged)?;
    dict.set_item("observations", arrays::of_f64(py, &trajectory.observations)?)?;
    dict.set_item("rewards", arrays::of_f64(py, &trajectory.rewards)?)?;
    let actions = match &trajectory.actions {
        aaren::data::Actions::Continuous(actions) => arrays::of_f32(py, actions)?,
        aaren::data::Actions::Discrete(actions) => arrays::of_i64(py, actions)?,
    };
    dict.set_item("actions", actions)?;
    dict.set_item("is_discrete", matches!(trajectory.actions, aaren::data::Actions::Discrete(_)))?;
    Ok(dict)
}

/// Compares; results as JSON, the table, and the folder of what was written.
#[pyfunction]
#[pyo3(signature = (show, runs, *, output=None, table=false, force=false, evaluation=None, sort=None, columns=vec![]))]
pub(crate) fn compare(
    py: Python<'_>,
    show: Option<Bound<'_, PyAny>>,
    runs: Vec<PathBuf>,
    output: Option<PathBuf>,
    table: bool,
    force: bool,
    evaluation: Option<String>,
    sort: Option<String>,
    columns: Vec<String>,
) -> PyResult<(String, String, PathBuf)> {
    let options = CompareOptions { output, table, force, evaluation, sort, columns };
    run(py, "compare", show.as_ref(), move || {
        let comparison = aaren_agents::compare::compare(&runs, &options)?;
        Ok((json!(comparison).to_string(), comparison.to_string(), comparison.folder.clone()))
    })
}

/// Runs the program `aaren`, as the whole work of the process; gives its exit code.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| aaren::run_program(arguments))
}
