//! Evaluation: episodes in actor threads for every target return, and the cost of a step.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use aaren_envs::{Env, EnvError, Moment, Spec, derive_seed};
use aaren_policy::AnyPolicy;
use aaren_policy::mixer::CachePolicy;
use anyhow::{Context, Result, ensure};

use super::episodes::{Actors, EpisodeResult, EpisodeStart, MakeEnv, PlayedEpisode, play_episodes};
use super::latency::{LATENCY_STEPS, latency};
use super::policy_agent::{ExecutionMode, policy_agent};
use crate::config::{EnvConfig, EvaluationConfig, Execution, OfflineJob, PpoJob};
use crate::device::Cpu;
use crate::run::interrupt::{self, Steps};
use crate::run::made_by::MadeBy;
use crate::run::progress::Progress;
use crate::run::report::{EvaluationReport, FORMAT, TargetReport};
use crate::seeds;

/// The episodes of an evaluation, and what is reported of them.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The task.
    pub env: EnvConfig,
    /// One line about what the policy learned from.
    pub data: String,
    /// What the policy is asked for, at least one; `None` for a policy that is not told a return.
    pub target_returns: Vec<Option<f64>>,
    /// Episodes for each target return.
    pub episodes: usize,
    /// Root of the episodes' seeds; every target return is asked for in the same episodes.
    pub seed: u64,
    /// Actor threads.
    pub actors: usize,
    /// Environments that each actor steps together.
    pub envs_per_actor: usize,
    /// Timesteps that a decision policy computes anew at every step; `None` carries the state along.
    pub window: Option<usize>,
    /// What Transformers among the mixers keep of the past.
    pub cache: CachePolicy,
    /// Whether an actor-critic draws its actions; else it takes the likeliest.
    pub stochastic: bool,
    /// Steps over which the cost of a step is measured, if it is.
    pub latency_steps: Option<usize>,
    /// Whether it is played beside a training: without a progress bar, and to its end when the job is asked to stop.
    pub beside: bool,
}

/// The evaluation at the end of a job that learns from trajectories.
impl TryFrom<&OfflineJob> for Evaluation {
    type Error = anyhow::Error;

    /// # Errors
    /// If the job has no environment.
    fn try_from(job: &OfflineJob) -> Result<Self> {
        Ok(Self {
            env: job.task()?.clone(),
            data: job.data.describe(),
            target_returns: job.target_returns(),
            episodes: job.evaluation.final_episodes(),
            seed: derive_seed(job.seed, &[seeds::EPISODES]),
            actors: job.evaluation.actors,
            envs_per_actor: job.evaluation.envs_per_actor,
            window: match job.evaluation.execution {
                Execution::Streaming => None,
                Execution::Window => job.train.context_length.window(),
            },
            cache: CachePolicy::Full,
            stochastic: false,
            latency_steps: Some(LATENCY_STEPS),
            beside: false,
        })
    }
}

/// The evaluation at the end of a job that learns online.
impl From<&PpoJob> for Evaluation {
    fn from(job: &PpoJob) -> Self {
        Self {
            env: job.env.clone(),
            data: "online".into(),
            target_returns: vec![None],
            episodes: job.evaluation.final_episodes(),
            seed: derive_seed(job.seed, &[seeds::EPISODES]),
            actors: job.evaluation.actors,
            envs_per_actor: job.evaluation.envs_per_actor,
            window: None,
            cache: CachePolicy::Full,
            stochastic: false,
            latency_steps: Some(LATENCY_STEPS),
            beside: false,
        }
    }
}

