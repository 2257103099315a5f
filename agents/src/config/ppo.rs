//! A job that learns online. Defaults are those of the published PPO for continuous control.

use aaren_policy::{ActorCriticConfig, HiddenActivation, Input, Inputs, PolicyConfig};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

use super::{Device, EnvConfig, EvaluationConfig, LearningRateSchedule, LogConfig, default_seed};

/// A job that learns online, as written in a config file and, complete, in a run folder's `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PpoJob {
    /// Root of every random number of the job.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Whether what looks wrong with the job or its data is an error; else it is a warning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Where tensors live; the CPU.
    #[serde(default)]
    pub device: Device,
    /// The task to learn and to evaluate in.
    pub env: EnvConfig,
    /// The optimization.
    pub ppo: PpoConfig,
    /// What a recurrent network is built from; none where `ppo.network` is `"mlp"`.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "backbone")]
    pub policy: Option<PolicyConfig>,
    /// How the policy is judged while it trains and at the end.
    #[serde(default, serialize_with = "untold")]
    pub evaluation: EvaluationConfig,
    /// What is logged beside the lines that every run has.
    #[serde(default, skip_serializing_if = "LogConfig::is_default")]
    pub log: LogConfig,
}

/// What actor and critic are built from.
impl From<&PpoJob> for ActorCriticConfig {
    fn from(job: &PpoJob) -> Self {
        match job.ppo.network {
            Network::Mlp => ActorCriticConfig::Mlp { hidden: job.ppo.hidden.clone(), activation: job.ppo.activation },
            // Dropout would make the policy that is trained another than the one that acted. Nothing reads the return scale; policies on
            // disk have this one.
            Network::Recurrent => ActorCriticConfig::Recurrent(PolicyConfig {
                dropout: 0.0,
                return_scale: Some(1000.0),
                ..job.policy.clone().unwrap_or_default()
            }),
        }
    }
}

/// A job that learns online has no trajectories: these keys are neither read nor written.
fn backbone<S: Serializer>(policy: &Option<PolicyConfig>, serializer: S) -> Result<S::Ok, S::Error> {
    without(
        policy,
        &["dropout", "attention_dropout", "embedding_dropout", "tokens", "max_timesteps", "return_scale", "return_range"],
        serializer,
    )
}

fn untold<S: Serializer>(evaluation: &EvaluationConfig, serializer: S) -> Result<S::Ok, S::Error> {
    without(evaluation, &["target_returns", "execution"], serializer)
}

fn without<S: Serializer>(section: &impl Serialize, unread: &[&str], serializer: S) -> Result<S::Ok, S::Error> {
    let mut section = serde_json::to_value(section).map_err(S::Error::custom)?;
    if let Some(keys) = section.as_object_mut() {
        keys.retain(|key, _| !unread.contains(&key.as_str()));
    }
    section.serialize(serializer)
}

