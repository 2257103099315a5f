//! Ranges: what a value may be, said once, with the key and the value found in every message.

use std::fmt::Display;

use anyhow::{Context, Result, bail, ensure};

use super::keys::did_you_mean;
use super::precision::check_precision;
use super::{
    ContextLength, CutSegments, DataConfig, Device, EnvConfig, EvaluationConfig, Execution, Job, Network, OfflineJob, PpoConfig,
    PpoJob, ScriptedConfig, Sources, StopConfig, StopMetric, TrainConfig,
};
use aaren_policy::{PolicyConfig, mixer};

/// No sensible job comes near these; they turn a slip of the keyboard into a message instead of an allocation failure.
const MOST_LAYERS: usize = 1000;
const MOST_WIDTH: usize = 1 << 20;
pub(super) const MOST_TIMESTEPS: usize = 1 << 24;
pub(super) const MOST_ROWS: usize = 1 << 20;
const MOST_ACTORS: usize = 1024;
const MOST_ENVS: usize = 1 << 16;

impl Job {
    /// Checks every value that can be judged from the job alone.
    ///
    /// # Errors
    /// The first value out of its range, with its key, what was found and what is allowed. Reading a job says all of them.
    pub fn check(&self) -> Result<()> {
        match self {
            Job::Offline(job) => job.check(),
            Job::Ppo(job) => job.check(),
            Job::Collect(job) => job.check(),
            Job::Sequence(job) => job.check(),
        }
    }
}

impl OfflineJob {
    /// As [`Job::check`].
    ///
    /// # Errors
    /// As [`Job::check`].
    pub(crate) fn check(&self) -> Result<()> {
        check_device(self.device)?;
        self.env.as_ref().map_or(Ok(()), check_env)?;
        check_policy(&self.policy)?;
        check_data(&self.data)?;
        if self.env.is_none() {
            ensure!(self.data.scripted.is_none(), "env is missing, and scripted data are collected in it; --env names the task");
            ensure!(self.data.actions.is_none(), "data.actions: it is about the bounds of a task, and this job has none (env)");
        }
        check_train(&self.train)?;
        check_precision(self.train.precision, self.device)?;
        check_redraw(&self.policy, &self.train)?;
        check_evaluation(&self.evaluation)?;
        match self.evaluation.stop.map(|stop| stop.metric) {
            Some(StopMetric::ReturnMean) if self.env.is_none() => bail!(
                "evaluation.stop.metric: found \"return_mean\", and this job has no environment (env) to reach a return in; \
                 \"validation_loss\" and \"loss\" need none"
            ),
            Some(StopMetric::ValidationLoss) if self.validation() == 0.0 => bail!(
                "evaluation.stop.metric: found \"validation_loss\", and no episodes are held out; set data.validation to a share of them, \
                 such as 0.1"
            ),
            _ => {}
        }
        for (index, target) in self.evaluation.target_returns.iter().enumerate() {
            let is_finite = target.known().is_none_or(f64::is_finite);
            allow(&format!("evaluation.target_returns.{index}"), target, is_finite, "a finite number")?;
        }
        if self.evaluation.execution == Execution::Window && self.train.context_length == ContextLength::Episode {
            bail!(
                "evaluation.execution: found \"window\" while train.context_length is \"episode\"; a window needs \
                 train.context_length to be a number of timesteps, or use \"streaming\""
            );
        }
        Ok(())
    }
}

impl PpoJob {
    /// As [`Job::check`].
    ///
    /// # Errors
    /// As [`Job::check`].
    pub(crate) fn check(&self) -> Result<()> {
        if self.device != Device::Cpu {
            bail!("device: online jobs learn on the \"cpu\" only, found \"{}\"", self.device);
        }
        check_env(&self.env)?;
        self.policy.as_ref().map_or(Ok(()), check_policy)?;
        let redraw = self.policy.as_ref().map_or(0, |policy| policy.options.performer.redraw);
        allow("policy.options.performer.redraw", redraw, redraw == 0, "0: only a training from data draws features anew")?;
        check_ppo(&self.ppo)?;
        ensure!(
            self.evaluation.stop.is_none_or(|stop| stop.metric == StopMetric::ReturnMean),
            "evaluation.stop.metric: expected \"return_mean\": a loss of learning online says nothing about progress"
        );
        check_evaluation(&self.evaluation)
    }
}

