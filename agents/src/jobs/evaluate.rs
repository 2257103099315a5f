//! An evaluation as a whole: from a policy on disk to a report.

use std::path::PathBuf;
use std::sync::Arc;

use aaren_policy::{AnyDescription, AnyPolicy, Described, Model, checkpoint, mixer::CachePolicy};
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use clap::Args;
use serde_json::{Map, Value};

use super::Checkpoint;
use crate::config::{
    Changes, Execution, Job, OfflineJob, PpoJob, SequenceJob, TargetReturn, TaskConfig, caution, each_once, endless, value,
};
use crate::device::{CPU, Cpu};
use crate::offline;
use crate::play::{Evaluation, SavedPolicy, check_spaces, evaluate};
use crate::run::RunDir;
use crate::run::report::EvaluationReport;
use crate::sequence::{self, SequenceTask};

/// What is to be evaluated, and what changes in the evaluation that its job describes: what `aaren evaluate` is asked for.
#[derive(Clone, Debug, Default, Args)]
pub struct EvaluateRequest {
    /// Folder of a run, of a checkpoint or of a saved policy, or the name of one in policies/.
    pub policy: PathBuf,
    /// Checkpoint of the run to evaluate, by its step [default: latest].
    #[arg(long, value_name = "STEP|latest|best")]
    pub checkpoint: Option<Checkpoint>,
    /// Task [default: the one that it was trained in].
    #[arg(long, value_name = "ID")]
    pub env: Option<String>,
    /// An option of the task, for example corridor=2000; may be repeated [default: as it was trained].
    #[arg(long = "env-option", value_name = "NAME=VALUE")]
    pub env_options: Vec<String>,
    /// Episodes for each target return [default: as in the run's config, at the end].
    #[arg(long, value_name = "N")]
    pub episodes: Option<usize>,
    /// Return to ask the policy for; may be repeated [default: as in the run's config].
    #[arg(long = "target-return", value_name = "R", allow_negative_numbers = true)]
    pub target_returns: Vec<f64>,
    /// Actor threads; results do not depend on it [default: as in the run's config].
    #[arg(long, value_name = "N")]
    pub actors: Option<usize>,
    /// Environments that each actor steps together; the shape of a batch, so rounding may differ [default: as in the run's config].
    #[arg(long, value_name = "N")]
    pub envs_per_actor: Option<usize>,
    /// How the policy is run [default: as in the run's config].
    #[arg(long)]
    pub execution: Option<Execution>,
    /// Entries that the KV caches of a Transformer keep, and which: all, the last N, the first I and the last N, or those that are
    /// attended to most [default: full].
    #[arg(long, value_name = "full|window:N|sink:I+N|h2o:N|tova:N")]
    pub cache: Option<CachePolicy>,
    /// Draw actions from the policy's distribution, where it has one [default: its mean, or the likeliest].
    #[arg(long)]
    pub stochastic: bool,
    /// Root of the episodes' seeds [default: as in the run's config].
    #[arg(long)]
    pub seed: Option<u64>,
}

/// A policy, and the evaluation that it can be played in.
#[derive(Debug)]
pub struct Prepared {
    /// Where the policy is.
    pub saved: SavedPolicy,
    /// The policy.
    pub policy: AnyPolicy<Cpu>,
    /// The episodes.
    pub evaluation: Evaluation,
}

impl Prepared {
    /// Plays the episodes.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn evaluate(&self) -> Result<EvaluationReport> {
        evaluate(&self.policy, &self.saved.name, self.saved.step, &self.evaluation)
    }
}

/// A model of sequences, and the task whose splits it can be judged on.
#[derive(Debug)]
pub struct PreparedSequences {
    /// Where the model is.
    pub saved: SavedPolicy,
    model: Model<Cpu>,
    job: SequenceJob,
    task: Arc<dyn SequenceTask>,
    execution: Execution,
}