/// The `ppo` section of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PpoConfig {
    /// What actor and critic are built from.
    pub network: Network,
    /// What a recurrent network is shown at every timestep: `"observation"`, and if wanted the `"action"` that the timestep before
    /// executed (one-hot, or in units where the bounds are -1 and 1) and its `"reward"` (as the task pays it, clipped to plus and
    /// minus 10); both are 0 where an episode begins.
    #[schemars(with = "Vec<Input>")]
    pub inputs: Inputs,
    /// Widths of the MLPs' hidden layers.
    pub hidden: Vec<usize>,
    /// What follows each of the MLPs' hidden layers.
    pub activation: HiddenActivation,
    /// Where the logarithm of the Gaussian's standard deviation begins, actions being in `[-1, 1]`.
    pub initial_log_std: f64,
    /// Half the width of what is added to every mean of a Gaussian in an update, drawn evenly anew each time, so that the policy keeps
    /// exploring (Rahman and Xue 2022, arXiv:2212.07536: 0.01 or 0.5); 0: nothing is.
    pub rpo_alpha: f64,
    /// Length of the training in environment steps, rounded up to whole iterations.
    pub env_steps: u64,
    /// Environments.
    pub envs: usize,
    /// Environments that are stepped together by one thread, and replayed together by a recurrent policy. Default (null): 2, or 1
    /// where 2 does not divide `envs`.
    #[schemars(with = "Option<usize>")]
    pub envs_per_group: usize,
    /// Actor threads; results do not depend on it.
    pub actors: usize,
    /// Timesteps of each environment in a rollout.
    pub rollout_len: usize,
    /// Passes over a rollout.
    pub epochs: usize,
    /// Optimizer steps of a pass. Default (null): 32, or the largest number below that fits: for MLPs one that divides `envs` times
    /// `rollout_len`, for a recurrent network one that divides the number of groups, `envs` by `envs_per_group`.
    #[schemars(with = "Option<usize>")]
    pub minibatches: usize,
    /// Equal parts of a minibatch, a power of two: of its timesteps for MLPs, of its groups of environments for a recurrent network.
    /// Each has a forward and a backward pass of its own, and their gradients are added in a binary tree. As many processes as divide
    /// it can share them (`--distributed mpi`) and reach the same bits as one.
    pub shards: usize,
    /// Adam's step size after the warm-up.
    pub learning_rate: f64,
    /// Environment steps, rounded up to whole iterations, over which the learning rate rises linearly from 0.
    pub warmup_steps: u64,
    /// How the learning rate goes on after the warm-up.
    pub schedule: LearningRateSchedule,
    /// An older word: true is the schedule `"linear"`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub anneal: bool,
    /// Decay of an exponential moving average of the weights, below 1, for example 0.999. The average is then the policy that is
    /// evaluated, and saved with the weights of the last step beside it; the rollouts are those of the last step's. Default (null):
    /// none.
    pub ema: Option<f64>,
    /// Discount of the next step's value.
    pub gamma: f64,
    /// Mixing factor of generalised advantage estimation.
    pub gae_lambda: f64,
    /// How far the probability ratio counts from 1.
    pub clip: f64,
    /// How far a value may count from the one at the rollout. Default (null): as far as it likes.
    pub value_clip: Option<f64>,
    /// Weight of the squared error of values.
    pub value_coefficient: f64,
    /// Weight of the entropy bonus.
    pub entropy_coefficient: f64,
    /// Largest norm of the gradient over all parameters together.
    pub gradient_clip: f64,
    /// The passes over a rollout stop once the KL divergence from the policy that acted exceeds this. Default (null): never.
    pub target_kl: Option<f64>,
    /// Whether advantages are brought to mean 0 and deviation 1 in every minibatch.
    pub normalise_advantages: bool,
    /// Whether observations are normalised by their running mean and deviation, and clipped to plus and minus 10.
    pub normalise_observations: bool,
    /// Whether rewards are divided by the running standard deviation of the discounted return, and clipped to plus and minus 10.
    pub normalise_rewards: bool,
    /// Environment steps between two checkpoints. There is always one at the end.
    pub checkpoint_every: u64,
    /// Newest checkpoints that are kept. The one marked best is kept besides.
    pub keep_checkpoints: usize,
}

/// What actor and critic are built from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// An MLP each.
    #[default]
    Mlp,
    /// A backbone that they share, built as the job's `policy` section says.
    Recurrent,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self {
            network: Network::Mlp,
            inputs: Inputs::default(),
            hidden: vec![64, 64],
            activation: HiddenActivation::Tanh,
            initial_log_std: 0.0,
            rpo_alpha: 0.0,
            env_steps: 1_000_000,
            envs: 4,
            envs_per_group: 2,
            actors: 2,
            rollout_len: 1024,
            epochs: 10,
            minibatches: 32,
            shards: 1,
            learning_rate: 3e-4,
            warmup_steps: 0,
            schedule: LearningRateSchedule::Constant,
            anneal: false,
            ema: None,
            gamma: 0.99,
            gae_lambda: 0.95,
            clip: 0.2,
            value_clip: None,
            value_coefficient: 0.5,
            entropy_coefficient: 0.0,
            gradient_clip: 0.5,
            target_kl: None,
            normalise_advantages: true,
            normalise_observations: true,
            normalise_rewards: true,
            checkpoint_every: 100_000,
            keep_checkpoints: 2,
        }
    }
}

impl PpoConfig {
    /// Environment steps of one iteration.
    pub(crate) fn steps_per_iteration(&self) -> u64 {
        self.envs as u64 * self.rollout_len as u64
    }

    /// Rollouts, each with its update.
    pub(crate) fn iterations(&self) -> u64 {
        self.env_steps.div_ceil(self.steps_per_iteration())
    }

    /// Makes a schedule of the older word.
    ///
    /// # Errors
    /// If there is another schedule.
    pub(super) fn read_anneal(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.anneal) {
            anyhow::ensure!(
                self.schedule != LearningRateSchedule::Cosine,
                "ppo.anneal: found true, which is the schedule \"linear\", beside ppo.schedule = \"cosine\"; leave out ppo.anneal, or \
                 set it to false"
            );
            self.schedule = LearningRateSchedule::Linear;
        }
        Ok(())
    }

    /// The learning rate of an iteration, the first being 0.
    pub(crate) fn learning_rate(&self, iteration: u64) -> f64 {
        let warmup = self.warmup_steps.div_ceil(self.steps_per_iteration());
        self.learning_rate * self.schedule.factor(iteration, self.iterations(), warmup)
    }

    /// Groups of environments.
    pub(crate) fn groups(&self) -> usize {
        self.envs / self.envs_per_group
    }
}