pub(super) fn check_device(device: Device) -> Result<()> {
    ensure!(device.is_built_in(), "device: this build has no {device} backend; build with `--features {device}`, or use \"cpu\"");
    Ok(())
}

/// A registered task that this build lacks, or a Python that this machine lacks, is no mistake in the config: its runs can still be read and compared.
fn check_env(env: &EnvConfig) -> Result<()> {
    aaren_envs::known_spec(&env.id, &env.options).context("env").map(|_| ())
}

fn check_data(data: &DataConfig) -> Result<()> {
    match (&data.source, &data.scripted) {
        (Some(_), Some(_)) => {
            bail!(
                "data: found both \"source\" and \"scripted\", expected exactly one; leave the other out, or set it to null with --set"
            )
        }
        (None, None) => bail!("data: found neither \"source\" nor \"scripted\", expected exactly one of them"),
        (Some(Sources(sources)), None) => ensure!(
            !sources.is_empty() && sources.iter().all(|source| !source.is_empty()),
            "data.source: found {}, expected a path or the id of a Minari dataset, or a list of at least one",
            serde_json::to_string(sources)?
        ),
        (None, Some(ScriptedConfig { collector: _, episodes, quality, noise })) => {
            within("data.scripted.episodes", *episodes, 1, 1 << 30)?;
            if let Some(quality) = quality {
                allow("data.scripted.quality", quality, (0.0..=1.0).contains(quality), "a probability in [0, 1]")?;
            }
            if let Some(noise) = noise {
                not_negative("data.scripted.noise", *noise)?;
            }
        }
    }
    if let Some(steps) = data.max_episode_steps {
        within("data.max_episode_steps", steps, 1, MOST_TIMESTEPS)?;
    }
    ensure!(
        data.scripted.is_none() || (data.max_episode_steps, data.actions) == (None, None),
        "data.max_episode_steps and data.actions are for data.source; scripted data are made in the task itself"
    );
    if let Some(share) = data.validation {
        allow("data.validation", share, (0.0..1.0).contains(&share), "a share of at least 0 and below 1")?;
    }
    let fraction = data.top_fraction;
    allow("data.top_fraction", fraction, fraction > 0.0 && fraction <= 1.0, "a share above 0, up to 1")
}

pub(super) fn check_policy(policy: &PolicyConfig) -> Result<()> {
    let mixers = mixer::choices();
    let named = std::iter::once(("policy.mixer", &policy.mixer)).chain(policy.mixers.iter().map(|name| ("policy.mixers", name)));
    for (key, name) in named {
        if name != mixer::ATTENTION && !mixers.contains(&name.as_str()) {
            let hint = did_you_mean(name, mixers.iter().copied());
            bail!("{key}: there is no mixer \"{name}\"; there are {}{hint}", mixers.join(", "));
        }
    }
    within("policy.layers", policy.layers, 1, MOST_LAYERS)?;
    within("policy.width", policy.width, 1, MOST_WIDTH)?;
    within_derived("policy.heads", policy.heads, policy.width, "policy.width")?;
    ensure!(
        policy.width.is_multiple_of(policy.heads),
        "policy.heads: found {}, expected a divisor of policy.width, which is {}",
        policy.heads,
        policy.width
    );
    within("policy.feed_forward", policy.feed_forward, 1, MOST_WIDTH)?;
    allow("policy.dropout", policy.dropout, (0.0..1.0).contains(&policy.dropout), "a probability in [0, 1)")?;
    within("policy.max_timesteps", policy.max_timesteps, 0, MOST_TIMESTEPS)?;
    policy.return_scale.map_or(Ok(()), |scale| positive("policy.return_scale", scale))?;
    Ok(policy.check()?)
}

