//! `aaren import`: a Decision Transformer that another program has trained, as a run to evaluate, to export and to go on from.

use super::data::trajectories;
use super::describe::describe;
use super::learner::Learner;
use crate::config::{Changes, EvaluationConfig, Execution, Job, OfflineJob, TargetReturn};
use crate::device::{CPU, Graph};
use crate::play::spaces::action_spec;
use crate::run::{IMPORTED, RunDir};
use aaren_policy::published::{Program, Published};
use aaren_policy::{ActionSpec, Description, Normalizer, PolicyConfig};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

/// The source of the data in the job of a model whose data nobody named.
const UNKNOWN_DATA: &str = "published";

/// What a file does not say of the model in it.
#[derive(Clone, Debug, Default, Args)]
pub struct ImportOptions {
    /// Changes of the run's job; the task is among them, and the dataset that it was trained on, where that is at hand.
    #[arg(skip)]
    pub changes: Changes,
    /// Where means and standard deviations of the observations come from.
    #[arg(skip)]
    pub statistics: Option<StatisticsSource>,
    /// Attention heads [default: as config.json says, else 1].
    #[arg(long, value_name = "N")]
    pub heads: Option<usize>,
    /// Timesteps of a window [default: as the model's causal mask says, else 20].
    #[arg(long, value_name = "N")]
    pub context_length: Option<usize>,
    /// What returns were divided by in its training.
    #[arg(long, value_name = "X", default_value_t = 1000.0)]
    pub return_scale: f64,
    /// Return to ask for; may be repeated [default: as in the Decision Transformer's paper].
    #[arg(long = "target-return", value_name = "R", allow_negative_numbers = true)]
    pub target_returns: Vec<f64>,
}

/// Where means and standard deviations of the observations come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatisticsSource {
    /// The model was trained on observations as they are.
    None,
    /// A JSON file with two lists, `mean` and `std`.
    File(PathBuf),
}

/// `--statistics`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatisticsFile {
    #[serde(alias = "state_mean", alias = "observation_mean")]
    mean: Vec<f64>,
    #[serde(alias = "state_std", alias = "observation_std")]
    std: Vec<f64>,
}

/// Where an imported run comes from, `imported.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Import {
    /// The run.
    #[serde(skip)]
    pub to: PathBuf,
    /// The file or the folder.
    pub file: PathBuf,
    /// What wrote it.
    pub from: &'static str,
    /// Where the normalization comes from.
    pub statistics: String,
    /// Tensors that acting does not need.
    pub left_out: Vec<String>,
    /// Blocks, width, heads.
    #[serde(skip)]
    pub sizes: [usize; 3],
    /// Timesteps of a window.
    #[serde(skip)]
    pub context_length: usize,
}

/// Makes a run folder of a published model: its job, and a checkpoint of step 0 with its weights and a fresh optimizer.
///
/// # Errors
/// What the file holds that cannot be mapped; a task of other sizes, or whose actions are not in `[-1, 1]`; statistics that are
/// missing or do not fit; a folder that cannot be written.
pub fn import(file: &Path, program: Program, options: &ImportOptions, to: &Path) -> Result<Import> {
    RunDir::check_free(to)?;
    let published = Published::read(file, program, options.heads)?;
    let job = job_of(&published, options)?;
    let (normalizer, statistics) = normalizer(file, &published, options, &job)?;
    let description = description_of(&published, normalizer, &job)?;
    let learner = Learner::<Graph>::new(description.clone(), &job.train, job.seed)?;
    let (learner, ()) = learner.map_network(|_| published.network(&description, &CPU).map(|network| (network, ())))?;

    // The job comes last, as in a conversion: what a kill leaves before that is no run.
    let run = RunDir::claim(to, job.train.keep_checkpoints)?;
    run.checkpoint(0, |folder| learner.save(folder))?;
    let import = Import {
        to: to.to_path_buf(),
        file: file.to_path_buf(),
        from: name(program),
        statistics,
        left_out: published.left_out,
        sizes: [job.policy.layers, job.policy.width, job.policy.heads],
        context_length: job.train.context_length.window().unwrap_or(0),
    };
    run.write_json(IMPORTED, &import)?;
    run.begin(&job)?;
    Ok(import)
}

/// What `--from` calls a program.
fn name(program: Program) -> &'static str {
    match program {
        Program::Hf => "hf",
        Program::Corl => "corl",
        Program::MinDt => "min-dt",
    }
}

/// The job of the run. What is known of the model is in it, the rest has its defaults, and changes have the last word.
fn job_of(published: &Published, options: &ImportOptions) -> Result<OfflineJob> {
    let id = options.changes.env.as_deref().context("--env: found none, expected the task that the model was trained in")?;
    let context_length = options.context_length.or(published.context_length).unwrap_or(20);
    ensure!(
        published.context_length.is_none_or(|known| known == context_length),
        "--context-length: found {context_length}, and the model's causal mask is over {} timesteps",
        published.context_length.unwrap_or_default()
    );
    let target_returns = match &options.target_returns[..] {
        [] => paper_targets(id).with_context(|| {
            format!("the paper asks for no return in {id}; say with --target-return what to ask the model for")
        })?,
        targets => targets.to_vec(),
    };
    let policy = PolicyConfig { return_scale: Some(options.return_scale), ..published.config.clone() };
    let target_returns = target_returns.into_iter().map(TargetReturn::Return).collect();
    let evaluation = EvaluationConfig { execution: Execution::Window, target_returns, ..EvaluationConfig::default() };
    let json = json!({
        "env": { "id": id },
        "data": { "source": UNKNOWN_DATA },
        "policy": policy,
        "train": { "context_length": context_length },
        "evaluation": evaluation,
    });
    let job = Job::parse(&json.to_string(), &options.changes)?.offline()?;
    ensure!(
        job.policy == policy,
        "--set: policy.* is the model's own and cannot be set; --return-scale and --heads say what its file does not"
    );
    job.check()?;
    Ok(job)
}