impl PreparedSequences {
    /// Judges the model on both splits.
    ///
    /// # Errors
    /// If it is no model of sequences.
    pub fn evaluate(&self) -> Result<EvaluationReport> {
        let Self { saved, model, job, task, execution } = self;
        let (mixer, parameters) = (model.mixer(), model.parameters());
        let mut report = EvaluationReport::without_env(&saved.name, saved.step, &job.task.describe(), mixer, parameters);
        sequence::report(model, &**task, job.train.batch_size, *execution, true, &mut report)?;
        Ok(report)
    }
}

impl EvaluateRequest {
    /// Loads a model of sequences, and its task as the job that trained it says; none where the request is for a policy that acts.
    ///
    /// # Errors
    /// What is wrong with the request or the model.
    pub fn prepare_sequences(&self) -> Result<Option<PreparedSequences>> {
        let checkpoint = self.checkpoint.unwrap_or(Checkpoint::Latest);
        // What is wrong with the path is said where policies are looked for.
        let Ok(saved) = SavedPolicy::find(&self.policy, |run| checkpoint.of(run)) else { return Ok(None) };
        let Ok(AnyDescription::Sequence(description)) = checkpoint::load_any_description(&saved.folder) else { return Ok(None) };
        let path = self.policy.display();
        for (flag, is_said) in [
            ("--env", self.env.is_some()),
            ("--episodes", self.episodes.is_some()),
            ("--target-return", !self.target_returns.is_empty()),
            ("--actors", self.actors.is_some()),
            ("--envs-per-actor", self.envs_per_actor.is_some()),
            ("--env-option", !self.env_options.is_empty()),
            ("--cache", self.cache.is_some()),
            ("--stochastic", self.stochastic),
        ] {
            ensure!(!is_said, "{flag}: {path} is a model of sequences and plays no episodes; leave it out");
        }
        let Some(Job::Sequence(job)) = saved.job(&Changes { seed: self.seed, ..Changes::default() })? else {
            bail!("{path} does not say the task that it learnt; name the folder of its run");
        };
        let task = sequence::make(&job.task, job.seed)?;
        ensure!(
            self.seed.is_none() || task.mark().is_none(),
            "--seed: what {path} was not trained on follows from the seed of its training; leave it out"
        );
        let is_the_jobs = offline::describe_sequences(&job, &*task)?.fits(&description);
        ensure!(is_the_jobs, "cannot evaluate {}: its model is not the one of the job", saved.folder.display());
        let model = checkpoint::load_model(&saved.folder, &CPU);
        let model = model.with_context(|| format!("cannot evaluate the checkpoint {}", saved.folder.display()))?;
        ensure!(
            self.execution != Some(Execution::Window) || matches!(job.task, TaskConfig::Forecast(_)),
            "--execution window: the model of {path} looks at whole sequences; leave it out"
        );
        let execution = self.execution.unwrap_or(Execution::Window);
        Ok(Some(PreparedSequences { saved, model, job, task, execution }))
    }

    /// The evaluation that a policy's job describes.
    pub fn of(policy: impl Into<PathBuf>) -> Self {
        Self { policy: policy.into(), ..Self::default() }
    }

    /// Evaluates a policy in its task, or a model of sequences on its splits.
    ///
    /// # Errors
    /// As [`EvaluateRequest::prepare`], [`EvaluateRequest::prepare_sequences`] and [`evaluate`].
    pub fn evaluate(&self) -> Result<EvaluationReport> {
        match self.prepare_sequences()? {
            Some(prepared) => prepared.evaluate(),
            None => self.prepare()?.evaluate(),
        }
    }