/// What is carried from batch to batch was made by the features before.
pub(super) fn check_redraw(policy: &PolicyConfig, train: &TrainConfig) -> Result<()> {
    let redraw = policy.options.performer.redraw;
    ensure!(
        redraw == 0 || train.cut_segments == CutSegments::Drop,
        "policy.options.performer.redraw: found {redraw} while train.cut_segments is \"continue\", whose segments go on with sums of the \
         features before; use \"drop\", or leave redraw out"
    );
    Ok(())
}

pub(super) fn check_train(train: &TrainConfig) -> Result<()> {
    within("train.steps", train.steps, 1, 1 << 40)?;
    within("train.batch_size", train.batch_size, 1, MOST_ROWS)?;
    check_shards("train.shards", train.shards, "train.batch_size", train.batch_size)?;
    if let ContextLength::Timesteps(timesteps) = train.context_length {
        within("train.context_length", timesteps, 1, MOST_TIMESTEPS)?;
    }
    if let Some(row_length) = train.row_length {
        within("train.row_length", row_length, 1, MOST_TIMESTEPS)?;
        // A dropped remainder would silently shorten every segment.
        if let (ContextLength::Timesteps(context), CutSegments::Drop) = (train.context_length, train.cut_segments) {
            ensure!(
                row_length >= context,
                "train.row_length: found {row_length}, expected at least train.context_length, which is {context}, \
                 unless train.cut_segments is \"continue\""
            );
        }
    }
    positive("train.learning_rate", train.learning_rate)?;
    not_negative("train.weight_decay", train.weight_decay)?;
    allow("train.beta2", train.beta2, (0.0..1.0).contains(&train.beta2), "a decay of at least 0 and below 1")?;
    check_ema("train.ema", train.ema)?;
    positive("train.gradient_clip", train.gradient_clip)?;
    at_least_1("train.log_every", train.log_every)?;
    at_least_1("train.checkpoint_every", train.checkpoint_every)?;
    at_least_1("train.keep_checkpoints", train.keep_checkpoints)
}

fn check_evaluation(evaluation: &EvaluationConfig) -> Result<()> {
    within("evaluation.episodes", evaluation.episodes, 1, 1 << 30)?;
    within("evaluation.final_episodes", evaluation.final_episodes(), 1, 1 << 30)?;
    within("evaluation.actors", evaluation.actors, 1, MOST_ACTORS)?;
    within("evaluation.envs_per_actor", evaluation.envs_per_actor, 1, MOST_ENVS)?;
    check_stop(evaluation.stop, evaluation.every)
}

pub(super) fn check_stop(stop: Option<StopConfig>, every: u64) -> Result<()> {
    let Some(StopConfig { metric: _, patience, min_delta }) = stop else { return Ok(()) };
    ensure!(every > 0, "evaluation.stop: it counts evaluations, and evaluation.every is 0; say how often to evaluate");
    at_least_1("evaluation.stop.patience", patience)?;
    not_negative("evaluation.stop.min_delta", min_delta)
}

fn check_ema(key: &str, ema: Option<f64>) -> Result<()> {
    ema.map_or(Ok(()), |ema| allow(key, ema, (0.0..1.0).contains(&ema), "a decay of at least 0 and below 1, or null"))
}

