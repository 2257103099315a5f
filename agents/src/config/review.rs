//! A second look at a job that is about to be run: what cannot end well on this machine, and settings that cannot do what they are
//! for. A job on disk that was run elsewhere is read without it.

use aaren_envs::Spec;
use anyhow::Result;

use super::mistakes::Mistakes;
use super::{EnvConfig, Job, Network, OfflineJob, PpoConfig, PpoJob, TrainConfig, caution, memory};

impl Job {
    /// Looks at a job before it is run. What is odd is a warning, or an error where the job is strict.
    ///
    /// # Errors
    /// All that cannot work: more memory than the machine has, evaluations that never end, minibatches that nothing is learned from,
    /// target returns that the log cannot tell apart; or a task that this build lacks.
    pub fn review(&self) -> Result<()> {
        let mut wrong: Vec<String> = memory::there().and_then(|there| memory::too_much(self, there)).into_iter().collect();
        let mut odd = Vec::new();
        let strict = match self {
            Job::Offline(job) => {
                if let Some(env) = &job.env {
                    wrong.extend(endless(env.make()?.spec()));
                }
                wrong.extend(alike(job));
                odd_offline(job, &mut odd);
                job.strict
            }
            Job::Ppo(job) => {
                wrong.extend(endless(job.env.make()?.spec()));
                wrong.extend(normalised_away(job));
                odd_ppo(job, &mut odd);
                job.strict
            }
            Job::Collect(job) => job.strict,
            Job::Sequence(job) => {
                odd_train(&job.train, job.evaluation.every, &mut odd);
                job.strict
            }
        };
        Mistakes::none_of(wrong)?;
        caution(&odd, strict)
    }
}

/// Episodes that need not end. A task of another crate knows itself whether it ends.
pub(crate) fn endless(spec: &Spec) -> Option<String> {
    let is_ours = aaren_envs::tasks().into_iter().any(|task| task.id == spec.id && !task.options.is_empty());
    (spec.max_episode_steps.is_none() && is_ours).then(|| {
        format!(
            "env.options.max_episode_steps: found null: an episode of {} need not end, and an evaluation would wait for it; say a \
             number of steps, or leave it out",
            spec.id
        )
    })
}

/// Target returns that are one name in the log, which has four digits of them.
fn alike(job: &OfflineJob) -> Option<String> {
    let name = |value: f64| match value.abs() {
        1e3..1e9 => format!("{value:.0}"),
        _ => format!("{value:.3e}"),
    };
    let is_told = job.policy.tokens.has_return_to_go();
    let targets: Vec<f64> =
        job.evaluation.target_returns.iter().filter(|_| is_told).filter_map(|target| target.known()).collect();
    targets.iter().enumerate().find_map(|(index, target)| {
        let twin = targets[..index].iter().find(|before| name(**before) == name(*target))?;
        Some(format!(
            "evaluation.target_returns: found {twin} and {target}, which are one name in the log; ask for each return once, or for \
             returns that differ in their first four digits"
        ))
    })
}

/// A minibatch of one timestep, whose advantage is its own mean.
fn normalised_away(job: &PpoJob) -> Option<String> {
    let ppo = &job.ppo;
    (ppo.normalise_advantages && ppo.minibatches as u64 == ppo.steps_per_iteration()).then(|| {
        format!(
            "ppo.minibatches: found {}, as many as an iteration has timesteps (ppo.envs times ppo.rollout_len): the advantage of a \
             minibatch of one normalises to 0; take at most {}, or set ppo.normalise_advantages to false",
            ppo.minibatches,
            (ppo.minibatches / 2).max(1)
        )
    })
}

fn odd_offline(job: &OfflineJob, odd: &mut Vec<String>) {
    odd_train(&job.train, job.evaluation.every, odd);
    if let Some(env) = &job.env {
        unlimited(env, odd);
    }
}

fn odd_train(train: &TrainConfig, evaluate_every: u64, odd: &mut Vec<String>) {
    let (steps, warmup) = (train.steps, train.warmup_steps);
    if warmup >= steps && warmup > 1 {
        let share = 100.0 * steps as f64 / warmup as f64;
        odd.push(format!(
            "train.warmup_steps: found {warmup}, the training has {steps} steps (train.steps) and ends at {share:.0} % of \
             train.learning_rate; {} would do, or null",
            steps / 10
        ));
    }
    if train.log_every > steps {
        let (found, would) = (train.log_every, (steps / 10).max(1));
        odd.push(format!("train.log_every: found {found}, the training has {steps} steps (train.steps) and logs its last alone; {would} would do"));
    }
    never_evaluates(evaluate_every, "train.steps", steps, odd);
}