impl Evaluation {
    /// The evaluation of a policy that says its task and nothing else, with the defaults of a job. What it is asked for is not known.
    ///
    /// - `env`: a task in place of the one that it says, with its defaults if it is another
    /// - `seed`: as a job's
    ///
    /// # Errors
    /// If neither says a task.
    pub fn of_policy(policy: &AnyPolicy<Cpu>, env: Option<&str>, seed: u64) -> Result<Self> {
        let environment = policy.environment();
        let its = environment["id"].as_str();
        let id = env.or(its).context("the policy does not say its task; name it with --env")?;
        let options = environment["options"].as_object().filter(|_| its == Some(id)).cloned();
        let EvaluationConfig { episodes, actors, envs_per_actor, .. } = EvaluationConfig::default();
        Ok(Self {
            env: EnvConfig { id: id.into(), options: options.unwrap_or_default() },
            data: "unknown".into(),
            target_returns: vec![None],
            episodes,
            seed: derive_seed(seed, &[seeds::EPISODES]),
            actors,
            envs_per_actor,
            window: None,
            cache: CachePolicy::Full,
            stochastic: false,
            latency_steps: Some(LATENCY_STEPS),
            beside: false,
        })
    }

    /// An evaluation of the same policy while it trains.
    pub(crate) fn between(&self, episodes: usize) -> Self {
        Self { episodes, latency_steps: None, ..self.clone() }
    }

    /// The episodes: all of the first target return, then all of the next.
    pub(crate) fn starts(&self) -> Vec<EpisodeStart> {
        let seeds = episode_seeds(self.seed, self.episodes);
        let episodes = self.target_returns.iter().flat_map(|target| seeds.iter().map(move |seed| (*target, *seed)));
        // A policy that is not told a return is shown one that its tokens leave out.
        let start = |(index, (target, seed)): (usize, (Option<f64>, u64))| EpisodeStart {
            index: index as u64,
            seed,
            action_seed: derive_seed(seed, &[seeds::NOISE]),
            target_return: target.unwrap_or(0.0),
            keeps_moments: false,
        };
        episodes.enumerate().map(start).collect()
    }

    /// The same, which are some.
    fn some_starts(&self) -> Result<Vec<EpisodeStart>> {
        ensure!(
            !self.target_returns.is_empty(),
            "evaluation.target_returns: the highest return is known when the data are read; name a return to ask for"
        );
        Ok(self.starts())
    }

    /// Makes the task.
    ///
    /// # Errors
    /// If it is unknown to this build or does not take its options.
    pub(crate) fn make_env(&self) -> Result<Box<dyn Env>, EnvError> {
        aaren_envs::make(&self.env.id, &self.env.options)
    }

    /// Plays the episodes with a policy in environments of the caller's making, and returns them in order. `finished` is called with
    /// each as it arrives.
    ///
    /// # Errors
    /// A policy that cannot be executed so; the first actor that failed, by its number, with how many episodes the others still
    /// finished; or an interrupt.
    pub fn play(
        &self,
        policy: &AnyPolicy<Cpu>,
        make_env: &MakeEnv,
        finished: impl FnMut(&PlayedEpisode),
    ) -> Result<Vec<PlayedEpisode>> {
        play_with_policy(policy, &self.some_starts()?, self, make_env, false, finished)
    }

    /// The same, with every episode kept whole, in [`PlayedEpisode::recorded`].
    ///
    /// # Errors
    /// As [`Evaluation::play`].
    pub fn record(
        &self,
        policy: &AnyPolicy<Cpu>,
        make_env: &MakeEnv,
        finished: impl FnMut(&PlayedEpisode),
    ) -> Result<Vec<PlayedEpisode>> {
        play_with_policy(policy, &self.some_starts()?, self, make_env, true, finished)
    }

    /// Episodes for all target returns together.
    pub fn count(&self) -> usize {
        self.target_returns.len() * self.episodes
    }

    /// Plays some of the episodes, by their numbers: all of the first target return come first, then all of the next. They are those that
    /// [`evaluate`] plays, bit for bit, so that several processes can share them; [`Evaluation::report`] takes them together.
    ///
    /// # Errors
    /// Numbers that are not there, or as [`Evaluation::play`].
    pub fn play_range(&self, policy: &AnyPolicy<Cpu>, numbers: Range<usize>) -> Result<Vec<EpisodeResult>> {
        let starts = self.starts();
        let of_all = || format!("there are no episodes {} to {}, but {} in all", numbers.start, numbers.end, starts.len());
        let starts = starts.get(numbers.clone()).with_context(of_all)?;
        let played = play_with_policy(policy, starts, self, &|| self.make_env(), false, |_| ())?;
        Ok(played.iter().map(|episode| episode.result).collect())
    }