fn check_ppo(ppo: &PpoConfig) -> Result<()> {
    for (index, width) in ppo.hidden.iter().enumerate() {
        within(&format!("ppo.hidden.{index}"), *width, 1, MOST_WIDTH)?;
    }
    ensure!(
        ppo.network == Network::Recurrent || !ppo.inputs.have_previous(),
        "ppo.inputs: found {} while ppo.network is \"mlp\", which is shown [\"observation\"]; set ppo.network to \"recurrent\", or leave \
         ppo.inputs out",
        serde_json::json!(ppo.inputs)
    );
    let log_std = ppo.initial_log_std;
    allow("ppo.initial_log_std", log_std, (-20.0..=5.0).contains(&log_std), "a number from -20 to 5")?;
    allow("ppo.rpo_alpha", ppo.rpo_alpha, (0.0..=10.0).contains(&ppo.rpo_alpha), "a number from 0 to 10")?;
    within("ppo.env_steps", ppo.env_steps, 1, 1 << 40)?;
    within("ppo.envs", ppo.envs, 1, MOST_ENVS)?;
    within_derived("ppo.envs_per_group", ppo.envs_per_group, ppo.envs, "ppo.envs")?;
    let divides = |key: &str, found: usize, of: &str, whole: usize| {
        ensure!(whole.is_multiple_of(found), "{key}: found {found}, expected a divisor of {of}, which is {whole}");
        Ok(())
    };
    divides("ppo.envs_per_group", ppo.envs_per_group, "ppo.envs", ppo.envs)?;
    within("ppo.actors", ppo.actors, 1, MOST_ACTORS)?;
    within("ppo.rollout_len", ppo.rollout_len, 1, MOST_TIMESTEPS)?;
    within("ppo.epochs", ppo.epochs, 1, 1 << 20)?;
    match ppo.network {
        Network::Mlp => {
            let timesteps = ppo.envs * ppo.rollout_len;
            let of = "ppo.envs times ppo.rollout_len";
            within_derived("ppo.minibatches", ppo.minibatches, timesteps, of)?;
            divides("ppo.minibatches", ppo.minibatches, of, timesteps)?;
            check_shards("ppo.shards", ppo.shards, "the timesteps of a minibatch", timesteps / ppo.minibatches)?;
        }
        Network::Recurrent => {
            // A recurrent network replays whole groups.
            let of = "the number of groups, ppo.envs by ppo.envs_per_group";
            within_derived("ppo.minibatches", ppo.minibatches, ppo.groups(), of)?;
            divides("ppo.minibatches", ppo.minibatches, of, ppo.groups())?;
            let of = "the groups of a minibatch, ppo.envs by ppo.envs_per_group by ppo.minibatches";
            check_shards("ppo.shards", ppo.shards, of, ppo.groups() / ppo.minibatches)?;
        }
    }
    positive("ppo.learning_rate", ppo.learning_rate)?;
    within("ppo.warmup_steps", ppo.warmup_steps, 0, ppo.env_steps - 1)?;
    check_ema("ppo.ema", ppo.ema)?;
    allow("ppo.gamma", ppo.gamma, (0.0..=1.0).contains(&ppo.gamma), "a number from 0 to 1")?;
    allow("ppo.gae_lambda", ppo.gae_lambda, (0.0..=1.0).contains(&ppo.gae_lambda), "a number from 0 to 1")?;
    positive("ppo.clip", ppo.clip)?;
    ppo.value_clip.map_or(Ok(()), |clip| positive("ppo.value_clip", clip))?;
    not_negative("ppo.value_coefficient", ppo.value_coefficient)?;
    not_negative("ppo.entropy_coefficient", ppo.entropy_coefficient)?;
    positive("ppo.gradient_clip", ppo.gradient_clip)?;
    ppo.target_kl.map_or(Ok(()), |kl| positive("ppo.target_kl", kl))?;
    at_least_1("ppo.checkpoint_every", ppo.checkpoint_every)?;
    at_least_1("ppo.keep_checkpoints", ppo.keep_checkpoints)
}