/// The returns that the Decision Transformer is asked for in its paper's tasks.
fn paper_targets(id: &str) -> Option<Vec<f64>> {
    match id.rsplit_once("-v").map_or(id, |(name, _)| name) {
        "Hopper" => Some(vec![3600.0, 1800.0]),
        "HalfCheetah" => Some(vec![12_000.0, 6000.0]),
        "Walker2d" => Some(vec![5000.0, 2500.0]),
        _ => None,
    }
}

/// The normalization that the weights know, and where it comes from.
fn normalizer(file: &Path, published: &Published, options: &ImportOptions, job: &OfflineJob) -> Result<(Normalizer, String)> {
    let width = published.observation_width;
    let of = |mean: Vec<f64>, deviation: Vec<f64>, from: String| {
        let lengths = (mean.len(), deviation.len());
        ensure!(
            lengths == (width, width),
            "{from}: {} means and {} standard deviations, the model is told {width} numbers",
            lengths.0,
            lengths.1
        );
        let is_wrong = |(mean, deviation): (&f64, &f64)| !(mean.is_finite() && deviation.is_finite() && *deviation > 0.0);
        if let Some(at) = mean.iter().zip(&deviation).position(is_wrong) {
            bail!(
                "{from}: number {at} has the mean {} and the standard deviation {}; expected a positive one",
                mean[at],
                deviation[at]
            );
        }
        Ok((Normalizer { mean, deviation }, from))
    };
    match (&options.statistics, &published.statistics) {
        (Some(StatisticsSource::None), _) => Ok((Normalizer::identity(width), "none".into())),
        (Some(StatisticsSource::File(path)), _) => {
            let text = fs::read_to_string(path).with_context(|| format!("--statistics: cannot read {}", path.display()))?;
            let wrong = || format!("--statistics {}: expected {{\"mean\": [...], \"std\": [...]}}", path.display());
            let StatisticsFile { mean, std } = serde_json::from_str(&text).with_context(wrong)?;
            of(mean, std, path.display().to_string())
        }
        (None, Some((mean, deviation))) => of(mean.clone(), deviation.clone(), file.display().to_string()),
        (None, None) if !options.changes.data.is_empty() => {
            let dataset = trajectories(job)?;
            let described = describe(&job.env, &job.policy, &dataset)?;
            of(described.normalizer.mean, described.normalizer.deviation, job.data.describe())
        }
        (None, None) => bail!(
            "{} does not say how observations were normalized; name the dataset of its training with --data, give means and standard \
             deviations with --statistics FILE, or say --statistics none if they were not",
            file.display()
        ),
    }
}

/// What the weights mean in the job's task.
fn description_of(published: &Published, normalizer: Normalizer, job: &OfflineJob) -> Result<Description> {
    let task = job.task()?;
    let env = task.make()?;
    let spec = env.spec();
    let &Published { observation_width, action_width, .. } = published;
    let (shown, action) = (spec.observation_space.width(), action_spec(&spec.action_space));
    ensure!(
        shown == observation_width && action.width() == action_width,
        "the model is told {observation_width} numbers and gives {action_width}, {} shows {shown} and takes {}; is --env the task of its \
         training?",
        spec.id,
        action.width()
    );
    let is_unit = matches!(&action, ActionSpec::Continuous { low, high }
        if low.iter().all(|&low| low == -1.0) && high.iter().all(|&high| high == 1.0));
    ensure!(is_unit, "the model gives actions in [-1, 1] as they are, and those of {} are others", spec.id);
    let description = Description {
        format: Description::FORMAT,
        config: job.policy.clone(),
        normalizer,
        action,
        environment: json!({ "id": task.id, "options": task.options, "spec": spec }),
    };
    description.check()?;
    Ok(description)
}

/// What was done, and what can be done next.
impl Display for Import {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { to, file, from, statistics, left_out, sizes: [layers, width, heads], context_length } = self;
        let to = to.display();
        writeln!(
            f,
            "{} of {from}: {layers} blocks of width {width}, {heads} heads, windows of {context_length} timesteps",
            file.display()
        )?;
        writeln!(f, "normalization: {statistics}; left out: {} tensors that acting does not need", left_out.len())?;
        write!(
            f,
            "run folder: {to}\n`aaren evaluate {to}` plays it, `aaren train {to}/config.json --data SOURCE --from {to} --run DIR` trains it on"
        )
    }
}

#[cfg(test)]
#[path = "../../tests/internal/import.rs"]
mod tests;