    /// Loads the policy and checks that it can be evaluated so.
    ///
    /// # Errors
    /// What is wrong with the request, the policy, or both together.
    pub fn prepare(&self) -> Result<Prepared> {
        self.check_job()?;
        let (saved, policy) = self.load()?;
        let evaluation = self.evaluation(&saved, &policy)?;
        let env = evaluation.env.make().map_err(|error| self.blame_options(error))?;
        check_spaces(&policy, env.spec())
            .with_context(|| format!("cannot evaluate the checkpoint {}", saved.folder.display()))?;
        endless(env.spec()).map_or(Ok(()), |said| Err(self.blame_options(anyhow!(said))))?;
        // A policy without a cache to bound shows before the episodes are played.
        policy.bounded_state(evaluation.cache, 1, &CPU).context("--cache")?;
        if let AnyPolicy::Decision(policy) = &policy
            && let Some(range) = policy.description.config.return_range
            && let Some(said) = offline::beyond(range, &evaluation.target_returns).filter(|_| !self.target_returns.is_empty())
        {
            caution(&[format!("--target-return: {said}")], false)?;
        }
        Ok(Prepared { saved, policy, evaluation })
    }

    /// What is wrong with the request for a run's job, before a checkpoint is looked for.
    fn check_job(&self) -> Result<()> {
        let changes = self.changes()?;
        if self.policy.join("config.json").is_file() {
            let job = self.changed(RunDir::open(&self.policy)?.job(&changes)?)?;
            job.check()?;
            if let Job::Offline(job) = &job {
                job.task().with_context(|| self.policy.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Loads the policy, whatever it is evaluated in.
    ///
    /// # Errors
    /// What is wrong with the policy.
    pub fn load(&self) -> Result<(SavedPolicy, AnyPolicy<Cpu>)> {
        let checkpoint = self.checkpoint.unwrap_or(Checkpoint::Latest);
        let saved = SavedPolicy::find(&self.policy, |run| checkpoint.of(run))?;
        let path = self.policy.display();
        let is_run = saved.folder != self.policy && saved.run.is_some();
        ensure!(
            self.checkpoint.is_none() || is_run,
            "--checkpoint: {path} is no run folder, whose checkpoints can be chosen from"
        );
        let policy = saved.load().with_context(|| format!("cannot evaluate the checkpoint {}", saved.folder.display()))?;
        Ok((saved, policy))
    }

    /// What is played: as the job that trained the policy says, where it is known, with what the request changes.
    ///
    /// # Errors
    /// What is wrong with the request, or what the policy leaves open and the request does not say.
    pub fn evaluation(&self, saved: &SavedPolicy, policy: &AnyPolicy<Cpu>) -> Result<Evaluation> {
        let flags = |evaluation| Evaluation { cache: self.cache.unwrap_or_default(), stochastic: self.stochastic, ..evaluation };
        if let Some(job) = saved.job(&self.changes()?)? {
            let job = self.changed(job)?;
            job.check()?;
            let (is_the_jobs, evaluation) = match (policy, &job) {
                (AnyPolicy::Decision(policy), Job::Offline(job)) => {
                    self.expect_target(!job.target_returns().is_empty())?;
                    let evaluation = Evaluation::try_from(job).with_context(|| self.policy.display().to_string())?;
                    (policy.description.config == job.policy, evaluation)
                }
                (AnyPolicy::ActorCritic(policy), Job::Ppo(job)) => {
                    (policy.description.network == job.into(), Evaluation::from(job))
                }
                _ => bail!("{}: its policy is not of the kind that its job trains", self.policy.display()),
            };
            let job = if saved.run.is_some() { "run's config.json" } else { "job in its provenance.json" };
            ensure!(is_the_jobs, "cannot evaluate {}: its policy is not the one of the {job}", saved.folder.display());
            return Ok(flags(evaluation));
        }
        let mut evaluation = flags(Evaluation::of_policy(policy, self.env.as_deref(), self.seed.unwrap_or(1))?);
        evaluation.env.options.extend(self.options()?);
        let counts = [("--episodes", self.episodes), ("--actors", self.actors), ("--envs-per-actor", self.envs_per_actor)];
        for ((flag, asked), count) in
            counts.into_iter().zip([&mut evaluation.episodes, &mut evaluation.actors, &mut evaluation.envs_per_actor])
        {
            ensure!(asked != Some(0), "{flag}: found 0, expected at least 1");
            *count = asked.unwrap_or(*count);
        }
        let path = self.policy.display();
        ensure!(
            self.execution != Some(Execution::Window),
            "--execution window: {path} does not say the context length of its training"
        );
        match policy {
            AnyPolicy::Decision(policy) if policy.description.config.tokens.has_return_to_go() => {
                self.expect_target(!self.target_returns.is_empty())?;
                self.check_targets()?;
                evaluation.target_returns = each_once(self.target_returns.iter().copied());
            }
            _ => ensure!(self.target_returns.is_empty(), "--target-return: the policy of {path} is not told a return"),
        }
        Ok(evaluation)
    }

    /// What changes in the job that trained the policy.
    fn changes(&self) -> Result<Changes> {
        self.options()?;
        Ok(Changes { env: self.env.clone(), env_options: self.env_options.clone(), ..Changes::default() })
    }

    /// An error about the task, with the flags that chose its options.
    fn blame_options(&self, error: Error) -> Error {
        let flags: Vec<String> = self.env_options.iter().map(|option| format!("--env-option {option}")).collect();
        if flags.is_empty() { error } else { error.context(flags.join(" ")) }
    }

    /// The options of the task that the request changes.
    fn options(&self) -> Result<Map<String, Value>> {
        let option = |option: &String| {
            let (name, text) = option.split_once('=')?;
            let name = Some(name.trim()).filter(|name| !name.is_empty() && !name.contains('.'))?;
            Some((name.to_owned(), value(text.trim())))
        };
        let options = self.env_options.iter().map(|text| {
            option(text).with_context(|| format!("--env-option {text}: expected name=value, for example corridor=2000"))
        });
        let options = options.collect::<Result<Vec<_>>>()?;
        let twice = (1..options.len()).find(|&at| options[..at].iter().any(|(name, _)| *name == options[at].0));
        ensure!(twice.is_none(), "--env-option: \"{}\" is there twice", options[twice.unwrap_or(0)].0);
        Ok(options.into_iter().collect())
    }

    fn expect_target(&self, is_said: bool) -> Result<()> {
        let path = self.policy.display();
        ensure!(is_said, "{path} does not say which return to ask for; say it with --target-return");
        Ok(())
    }

    fn check_targets(&self) -> Result<()> {
        let wrong = self.target_returns.iter().find(|target| !target.is_finite());
        wrong.map_or(Ok(()), |target| bail!("--target-return: found {target}, expected a finite number"))
    }

    /// The run's job with what the flags change in it.
    fn changed(&self, mut job: Job) -> Result<Job> {
        self.check_targets()?;
        let is_told = matches!(&job, Job::Offline(job) if job.policy.tokens.has_return_to_go());
        ensure!(
            self.execution.is_none() || !matches!(job, Job::Ppo(_)),
            "--execution: only decision policies are executed in more than one way"
        );
        let path = self.policy.display();
        ensure!(is_told || self.target_returns.is_empty(), "--target-return: the policy of {path} is not told a return");
        if let Job::Offline(OfflineJob { seed, evaluation, .. }) | Job::Ppo(PpoJob { seed, evaluation, .. }) = &mut job {
            *seed = self.seed.unwrap_or(*seed);
            evaluation.final_episodes = self.episodes.or(evaluation.final_episodes);
            evaluation.actors = self.actors.unwrap_or(evaluation.actors);
            evaluation.envs_per_actor = self.envs_per_actor.unwrap_or(evaluation.envs_per_actor);
            evaluation.execution = self.execution.unwrap_or(evaluation.execution);
            if !self.target_returns.is_empty() {
                evaluation.target_returns = self.target_returns.iter().copied().map(TargetReturn::Return).collect();
            }
        }
        Ok(job)
    }
}