/// Gradients are added in a binary tree over equal parts of a batch.
fn check_shards(key: &str, shards: usize, of: &str, whole: usize) -> Result<()> {
    let fits = shards.is_power_of_two() && whole.is_multiple_of(shards);
    allow(key, shards, fits, &format!("a power of two that divides {of}, which is {whole}"))
}

pub(super) fn allow(key: &str, found: impl Display, allowed: bool, expected: &str) -> Result<()> {
    ensure!(allowed, "{key}: found {found}, expected {expected}");
    Ok(())
}

pub(super) fn within<T: PartialOrd + Display>(key: &str, found: T, least: T, most: T) -> Result<()> {
    allow(key, &found, (&least..=&most).contains(&&found), &format!("{least} to {most}"))
}

fn at_least_1<T: PartialEq + Display + Default>(key: &str, found: T) -> Result<()> {
    allow(key, &found, found != T::default(), "at least 1")
}

/// As [`within`] from 1, where the most follows from other keys.
fn within_derived(key: &str, found: usize, most: usize, of: &str) -> Result<()> {
    allow(key, found, (1..=most).contains(&found), &format!("1 to {most}, {of}"))
}

fn positive(key: &str, found: f64) -> Result<()> {
    allow(key, found, found.is_finite() && found > 0.0, "a finite number above 0")
}

