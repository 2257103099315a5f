//! What a training would be, and how that is said.

use std::fmt;
use std::time::Duration;

use indicatif::HumanDuration;
use serde::Serialize;

use crate::config::{LearningRateSchedule, TrainConfig};
use crate::run::report::{align_right, bytes, count, number, table};

/// What a training would be.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The job with every key.
    pub job: serde_json::Value,
    /// Name of the mixer, or of the network.
    pub mixer: String,
    /// The task's id.
    pub env: String,
    /// What tokens and outputs are, where it is no policy that acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// Numbers in an observation.
    pub observation_width: usize,
    /// Numbers in an action, or choices.
    pub action_width: usize,
    /// By part of the policy, in order; the last one is the sum.
    pub parameters: Vec<(String, usize)>,
    /// Bytes of one episode's state after the first step and after the last.
    pub state_bytes: (usize, usize),
    /// Steps of that episode: the task's limit, or 1,000 where it has none.
    pub steps: usize,
    /// What an iteration of a job that learns online is made of.
    pub iterations: Option<Iterations>,
    /// The trajectories, where the job learns from some.
    pub data: Option<Data>,
    /// How much is learned from.
    pub budget: Budget,
    /// When what happens.
    pub schedule: Schedule,
    /// How the policy is judged.
    pub evaluation: EvaluationPlan,
    /// What is held at once.
    pub memory: Memory,
    /// How long it takes.
    pub time: Time,
}

/// The iterations of a job that learns online.
#[derive(Clone, Debug, Serialize)]
pub struct Iterations {
    /// How many.
    pub iterations: u64,
    /// Environment steps of each.
    pub env_steps: u64,
    /// Optimizer steps of each.
    pub optimizer_steps: usize,
}

/// The trajectories that are trained on.
#[derive(Clone, Debug, Serialize)]
pub struct Data {
    /// Trajectories.
    pub episodes: usize,
    /// Their steps together.
    pub transitions: usize,
    /// Steps of the longest.
    pub longest: usize,
    /// Trajectories besides that are held out.
    pub held_out: usize,
    /// What returns-to-go are divided by.
    pub return_scale: f64,
}

/// How much is learned from.
#[derive(Clone, Debug, Serialize)]
pub struct Budget {
    /// Optimizer steps.
    pub updates: u64,
    /// Timesteps that each of them learns from.
    pub timesteps_per_update: u64,
    /// Timesteps over all of them.
    pub timesteps: u64,
    /// Passes over the data, or over each rollout.
    pub epochs: f64,
}

/// When what happens, in optimizer steps or, learning online, in environment steps.
#[derive(Clone, Debug, Serialize)]
pub struct Schedule {
    /// The learning rate after the warm-up.
    pub learning_rate: f64,
    /// Steps over which it rises to that.
    pub warmup_steps: u64,
    /// How it goes on.
    pub after: LearningRateSchedule,
    /// Steps of the training.
    pub steps: u64,
    /// Steps between two lines of the log.
    pub log_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Newest checkpoints that are kept.
    pub keep_checkpoints: usize,
}

/// How the policy is judged.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluationPlan {
    /// Evaluations while it trains.
    pub between: u64,
    /// Episodes of each, for each target return.
    pub episodes: usize,
    /// Episodes of the one at the end, for each target return.
    pub final_episodes: usize,
    /// The returns to ask for; `None` for a policy that is not told one.
    pub target_returns: Vec<Option<f64>>,
    /// Environment steps of all evaluations, at most; `None` without a time limit.
    pub most_env_steps: Option<u64>,
}

/// Bytes that are held at once.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// Weights.
    pub parameters: u64,
    /// Gradients, the two moments of the optimizer, and the moving average of the weights where there is one.
    pub optimizer: u64,
    /// The inputs of an update; learning online, of a rollout.
    pub batch: u64,
    /// What the network keeps of an update for its gradient, at the least.
    pub activations: u64,
    /// The states of all episodes that an evaluation plays side by side, when they are as long as they get.
    pub states: u64,
    /// What the machine has; `None` where it does not tell.
    pub machine: Option<u64>,
}

/// How long it takes, measured with steps of real size on this machine.
#[derive(Clone, Debug, Serialize)]
pub struct Time {
    /// Seconds of one optimizer step.
    pub update_seconds: f64,
    /// Seconds of one decision for a group of environments; learning online alone.
    pub decision_seconds: Option<f64>,
    /// Seconds of the training, without evaluations and without the environments' own steps.
    pub training_seconds: f64,
}

impl Schedule {
    /// In optimizer steps.
    pub(super) fn of(train: &TrainConfig) -> Self {
        Self {
            learning_rate: train.learning_rate,
            warmup_steps: train.warmup_steps,
            after: train.schedule,
            steps: train.steps,
            log_every: train.log_every,
            checkpoint_every: train.checkpoint_every,
            keep_checkpoints: train.keep_checkpoints,
        }
    }
}