    /// The report of all episodes, wherever they were played. The cost of a step is measured here.
    ///
    /// - `results`: of the episodes in their order
    ///
    /// # Errors
    /// Another number of results, or an environment that fails.
    pub fn report(
        &self,
        policy: &AnyPolicy<Cpu>,
        run: &str,
        step: u64,
        results: &[EpisodeResult],
        wall_seconds: f64,
    ) -> Result<EvaluationReport> {
        ensure!(results.len() == self.count(), "found the results of {} episodes, expected {}", results.len(), self.count());
        let env = &self.env;
        let score = |value: f64| {
            let reference = aaren_data::score::of_env(&env.id, &env.options)?;
            Some(aaren_data::score::normalised_score(value, reference.min, reference.max))
        };
        let target = |(target, episodes): (&Option<f64>, &[EpisodeResult])| {
            let returns = episodes.iter().map(|episode| episode.episode_return).collect();
            let lengths = episodes.iter().map(|episode| episode.length).collect();
            let terminated = episodes.iter().filter(|episode| episode.terminated).count();
            let diverged = episodes.iter().filter(|episode| episode.diverged).count() as u64;
            TargetReport { diverged, ..TargetReport::new(*target, returns, lengths, terminated, score) }
        };
        let targets = self.target_returns.iter().zip(results.chunks(self.episodes)).map(target).collect();
        let env_steps: u64 = results.iter().map(|episode| episode.length as u64).sum();
        let execution = match (policy, self.window, self.stochastic) {
            (AnyPolicy::Decision(_), None, _) => "streaming",
            (AnyPolicy::Decision(_), Some(_), _) => "window",
            (AnyPolicy::ActorCritic(_), _, false) => "deterministic",
            (AnyPolicy::ActorCritic(_), _, true) => "stochastic",
        };
        let bound = if self.cache == CachePolicy::Full { String::new() } else { format!(", {}", self.cache) };
        Ok(EvaluationReport {
            format: FORMAT,
            run: run.into(),
            checkpoint_step: step,
            env_id: env.id.clone(),
            env_options: env.options.clone(),
            data: self.data.clone(),
            mixer: policy.mixer(),
            execution: execution.to_owned() + &bound,
            seed: self.seed,
            episode_seeds: episode_seeds(self.seed, self.episodes),
            made_by: Some(MadeBy::this()),
            parameters: policy.parameters(),
            targets,
            validation: None,
            sequences: None,
            env_steps,
            wall_seconds,
            env_steps_per_second: env_steps as f64 / wall_seconds,
            latency: self
                .latency_steps
                .map(|steps| latency(&*self.make_env()?, policy, self.cache, self.window, steps))
                .transpose()?,
        })
    }

    /// Seeds of the episodes, in order: of the environment, and of the noise of a policy that draws its actions. Every target return
    /// has the same.
    pub fn seeds(&self) -> Vec<(u64, u64)> {
        let starts = self.starts();
        starts[..self.episodes].iter().map(|start| (start.seed, start.action_seed)).collect()
    }
}

/// Plays episodes with a policy, executed as an evaluation says, and returns them in order of `starts`, numbered by it.
///
/// # Errors
/// As [`Evaluation::play`].
pub(crate) fn play_with_policy(
    policy: &AnyPolicy<Cpu>,
    starts: &[EpisodeStart],
    evaluation: &Evaluation,
    make_env: &MakeEnv,
    records: bool,
    mut finished: impl FnMut(&PlayedEpisode),
) -> Result<Vec<PlayedEpisode>> {
    let mode = ExecutionMode { window: evaluation.window, cache: evaluation.cache, stochastic: evaluation.stochastic };
    mode.check(policy)?;
    let _steps = (!evaluation.beside).then(Steps::new);
    let Evaluation { actors: threads, envs_per_actor, .. } = *evaluation;
    let actors = Actors {
        env_id: &evaluation.env.id,
        threads,
        envs_per_actor,
        records,
        stops_on_failure: false,
        stops_when_asked: !evaluation.beside,
    };
    // A module is shared memory with reference counts; every actor holds its own handle.
    let shared = Mutex::new(policy.clone());
    let make_agent = |_: &Spec, rows| {
        let policy = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        policy_agent(policy, mode, rows)
    };
    let mut left = starts.iter().enumerate().map(|(place, start)| EpisodeStart { index: place as u64, ..*start });
    let mut played: Vec<Option<PlayedEpisode>> = vec![None; starts.len()];
    let outcome = play_episodes(
        make_env,
        &make_agent,
        actors,
        || left.next(),
        |episode| {
            finished(&episode);
            let place = episode.index as usize;
            played[place] = Some(episode);
            Ok(true)
        },
    );
    if !evaluation.beside {
        interrupt::check()?;
    }
    let done = played.iter().flatten().count();
    outcome.with_context(|| format!("{done} of {} episodes finished", played.len()))?;
    played.into_iter().collect::<Option<_>>().context("episodes were lost")
}