fn not_negative(key: &str, found: f64) -> Result<()> {
    allow(key, found, found.is_finite() && found >= 0.0, "a finite number of at least 0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{TargetReturn, assert_says};

    fn message(setting: &str) -> String {
        let error = OfflineJob::quickstart(&[setting.to_string()]);
        format!("{:#}", error.expect_err(setting))
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_key_and_what_is_allowed() {
        for (setting, words) in [
            ("train.steps=0", &["train.steps", "found 0", "1 to"][..]),
            ("train.batch_size=0", &["train.batch_size", "found 0"]),
            ("train.shards=0", &["train.shards", "found 0", "power of two"]),
            ("train.shards=3", &["train.shards", "found 3", "power of two"]),
            (r#"train={"batch_size": 12, "shards": 8}"#, &["train.shards", "found 8", "divides train.batch_size, which is 12"]),
            ("train.learning_rate=0", &["train.learning_rate", "found 0", "above 0"]),
            ("train.learning_rate=-1e-3", &["train.learning_rate", "found -0.001"]),
            ("train.weight_decay=-1", &["train.weight_decay", "at least 0"]),
            ("train.gradient_clip=0", &["train.gradient_clip", "above 0"]),
            ("train.ema=1", &["train.ema", "found 1", "below 1"]),
            ("train.beta2=1", &["train.beta2", "found 1", "below 1"]),
            ("policy={\"options\": {\"performer\": {\"redraw\": -1}}}", &["policy.options.performer.redraw", "a whole number"]),
            ("train.schedule=step", &["train.schedule", "step", "cosine"]),
            ("evaluation.stop.patience=0", &["evaluation.stop.patience", "at least 1"]),
            ("evaluation.stop.min_delta=-1", &["evaluation.stop.min_delta", "at least 0"]),
            ("evaluation.stop.metric=loses", &["evaluation.stop.metric", "return_mean"]),
            ("train.context_length=0", &["train.context_length", "found 0"]),
            ("train.log_every=0", &["train.log_every", "at least 1"]),
            ("train.keep_checkpoints=0", &["train.keep_checkpoints", "at least 1"]),
            ("policy.layers=0", &["policy.layers"]),
            ("policy.heads=0", &["policy.heads", "1 to 64"]),
            ("policy.heads=3", &["policy.heads", "found 3", "divisor", "64"]),
            ("policy.heads=128", &["policy.heads", "found 128"]),
            ("policy.dropout=1", &["policy.dropout", "found 1", "[0, 1)"]),
            ("policy.dropout=-0.1", &["policy.dropout", "found -0.1"]),
            ("policy.return_scale=0", &["policy.return_scale"]),
            ("policy.mixer=aren", &["policy.mixer", "\"aren\"", "transformer", "did you mean \"aaren\"?"]),
            ("evaluation.episodes=0", &["evaluation.episodes"]),
            ("evaluation.actors=0", &["evaluation.actors"]),
            ("evaluation.execution=window", &["evaluation.execution", "train.context_length"]),
            ("data.scripted.quality=1.5", &["data.scripted.quality", "found 1.5"]),
            ("data.scripted.noise=-1", &["data.scripted.noise"]),
            ("data.scripted.episodes=0", &["data.scripted.episodes"]),
            ("data.source=hopper/medium-v0", &["data", "both", "source", "scripted"]),
            ("data.scripted=null", &["data", "neither"]),
            (r#"data={"source": []}"#, &["data.source", "found []", "at least one"]),
            (r#"data={"source": ["x", ""]}"#, &["data.source", "[\"x\",\"\"]"]),
            ("data.max_episode_steps=5", &["data.max_episode_steps", "data.source"]),
            ("data.actions=rescale", &["data.actions", "data.source"]),
            (r#"data={"source": "x", "max_episode_steps": 0}"#, &["data.max_episode_steps", "found 0"]),
            ("data.validation=1", &["data.validation", "found 1", "below 1"]),
            ("data.validation=-0.1", &["data.validation", "found -0.1"]),
            ("evaluation.stop={\"metric\": \"validation_loss\"}", &["evaluation.stop.metric", "data.validation"]),
            ("env=null", &["env.id is missing", "--env"]),
            ("data.top_fraction=0", &["data.top_fraction", "found 0", "above 0, up to 1"]),
            ("data.top_fraction=1.01", &["data.top_fraction", "found 1.01"]),
            ("env.id=TMaze-v1", &["env: unknown environment \"TMaze-v1\"", "did you mean \"TMaze-v0\"?"]),
            ("env.options.coridor=3", &["env: ", "coridor", "did you mean \"corridor\"?"]),
            ("env.options.corridor=-3", &["env: ", "corridor", "-3"]),
            ("device=cuda", &["device", "cuda", "cpu"]),
        ] {
            assert_says(&message(setting), words, setting);
        }
    }

    #[test]
    fn a_row_shorter_than_a_segment_needs_continue() {
        let settings = |cut: &str| {
            ["train.context_length=20", "train.row_length=19", &format!("train.cut_segments={cut}")].map(String::from)
        };
        let load = |cut| OfflineJob::quickstart(&settings(cut));
        assert!(format!("{:#}", load("drop").unwrap_err()).contains("train.row_length: found 19"));
        assert_eq!(load("continue").unwrap().train.row_length, Some(19));
    }

    #[test]
    fn a_policy_that_is_not_told_a_return_is_asked_for_none() {
        let settings = |tokens: &str| ["evaluation.target_returns=[]".into(), format!("policy.tokens={tokens}")];
        let load = |tokens| OfflineJob::quickstart(&settings(tokens));
        assert_eq!(load("merged").unwrap().target_returns(), [], "known when the data are");
        assert_eq!(load("observation").unwrap().target_returns(), [None]);
        let told = OfflineJob::quickstart(&[]).unwrap();
        assert_eq!((told.target_returns(), &told.evaluation.target_returns[..]), (vec![], &[TargetReturn::OfBest(1.0)][..]));
    }

    #[test]
    fn boundary_values_are_allowed() {
        for setting in [
            "policy.dropout=0",
            "policy.heads=64",
            "policy.max_timesteps=0",
            "data.scripted.quality=0",
            "data.top_fraction=1",
            "data.top_fraction=1e-9",
            r#"policy={"tokens": "observation", "mixer": "aaren"}"#,
            "train.weight_decay=0",
            "train.warmup_steps=0",
            "train.steps=1",
            "evaluation.every=0",
        ] {
            OfflineJob::quickstart(&[setting.to_string()]).unwrap();
        }
    }
}