impl EvaluationPlan {
    /// Evaluations of a training of so many steps, each update making `stride` of them.
    pub(super) fn new(
        (steps, stride, every): (u64, u64, u64),
        (episodes, final_episodes): (usize, usize),
        target_returns: Vec<Option<f64>>,
        limit: Option<usize>,
    ) -> Self {
        let between = (steps - 1).checked_div(every).map_or(0, |between| between.min(steps / stride - 1));
        let all = (between * episodes as u64 + final_episodes as u64) * target_returns.len() as u64;
        Self { between, episodes, final_episodes, target_returns, most_env_steps: limit.map(|limit| all * limit as u64) }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = table(&["part", "parameters"]);
        for (part, parameters) in &self.parameters {
            rows.add_row([part.clone(), parameters.to_string()]);
        }
        align_right(&mut rows, 1);
        writeln!(f, "the job: {:#}", self.job)?;
        let Self { mixer, env, observation_width, action_width, .. } = self;
        let of_env = || format!("observations of {observation_width}, actions of {action_width}");
        writeln!(f, "{mixer} on {env}: {}\n{rows}", self.tokens.clone().unwrap_or_else(of_env))?;
        if let Some(Iterations { iterations, env_steps, optimizer_steps }) = self.iterations {
            let all = iterations * env_steps;
            writeln!(
                f,
                "{iterations} iterations of {env_steps} environment steps, {optimizer_steps} optimizer steps each, {all} environment \
                 steps in all"
            )?;
        }
        if let Some(Data { episodes, transitions, longest, held_out, return_scale }) = &self.data {
            let scale = number(*return_scale);
            let held_out = if *held_out > 0 { format!(", {held_out} more held out") } else { String::new() };
            writeln!(
                f,
                "data: {}, {transitions} transitions, the longest {longest}{held_out}; returns-to-go are divided by {scale}",
                count(*episodes, "episode")
            )?;
        }
        let Budget { updates, timesteps_per_update, timesteps, epochs } = &self.budget;
        let over = if self.data.is_some() || self.tokens.is_some() { "the data" } else { "each rollout" };
        let over = if *epochs > 0.0 { format!("{} epochs over {over}", number(*epochs)) } else { "all of them fresh".into() };
        writeln!(f, "budget: {updates} updates of {timesteps_per_update} timesteps, {timesteps} timesteps in all, {over}")?;
        let Schedule { learning_rate, warmup_steps, after, steps, log_every, checkpoint_every, keep_checkpoints } =
            &self.schedule;
        writeln!(
            f,
            "schedule: {steps} steps; the learning rate is {learning_rate} after {warmup_steps} steps of warm-up, then {after}; a line of the log every \
             {log_every} steps, a checkpoint every {checkpoint_every}, at every evaluation and at the end, of which the newest {keep_checkpoints} are kept"
        )?;
        let EvaluationPlan { between, episodes, final_episodes, target_returns, most_env_steps } = &self.evaluation;
        let targets = target_returns.iter().flatten().map(|target| number(*target)).collect::<Vec<_>>().join(", ");
        let targets = if targets.is_empty() { String::new() } else { format!(" for each return asked for ({targets})") };
        let most = most_env_steps.map(|steps| format!("; at most {steps} environment steps")).unwrap_or_default();
        let held_out = self.data.as_ref().map_or(0, |data| data.held_out);
        match (final_episodes, held_out) {
            _ if self.tokens.is_some() => writeln!(
                f,
                "evaluation: {between} while it trains on the validation split, and one at the end on the test split"
            )?,
            (0, 0) => writeln!(f, "evaluation: none, there is no environment and nothing is held out")?,
            (0, _) => {
                writeln!(f, "evaluation: {between} while it trains and one at the end, of the loss on the held-out episodes")?
            }
            _ => writeln!(
                f,
                "evaluation: {between} while it trains, of {}{targets}, and one at the end of {final_episodes}{most}",
                count(*episodes, "episode")
            )?,
        }
        let Memory { parameters, optimizer, batch, activations, states, machine } = &self.memory;
        let size = |number: u64| bytes(number as usize);
        let machine = machine.map(|machine| format!("; the machine has {}", size(machine))).unwrap_or_default();
        writeln!(
            f,
            "memory: weights {}, gradients and optimizer {}, a batch {}, activations at least {}, states in evaluation {}{machine}",
            size(*parameters),
            size(*optimizer),
            size(*batch),
            size(*activations),
            size(*states)
        )?;
        let (first, last) = self.state_bytes;
        writeln!(f, "state of one episode: {} after the first step, {} after step {}", bytes(first), bytes(last), self.steps)?;
        let Time { update_seconds, training_seconds, .. } = self.time;
        let training = HumanDuration(Duration::try_from_secs_f64(training_seconds).unwrap_or(Duration::MAX));
        write!(
            f,
            "time: {} ms an update, measured here; about {training} of training, evaluations and the environments' own steps aside",
            number(update_seconds * 1e3)
        )
    }
}
