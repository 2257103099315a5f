//! `aaren inspect`: what a config means in numbers, before anything is trained.

use aaren_agents::{
    config::{Job, OfflineJob, PpoJob},
    device::{CPU, Cpu},
    play::spaces::action_spec,
    run::report::{self, align_right, bytes},
};
use aaren_kernels::Dropout;
use aaren_policy::{ActorCriticNetwork, ActorCriticPolicy, DecisionNetwork, Description, Normalizer, Timesteps};
use anyhow::{Result, bail};
use burn::module::Module;

/// Prints it.
///
/// # Errors
/// If the job is wrong, or stdout cannot be written.
pub fn run(args: &super::JobArgs) -> Result<()> {
    report::print(match Job::load(&args.files, &args.changes())? {
        Job::Offline(job) => inspect(&job)?,
        Job::Ppo(job) => inspect_online(&job)?,
        Job::Collect(_) => bail!("this job makes a dataset; there is no policy to inspect"),
    })
}

/// The table of parameters by part, and what the state of one episode takes.
///
/// # Errors
/// If the task is unknown to this build or the sizes do not fit.
fn inspect(job: &OfflineJob) -> Result<String> {
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
    let mut table = report::table(&["part", "parameters"]);
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
    for (part, parameters) in rows {
        table.add_row([part, parameters.to_string()]);
    }
    align_right(&mut table, 1);

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
    Ok(format!(
        "{} on {}: observations of {}, actions of {}\n{table}\nstate of one episode: {} after the first step, {} after step {limit}",
        job.policy.mixer_name(),
        job.env.id,
        spec.observation_space.width(),
        spec.action_space.width(),
        bytes(sizes[0]),
        bytes(sizes[limit - 1]),
    ))
}

/// The same for a job that learns online, with the sizes of an iteration.
fn inspect_online(job: &PpoJob) -> Result<String> {
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
    Ok(format!(
        "{} on {}: observations of {}, actions of {}, {parameters} parameters\n{} iterations of {} environment steps, {} optimizer \
         steps each, {} environment steps in all\nstate of one episode: {} after the first step, {} after step {limit}",
        policy.description.network.name(),
        job.env.id,
        spec.observation_space.width(),
        spec.action_space.width(),
        ppo.iterations(),
        ppo.steps_per_iteration(),
        ppo.epochs * ppo.minibatches,
        ppo.iterations() * ppo.steps_per_iteration(),
        bytes(sizes[0]),
        bytes(sizes[limit - 1]),
    ))
}
