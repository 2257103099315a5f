//! `aaren inspect`: what a config means in numbers, before anything is trained.

use aaren_agents::config::{Job, OfflineJob, PpoJob};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::play::action_spec;
use aaren_agents::run::report;
use aaren_agents::run::report::{align_right, bytes};
use aaren_kernels::Dropout;
use aaren_policy::{ActorCriticNetwork, ActorCriticPolicy, DecisionNetwork, Description, Normalizer, Timesteps};
use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::args::{JobArgs, show};
use burn::module::Module;

#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Print JSON in place of a table
    #[arg(long)]
    json: bool,
}

/// What a job means in numbers.
#[derive(Serialize)]
struct Inspection {
    mixer: String,
    env: String,
    observation_width: usize,
    action_width: usize,
    /// By part of the policy, in order; the last one is the sum.
    parameters: Vec<(String, usize)>,
    /// Bytes of one episode's state after the first step and after the last.
    state_bytes: (usize, usize),
    steps: usize,
    /// What an iteration of a job that learns online is made of.
    iterations: Option<Iterations>,
}

#[derive(Serialize)]
struct Iterations {
    iterations: u64,
    env_steps: u64,
    optimizer_steps: usize,
}

/// Prints it.
///
/// # Errors
/// If the job is wrong, or stdout cannot be written.
pub fn run(args: &InspectArgs) -> Result<()> {
    let inspection = match Job::load(&args.job.files, &args.job.changes())? {
        Job::Offline(job) => inspect(&job)?,
        Job::Ppo(job) => inspect_online(&job)?,
        Job::Collect(_) => bail!("this job makes a dataset; there is no policy to inspect"),
    };
    show(args.json, &inspection, || inspection.render())
}

impl Inspection {
    fn render(&self) -> String {
        let mut table = report::table(&["part", "parameters"]);
        for (part, parameters) in &self.parameters {
            table.add_row([part.clone(), parameters.to_string()]);
        }
        align_right(&mut table, 1);
        let iterations = self.iterations.as_ref().map(|Iterations { iterations, env_steps, optimizer_steps }| {
            format!(
                "{iterations} iterations of {env_steps} environment steps, {optimizer_steps} optimizer steps each, {} environment \
                 steps in all\n",
                iterations * env_steps
            )
        });
        format!(
            "{} on {}: observations of {}, actions of {}\n{table}\n{}state of one episode: {} after the first step, {} after step {}",
            self.mixer,
            self.env,
            self.observation_width,
            self.action_width,
            iterations.unwrap_or_default(),
            bytes(self.state_bytes.0),
            bytes(self.state_bytes.1),
            self.steps,
        )
    }
}

/// The table of parameters by part, and what the state of one episode takes.
///
/// # Errors
/// If the task is unknown to this build or the sizes do not fit.
fn inspect(job: &OfflineJob) -> Result<Inspection> {
    let env = job.env.make()?;
    let spec = env.spec();
    let description = Description {
        format: Description::FORMAT,
        config: job.policy.clone(),
        normalizer: Normalizer::identity(spec.observation_space.width()),
        action: action_spec(&spec.action_space),
        environment: serde_json::Value::Null,
    };
    let network = DecisionNetwork::<Cpu>::new(&description, 0, &CPU)?;
    let mut blocks = 0;
    let mut rows = Vec::new();
    let mixers = job.policy.mixer_of_blocks()?;
    for (index, block) in network.backbone().blocks().iter().enumerate() {
        let (mixer, all) = (block.mixer().num_params(), block.num_params());
        rows.push((format!("block {index}"), all));
        rows.push((format!("  {}", mixers[index]), mixer));
        rows.push(("  feed-forward".into(), all - mixer - 4 * job.policy.width));
        rows.push(("  norms".into(), 4 * job.policy.width));
        blocks += all;
    }
    let total = network.num_params();
    rows.push(("tokens, last norm and head".into(), total - blocks));
    rows.push(("all".into(), total));

    let limit = spec.max_episode_steps.unwrap_or(1000);
    let mut state = network.backbone().initial_state(1, &CPU);
    let observation = vec![0.0; description.normalizer.width()];
    let mut sizes = Vec::new();
    for step in 0..limit {
        let mut timesteps = Timesteps::new();
        timesteps.push(&description, &observation, None, 0.0, step, step == 0);
        state = network.forward(&timesteps.to_tensors(1, job.policy.tokens, &CPU), state, Dropout::OFF).1;
        sizes.push(state.bytes());
    }
    Ok(Inspection {
        mixer: job.policy.mixer_name(),
        env: job.env.id.clone(),
        observation_width: spec.observation_space.width(),
        action_width: spec.action_space.width(),
        parameters: rows,
        state_bytes: (sizes[0], sizes[limit - 1]),
        steps: limit,
        iterations: None,
    })
}

/// The same for a job that learns online, with the sizes of an iteration.
fn inspect_online(job: &PpoJob) -> Result<Inspection> {
    let (env, ppo) = (job.env.make()?, &job.ppo);
    let spec = env.spec();
    let description = aaren_agents::ppo::describe(job, spec)?;
    let network = ActorCriticNetwork::<Cpu>::new(&description, ppo.initial_log_std, 0, &CPU)?;
    let parameters = network.num_params();
    let policy = ActorCriticPolicy { network, description };
    let limit = spec.max_episode_steps.unwrap_or(1000);
    let mut observation = Vec::new();
    policy.description.push_observation(&vec![0.0; spec.observation_space.width()], &mut observation);
    let mut state = policy.initial_state(1, &CPU);
    let mut sizes = Vec::new();
    for step in 0..limit {
        state = policy.act(&observation, &[step == 0], state, &CPU).1;
        sizes.push(state.bytes());
    }
    let steps = (ppo.envs * ppo.rollout_len) as u64;
    Ok(Inspection {
        mixer: policy.description.network.name(),
        env: job.env.id.clone(),
        observation_width: spec.observation_space.width(),
        action_width: spec.action_space.width(),
        parameters: vec![("all".into(), parameters)],
        state_bytes: (sizes[0], sizes[limit - 1]),
        steps: limit,
        iterations: Some(Iterations {
            iterations: ppo.env_steps.div_ceil(steps),
            env_steps: steps,
            optimizer_steps: ppo.epochs * ppo.minibatches,
        }),
    })
}
