//! Work that several processes share: evaluations and collections whose episodes are played in parts, and the runs of a table.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use aaren_agents::collect::{self, play_range};
use aaren_agents::config::{Changes, Formats, Job};
use aaren_agents::jobs::Prepared;
use aaren_agents::play::EpisodeResult;
use aaren_agents::run::{Taken, progress};
use aaren_agents::table::{Choice, Made, TableRequest};
use anyhow::{Context, Result, bail};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{failure, lock, wrong_value};
use crate::jobs::{Asked, run};

/// A file of what is sent to other machines: its path below any folder, and its content.
type File<'py> = (String, Bound<'py, PyBytes>);

/// An evaluation, of which any process can play a part.
#[pyclass(frozen)]
pub(crate) struct Evaluation(Arc<Mutex<Prepared>>);

/// Return, length, whether the task ended it, whether the simulation diverged.
type Result4 = (f64, usize, bool, bool);

#[pymethods]
impl Evaluation {
    #[new]
    fn new(py: Python<'_>, asked: &Bound<'_, PyDict>) -> PyResult<Self> {
        let request = asked.extract::<Asked>()?.request()?;
        let prepared = py.detach(|| request.prepare()).map_err(|error| failure(&error))?;
        Ok(Self(Arc::new(Mutex::new(prepared))))
    }

    /// Episodes for all target returns together.
    fn count(&self) -> usize {
        lock(&self.0).evaluation.count()
    }

    /// What another machine needs: the path of the policy, and the files.
    fn files<'py>(&self, py: Python<'py>) -> PyResult<(String, Vec<File<'py>>)> {
        let (policy, files) = py.detach(|| lock(&self.0).saved.files()).map_err(|error| failure(&error))?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        Ok((text(policy), files.into_iter().map(|(path, content)| (text(path), PyBytes::new(py, &content))).collect()))
    }

    /// Plays the episodes with these numbers.
    fn play(&self, py: Python<'_>, first: usize, count: usize) -> PyResult<Vec<Result4>> {
        let shared = Arc::clone(&self.0);
        let results = run(py, "evaluate", None, move || {
            let prepared = lock(&shared);
            prepared.evaluation.play_range(&prepared.policy, first..first + count)
        })?;
        Ok(results.into_iter().map(|one| (one.episode_return, one.length, one.terminated, one.diverged)).collect())
    }

    /// The report of all episodes, as JSON and as the table that the program prints.
    fn report(&self, py: Python<'_>, results: Vec<Result4>, seconds: f64) -> PyResult<(String, String)> {
        let shared = Arc::clone(&self.0);
        run(py, "evaluate", None, move || {
            let prepared = lock(&shared);
            let result =
                |(episode_return, length, terminated, diverged)| EpisodeResult { episode_return, length, terminated, diverged };
            let results: Vec<EpisodeResult> = results.into_iter().map(result).collect();
            let Prepared { saved, policy, evaluation } = &*prepared;
            let report = evaluation.report(policy, &saved.name, saved.step, &results, seconds)?;
            Ok((serde_json::to_string(&report)?, report.to_string()))
        })
    }
}

/// A collection, whose episodes any process can play.
#[pyclass(frozen)]
pub(crate) struct Collection {
    shared: Arc<Mutex<Option<collect::Collection>>>,
    job: String,
}

#[pymethods]
impl Collection {
    /// Begins or continues it, and trains behaviour policies where its job says so.
    #[new]
    #[pyo3(signature = (show, files, set, env, seed, output, format))]
    fn new(
        py: Python<'_>,
        show: Option<Bound<'_, PyAny>>,
        files: Vec<PathBuf>,
        set: Vec<String>,
        env: Option<String>,
        seed: Option<u64>,
        output: Option<PathBuf>,
        format: Option<String>,
    ) -> PyResult<Self> {
        let (collection, job) = run(py, "collect", show.as_ref(), move || {
            let Job::Collect(mut job) = Job::load(&files, &Changes { set, env, seed, ..Changes::default() })? else {
                bail!(
                    "this job has no key collect, which makes a dataset; the scripted data of a job that trains are made by `aaren collect`"
                );
            };
            if let Some(format) = format {
                let known = || format!("format: found \"{format}\", expected \"minari\", \"d4rl\" or \"both\"");
                job.collect.format = serde_json::from_value::<Formats>(format.clone().into()).with_context(known)?;
            }
            let output = output.unwrap_or_else(|| job.default_output());
            let collection = collect::Collection::begin(&job, &output)?;
            let job = serde_json::to_string(collection.job())?;
            Ok((collection, job))
        })?;
        Ok(Self { shared: Arc::new(Mutex::new(Some(collection))), job })
    }

    /// The job, as JSON.
    fn job(&self) -> &str {
        &self.job
    }

    /// Of each part its name, its steps so far, and how many are wanted at least.
    fn parts(&self) -> PyResult<Vec<(&'static str, u64, u64)>> {
        self.with(|collection| Ok(collection.parts().collect()))
    }

