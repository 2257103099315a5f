//! What a job takes of the machine's memory at the least, before anything is allocated.
//!
//! ```
//! use aaren_agents::config::memory::{bytes_of_env, too_many};
//!
//! assert!(too_many("copies", 2, bytes_of_env("CartPole-v1")).is_none());
//! // Where the machine says how much it has.
//! let problem = too_many("copies", 1 << 60, bytes_of_env("CartPole-v1"));
//! assert!(problem.is_none_or(|problem| problem.starts_with("copies: found 1152921504606846976, which take at least")));
//! ```

use std::fs;

use aaren_policy::{FeedForwardKind, PolicyConfig};

use super::{ContextLength, Device, Events, Job, Network, OfflineJob, PpoJob, SequenceJob, TaskConfig};

/// Weights, gradients and the two moments of AdamW, 4 bytes each, and the weights' moving average where there is one.
fn bytes_per_parameter(ema: Option<f64>) -> u128 {
    if ema.is_some() { 20 } else { 16 }
}

/// A simulation of MuJoCo, most of it the arena, and any other task.
const SIMULATION: usize = 15 << 20;
const TASK: usize = 1 << 10;

/// A part of what a job needs, and the keys that decide how much.
struct Need {
    bytes: u128,
    keys: Vec<(&'static str, usize)>,
}

/// Why a job cannot fit into so many bytes: the keys that ask for most, what it needs at the least, and what there is.
pub(super) fn too_much(job: &Job, there: u128) -> Option<String> {
    let needs = match job {
        Job::Offline(job) => of_offline(job),
        Job::Ppo(job) => of_ppo(job),
        Job::Collect(job) => {
            let envs = [("collect.actors", job.collect.actors), ("collect.envs_per_actor", job.collect.envs_per_actor)];
            vec![environments(&job.env.id, envs.to_vec(), usize::MAX)]
        }
        Job::Sequence(job) => of_sequence(job),
    };
    let asked = needs.iter().fold(0, |sum: u128, need| sum.saturating_add(need.bytes));
    let largest = needs.iter().max_by_key(|need| need.bytes).filter(|_| asked > there)?;
    let keys = largest.keys.iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(", ");
    Some(format!(
        "{}: found {keys}: the job takes at least {}, this machine has {}; lower one of them",
        largest.keys[0].0,
        gigabytes(asked),
        gigabytes(there)
    ))
}

fn of_offline(job: &OfflineJob) -> Vec<Need> {
    let OfflineJob { policy, train, evaluation, data, .. } = job;
    let mut needs = vec![network(policy, train.ema)];
    let timesteps = train.row_length.or(train.context_length.window()).unwrap_or(1);
    if job.device == Device::Cpu {
        let length = match (train.row_length, train.context_length) {
            (None, ContextLength::Timesteps(length)) => Some(("train.context_length", length)),
            (length, _) => length.map(|length| ("train.row_length", length)),
        };
        let sizes =
            [("policy.width", policy.width), ("policy.feed_forward", policy.feed_forward), ("policy.layers", policy.layers)];
        needs.push(Need {
            bytes: activations(policy, train.batch_size as u128 * timesteps as u128),
            keys: [("train.batch_size", train.batch_size)].into_iter().chain(length).chain(sizes).collect(),
        });
    }
    if let Some(scripted) = &data.scripted {
        // A step of an observation and an action, and what an episode is kept in.
        needs.push(Need { bytes: scripted.episodes as u128 * 200, keys: vec![("data.scripted.episodes", scripted.episodes)] });
    }
    let envs = [("evaluation.actors", evaluation.actors), ("evaluation.envs_per_actor", evaluation.envs_per_actor)];
    let most = evaluation.episodes.max(evaluation.final_episodes());
    needs.extend(job.env.iter().map(|env| environments(&env.id, envs.to_vec(), most)));
    needs
}

fn of_sequence(job: &SequenceJob) -> Vec<Need> {
    let policy = PolicyConfig { max_timesteps: 0, ..job.policy.clone() };
    // How long sequences of files are shows when they are read.
    let (key, length, outputs) = match &job.task {
        TaskConfig::Classify(_) | TaskConfig::Events(Events { hawkes: None, .. }) => {
            return vec![network(&policy, job.train.ema)];
        }
        TaskConfig::Events(Events { hawkes: Some(hawkes), components, .. }) => {
            ("task.hawkes.events", hawkes.events, ("task.components", *components))
        }
        // Of one channel at the least.
        TaskConfig::Forecast(task) => ("task.look_back", task.look_back, ("task.horizon", task.horizon)),
        TaskConfig::Mqar(task) => ("task.length", task.length, ("task.vocabulary", task.vocabulary)),
    };
    let (rows, length) = (job.train.batch_size, job.train.row_length.or(job.train.context_length.window()).unwrap_or(length));
    let keys = vec![("train.batch_size", rows), (key, length), ("policy.width", policy.width)];
    let tokens = rows as u128 * length as u128;
    let bytes = outputs.1 as u128 * policy.width as u128 * bytes_per_parameter(job.train.ema);
    vec![
        network(&policy, job.train.ema),
        Need { bytes, keys: vec![outputs, ("policy.width", policy.width)] },
        Need { bytes: activations(&policy, tokens) / policy.tokens.per_timestep() as u128, keys },
    ]
}

fn of_ppo(job: &PpoJob) -> Vec<Need> {
    let ppo = &job.ppo;
    let (envs, length) = (("ppo.envs", ppo.envs), ("ppo.rollout_len", ppo.rollout_len));
    let timesteps = ppo.envs as u128 * ppo.rollout_len as u128;
    let mut needs = vec![environments(&job.env.id, vec![envs], usize::MAX)];
    // A timestep's observation, action, log-probability, reward, value and targets, of one number each at the least.
    needs.push(Need { bytes: timesteps * 40, keys: vec![envs, length] });
    match ppo.network {
        Network::Mlp => {
            let numbers: u128 = ppo.hidden.windows(2).map(|widths| widths[0] as u128 * widths[1] as u128).sum();
            let widest = ppo.hidden.iter().copied().max().unwrap_or(1);
            needs.push(Need { bytes: 2 * numbers * bytes_per_parameter(ppo.ema), keys: vec![("ppo.hidden", widest)] });
        }
        Network::Recurrent => {
            needs.push(network(&PolicyConfig { max_timesteps: 0, ..job.policy.clone().unwrap_or_default() }, ppo.ema));
        }
    }
    needs
}

/// The weights of a policy and what trains them: its large matrices and its embedding of timesteps.
fn network(policy: &PolicyConfig, ema: Option<f64>) -> Need {
    let &PolicyConfig { width, feed_forward, layers, max_timesteps, .. } = policy;
    let keys = vec![
        ("policy.width", width),
        ("policy.feed_forward", feed_forward),
        ("policy.layers", layers),
        ("policy.max_timesteps", max_timesteps),
    ];
    let times = if policy.tokens.has_return_to_go() { max_timesteps as u128 } else { 0 };
    let (width, inner) = (width as u128, feed_forward as u128);
    let feed_forward = match policy.feed_forward_kind {
        FeedForwardKind::Dense => 2 * width * inner,
        FeedForwardKind::Monarch => 3 * width * inner / 4,
    };
    let mixers = policy.mixer_of_blocks().unwrap_or_default();
    let of_mixers = mixers.iter().filter(|mixer| **mixer != "mlp").count() as u128 * width * width;
    Need { bytes: (of_mixers + layers as u128 * feed_forward + times * width) * bytes_per_parameter(ema), keys }
}

/// What the blocks keep of a batch for its gradient: four numbers of the width and two of the feed-forward layer a token.
pub(crate) fn activations(policy: &PolicyConfig, timesteps: u128) -> u128 {
    let per_token = 4 * policy.width as u128 + 2 * policy.feed_forward as u128;
    timesteps * policy.tokens.per_timestep() as u128 * policy.layers as u128 * per_token * 4
}

/// Environments that are stepped side by side, as many as a product of keys says, but no more than `most`.
fn environments(id: &str, keys: Vec<(&'static str, usize)>, most: usize) -> Need {
    let count = keys.iter().fold(1, |count: u128, (_, number)| count * *number as u128).min(most as u128);
    Need { bytes: count * bytes_of_env(id) as u128, keys }
}

/// Why so many rows, of which each takes a number of bytes at the least, do not fit this machine; `None` where they do.
///
/// - `name`: what the caller calls their number
pub fn too_many(name: &str, rows: usize, bytes: usize) -> Option<String> {
    let (asked, there) = (rows as u128 * bytes as u128, there()?);
    let problem =
        || format!("{name}: found {rows}, which take at least {}, this machine has {}", gigabytes(asked), gigabytes(there));
    (asked > there).then(problem)
}

/// Bytes that an environment takes at the least.
pub fn bytes_of_env(id: &str) -> usize {
    let is_simulated = aaren_envs::tasks().into_iter().any(|task| task.id == id && task.feature.is_some());
    if is_simulated { SIMULATION } else { TASK }
}

/// Bytes in the unit that memory is bought in.
pub(crate) fn gigabytes(bytes: u128) -> String {
    match bytes as f64 / 1e9 {
        large @ 1e4.. => format!("{:.1} TB", large / 1e3),
        size => format!("{size:.1} GB"),
    }
}

/// Bytes of memory that this process may use: the machine's, or less where its control group or `ulimit -v` says so. `None` where
/// the system does not tell.
pub(crate) fn there() -> Option<u128> {
    let number = |path: &str, line: &str, unit: u128| {
        let text = fs::read_to_string(path).ok()?;
        let rest = text.lines().find_map(|found| found.strip_prefix(line))?;
        Some(rest.split_whitespace().next()?.parse::<u128>().ok()? * unit)
    };
    let machine = number("/proc/meminfo", "MemTotal:", 1024);
    let group = number("/sys/fs/cgroup/memory.max", "", 1);
    let limit = number("/proc/self/limits", "Max address space", 1);
    machine.into_iter().chain(group).chain(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Changes, assert_says};

    fn too_much_of(base: &str, settings: &[&str]) -> Option<String> {
        let set = settings.iter().map(ToString::to_string).collect();
        let job = Job::parse(base, &Changes { set, ..Changes::default() }).unwrap();
        too_much(&job, 64_000_000_000)
    }

    #[test]
    fn sizes_that_no_machine_has_are_named_with_both_numbers() {
        let online = r#"{"env": {"id": "CartPole-v1"}, "ppo": {}, "evaluation": {}}"#;
        let quickstart = crate::config::load::QUICKSTART;
        for (base, settings, words) in [
            (quickstart, &["policy.width=1048576", "policy.heads=1024"][..], &["policy.width 1048576", "policy.layers 2"][..]),
            (
                quickstart,
                &["train.batch_size=1048576", "train.context_length=20"],
                &["train.batch_size 1048576", "train.context_length 20"],
            ),
            (quickstart, &["policy.max_timesteps=16777216", "policy.width=1024"], &["policy.max_timesteps 16777216"]),
            (quickstart, &["data.scripted.episodes=1e9"], &["data.scripted.episodes 1000000000", "at least 200.0 GB"]),
            (online, &["ppo.hidden=[1048576,1048576]"], &["ppo.hidden 1048576", "at least 35.2 TB"]),
            (online, &["ppo.hidden=[1048576,1048576]", "ppo.ema=0.99"], &["at least 44.0 TB"]),
            (online, &["ppo.envs=65536", "ppo.rollout_len=1e6"], &["ppo.envs 65536, ppo.rollout_len 1000000"]),
            (
                online,
                &["ppo.network=recurrent", "policy.feed_forward=1e6", "policy.width=8192"],
                &["policy.feed_forward 1000000"],
            ),
        ] {
            let message = too_much_of(base, settings).unwrap_or_else(|| panic!("{settings:?} fit"));
            assert_says(&message, &[words, &["64.0 GB"]].concat(), settings);
        }
        assert_eq!(too_much_of(quickstart, &["policy.width=1024"]), None);
        assert_eq!(too_much_of(online, &[]), None);
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(!cfg!(target_os = "linux") || there().is_some_and(|bytes| bytes > 1 << 24));
    }
}