/// Plays the episodes of an evaluation with a policy.
///
/// # Errors
/// An environment that fails, or an interrupt.
pub fn evaluate(policy: &AnyPolicy<Cpu>, run: &str, step: u64, evaluation: &Evaluation) -> Result<EvaluationReport> {
    Ok(evaluate_and_keep(policy, run, step, evaluation, false)?.0)
}

/// The same, and what can be drawn of the first episode, if it is kept.
///
/// # Errors
/// As [`evaluate`], or a task whose state cannot be read.
pub fn evaluate_and_keep(
    policy: &AnyPolicy<Cpu>,
    run: &str,
    step: u64,
    evaluation: &Evaluation,
    keeps_first: bool,
) -> Result<(EvaluationReport, Vec<Moment>)> {
    let started = Instant::now();
    let mut starts = evaluation.starts();
    starts.iter_mut().take(1).for_each(|start| start.keeps_moments = keeps_first);
    let mut episodes = play_starts(policy, &starts, evaluation)?;
    let moments = episodes.first_mut().and_then(|episode| episode.moments.take()).unwrap_or_default();
    let wall_seconds = started.elapsed().as_secs_f64();
    let results: Vec<EpisodeResult> = episodes.iter().map(|episode| episode.result).collect();
    Ok((evaluation.report(policy, run, step, &results, wall_seconds)?, moments))
}

/// Plays the episodes that one of several processes plays of an evaluation: of `size` the `rank`-th, and every `size`-th after it.
///
/// # Errors
/// As [`evaluate`].
pub(crate) fn play_share(
    policy: &AnyPolicy<Cpu>,
    evaluation: &Evaluation,
    rank: usize,
    size: usize,
) -> Result<Vec<EpisodeResult>> {
    let starts: Vec<EpisodeStart> = evaluation.starts().into_iter().skip(rank).step_by(size).collect();
    Ok(play_starts(policy, &starts, evaluation)?.iter().map(|episode| episode.result).collect())
}

/// Plays episodes with a bar that shows how many are played.
fn play_starts(policy: &AnyPolicy<Cpu>, starts: &[EpisodeStart], evaluation: &Evaluation) -> Result<Vec<PlayedEpisode>> {
    let progress = (!evaluation.beside).then(|| Progress::new(starts.len() as u64, "evaluating"));
    let finished = |_: &PlayedEpisode| progress.iter().for_each(|bar| bar.inc(1));
    play_with_policy(policy, starts, evaluation, &|| evaluation.make_env(), false, finished)
}

/// The seeds of episodes, from the root seed of an evaluation.
pub(crate) fn episode_seeds(seed: u64, episodes: usize) -> Vec<u64> {
    (0..episodes as u64).map(|episode| derive_seed(seed, &[episode])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_return_is_asked_for_in_the_same_episodes() {
        let settings = ["evaluation.final_episodes=3", "evaluation.target_returns=[1, 0]"].map(String::from);
        let starts = Evaluation::try_from(&OfflineJob::quickstart(&settings).unwrap()).unwrap().starts();
        let of = |starts: &[EpisodeStart]| starts.iter().map(|start| (start.seed, start.action_seed)).collect::<Vec<_>>();
        assert_eq!((starts.len(), of(&starts[..3])), (6, of(&starts[3..])));
    }
}