    /// The files of the policy that plays a part; none where actions are uniform.
    fn policy<'py>(&self, py: Python<'py>, part: &str) -> PyResult<Vec<File<'py>>> {
        let files = self.with(|collection| collection.policy_files(part))?;
        Ok(files.into_iter().map(|(name, content)| (name.into(), PyBytes::new(py, &content))).collect())
    }

    /// Whether episodes with these numbers are there.
    fn has(&self, part: &str, first: u64, count: u64) -> PyResult<bool> {
        self.with(|collection| collection.has(part, first..first + count))
    }

    /// Takes episodes; says whether the part has enough.
    fn take(&self, py: Python<'_>, part: &str, records: &[u8]) -> PyResult<bool> {
        py.detach(|| self.with(|collection| collection.take(part, records)))
    }

    /// Writes the dataset; a summary as JSON, and as the table that the program prints.
    fn finish(&self, py: Python<'_>, show: Option<Bound<'_, PyAny>>) -> PyResult<(String, String)> {
        let shared = Arc::clone(&self.shared);
        run(py, "collect", show.as_ref(), move || {
            let summary = lock(&shared).take().context(OVER)?.finish()?;
            Ok((serde_json::to_string(&summary)?, summary.to_string()))
        })
    }

    /// Gives up the output folder's lock; what was collected is kept.
    fn close(&self) {
        drop(lock(&self.shared).take());
    }
}

const OVER: &str = "the collection has ended already";

impl Collection {
    fn with<T>(&self, work: impl FnOnce(&mut collect::Collection) -> Result<T>) -> PyResult<T> {
        let mut collection = lock(&self.shared);
        let done = collection.as_mut().context(OVER).and_then(work);
        done.map_err(|error| failure(&error))
    }
}

/// Plays episodes of a collection's part, by their numbers; gives their records.
#[pyfunction]
#[pyo3(signature = (job, part, policy, first, count))]
pub(crate) fn collect_part<'py>(
    py: Python<'py>,
    job: String,
    part: String,
    policy: Option<PathBuf>,
    first: u64,
    count: u64,
) -> PyResult<Bound<'py, PyBytes>> {
    let records = run(py, "collect", None, move || {
        let Job::Collect(job) = Job::parse(&job, &Changes::default())? else { bail!("the job collects nothing") };
        play_range(&job, &part, policy.as_deref(), first..first + count)
    })?;
    Ok(PyBytes::new(py, &records))
}

/// Seeds in words, such as `1..5`.
#[pyfunction]
pub(crate) fn parse_seeds(text: &str) -> PyResult<Vec<u64>> {
    aaren_agents::config::parse_seeds(text).map_err(|problem| wrong_value(format!("seeds: {text:?}: {problem}")))
}

/// Which runs of a table.
fn request(manifest: PathBuf, chosen: &Bound<'_, PyDict>, jobs: Option<usize>) -> PyResult<TableRequest> {
    #[derive(FromPyObject)]
    #[pyo3(from_item_all)]
    struct Chosen {
        rows: Vec<String>,
        agents: Vec<String>,
        seeds: Vec<u64>,
        runs: Option<PathBuf>,
        set: Vec<String>,
    }
    let Chosen { rows, agents, seeds, runs, set } = chosen.extract()?;
    Ok(TableRequest { manifest, choice: Choice { rows, agents, seeds, runs, set }, jobs })
}

/// Makes a table; results as JSON, as the table that the program prints, and what is missing of it.
#[pyfunction]
#[pyo3(signature = (show, manifest, chosen, *, jobs=None))]
pub(crate) fn table(
    py: Python<'_>,
    show: Option<Bound<'_, PyAny>>,
    manifest: PathBuf,
    chosen: &Bound<'_, PyDict>,
    jobs: Option<usize>,
) -> PyResult<(String, String, Option<String>)> {
    let request = request(manifest, chosen, jobs)?;
    run(py, "table", show.as_ref(), move || {
        let table = request.make(&mut |ended| {
            progress::say(&ended.to_string());
            Ok(())
        })?;
        let missing = table.check().err().map(|error| format!("{error:#}"));
        Ok((serde_json::to_string(&table)?, table.to_string(), missing))
    })
}

/// The runs of a table: a line of JSON each.
#[pyfunction]
pub(crate) fn table_list(py: Python<'_>, manifest: PathBuf, chosen: &Bound<'_, PyDict>) -> PyResult<Vec<String>> {
    let request = request(manifest, chosen, None)?;
    let list =
        py.detach(|| -> Result<Vec<String>> { request.list()?.iter().map(|piece| Ok(serde_json::to_string(piece)?)).collect() });
    list.map_err(|error| failure(&error))
}

/// Makes one run of a table in this process: `finished`, `finished-before`, or `busy` while another process is at it.
#[pyfunction]
pub(crate) fn table_run(
    py: Python<'_>,
    show: Option<Bound<'_, PyAny>>,
    manifest: PathBuf,
    chosen: &Bound<'_, PyDict>,
    index: usize,
) -> PyResult<&'static str> {
    let request = request(manifest, chosen, None)?;
    run(py, "table", show.as_ref(), move || match request.plan()?.piece(index)?.train() {
        Ok(Made::Now(_)) => Ok("finished"),
        Ok(Made::Before) => Ok("finished-before"),
        Err(error) if matches!(error.downcast_ref(), Some(Taken::Writing { .. })) => Ok("busy"),
        Err(error) => Err(error),
    })
}