fn odd_ppo(job: &PpoJob, odd: &mut Vec<String>) {
    let (steps, iteration) = (job.ppo.env_steps, job.ppo.steps_per_iteration());
    if steps < iteration {
        odd.push(format!(
            "ppo.env_steps: found {steps}, one iteration makes {iteration} (ppo.envs times ppo.rollout_len): that is the training, with \
             one line in the log; lower ppo.rollout_len to {} for ten",
            (steps / job.ppo.envs as u64 / 10).max(1)
        ));
    }
    if job.ppo.network == Network::Recurrent && job.ppo.hidden != PpoConfig::default().hidden {
        odd.push(format!(
            "ppo.hidden: found {:?}, which a recurrent network does not have (ppo.network); policy says how it is built",
            job.ppo.hidden
        ));
    }
    never_evaluates(job.evaluation.every, "ppo.env_steps", steps.max(iteration), odd);
    unlimited(&job.env, odd);
}

/// An environment in Python without a time limit, which may end its episodes itself, or not.
fn unlimited(env: &EnvConfig, odd: &mut Vec<String>) {
    let Some(spec) = aaren_envs::gymnasium_name(&env.id).and_then(|_| env.make().ok()).map(|env| env.spec().clone()) else {
        return;
    };
    if spec.max_episode_steps.is_none() {
        odd.push(format!(
            "env.options.max_episode_steps: {} has no time limit, and an episode that the environment does not end has no end; say a \
             number of steps",
            spec.id
        ));
    }
}

fn never_evaluates(every: u64, key: &str, steps: u64, odd: &mut Vec<String>) {
    if every > steps {
        odd.push(format!(
            "evaluation.every: found {every}, the training has {steps} steps ({key}) and is evaluated at its end alone; {} would do, or \
             0 for the end alone",
            (steps / 5).max(1)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Changes, assert_says};

    const ONLINE: &str = r#"{"env": {"id": "CartPole-v1"}, "ppo": {"env_steps": 8192}, "evaluation": {}}"#;

    fn review(base: &str, settings: &[&str], strict: bool) -> Result<()> {
        let set = settings.iter().map(ToString::to_string).collect();
        Job::parse(base, &Changes { set, strict, ..Changes::default() }).unwrap().review()
    }

    #[test]
    fn settings_that_cannot_do_what_they_are_for_are_odd() {
        let quickstart = crate::config::load::QUICKSTART;
        for (base, settings, words) in [
            (
                quickstart,
                &["train.steps=100", "train.warmup_steps=10000"][..],
                &["train.warmup_steps: found 10000", "1 %", "10 would do"][..],
            ),
            (
                quickstart,
                &["train.steps=100", "train.log_every=101"],
                &["train.log_every: found 101", "train.steps", "10 would do"],
            ),
            (quickstart, &["train.steps=99", "train.warmup_steps=9"], &["evaluation.every: found 100", "99 steps"]),
            (ONLINE, &["ppo.env_steps=4095"], &["ppo.env_steps: found 4095", "4096", "ppo.rollout_len to 102"]),
            (ONLINE, &["evaluation.every=9000"], &["evaluation.every: found 9000", "ppo.env_steps"]),
            (ONLINE, &["ppo.network=recurrent", "ppo.hidden=[7]"], &["ppo.hidden: found [7]", "ppo.network"]),
        ] {
            review(base, settings, false).unwrap();
            assert_says(&review(base, settings, true).expect_err(settings[0]).to_string(), words, settings);
        }
        for (base, settings) in
            [(quickstart, &[][..]), (quickstart, &["train.steps=100", "train.warmup_steps=99"]), (ONLINE, &[])]
        {
            review(base, settings, true).unwrap();
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let quickstart = crate::config::load::QUICKSTART;
        for (base, settings, words) in [
            (quickstart, &["env.options.max_episode_steps=null"][..], &["max_episode_steps: found null", "TMaze-v0"][..]),
            (ONLINE, &["env.options.max_episode_steps=null"], &["max_episode_steps: found null", "CartPole-v1"]),
            (quickstart, &["evaluation.target_returns=[1,0.5,0.5]"], &["evaluation.target_returns: found 0.5 and 0.5"]),
            (quickstart, &["evaluation.target_returns=[3600.4,3600.1]"], &["found 3600.4 and 3600.1"]),
            (ONLINE, &["ppo.minibatches=4096"], &["ppo.minibatches: found 4096", "at most 2048", "normalises to 0"]),
            (quickstart, &["policy.width=1048576"], &["policy.width: found policy.width 1048576", "TB"]),
        ] {
            assert_says(&review(base, settings, false).expect_err(settings[0]).to_string(), words, settings);
        }
        review(quickstart, &["evaluation.target_returns=[12000,12001]"], true).unwrap();
        review(ONLINE, &["ppo.minibatches=4096", "ppo.normalise_advantages=false"], true).unwrap();
    }
}
