//! An update and a decision of real size, to time them: nothing is played, and nothing is kept.

use std::time::Instant;

use aaren_envs::Spec;
use anyhow::Result;

use super::learner::Learner;
use super::training::describe;
use crate::config::{Network, PpoJob};
use crate::device::CPU;
use crate::exchange::Ranks;

/// Updates and decisions that are timed, after one that is not.
const TIMES: u32 = 3;

/// What the parts of an iteration take, in seconds.
pub(crate) struct Trial {
    /// One optimizer step.
    pub(crate) update: f64,
    /// One decision for all environments of a group, without a step of the environments.
    pub(crate) decision: f64,
}

/// Makes updates and decisions as a training would, on observations of zeros, and times them.
///
/// # Errors
/// If no policy can act in the task's action space.
pub(crate) fn trial(job: &PpoJob, spec: &Spec) -> Result<Trial> {
    let ppo = &job.ppo;
    let mut learner = Learner::new(describe(job, spec)?, ppo, job.seed)?;
    let (envs, timesteps) = (ppo.envs_per_group, ppo.envs * ppo.rollout_len / ppo.minibatches);
    let (sequences, indices) = match ppo.network {
        Network::Mlp => (vec![learner.blank(timesteps, timesteps)], timesteps),
        Network::Recurrent => {
            let groups = ppo.groups() / ppo.minibatches;
            (vec![learner.blank(envs, envs * ppo.rollout_len); groups], groups)
        }
    };
    let minibatch = learner.minibatch(&sequences, &(0..indices).collect::<Vec<_>>());
    let update = seconds(|| learner.update(&minibatch, ppo.learning_rate, None, &Ranks::alone()).map(drop))?;
    let policy = learner.policy();
    let inputs = vec![0.0; envs * policy.description.input_width()];
    let mut state = Some(policy.initial_state(envs, &CPU));
    let decision = seconds(|| {
        let before = state.take().expect("every decision leaves a state");
        state = Some(policy.act(&inputs, &vec![false; envs], before, &CPU).1);
        Ok(())
    })?;
    Ok(Trial { update, decision })
}

fn seconds(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    let started = Instant::now();
    (0..TIMES).try_for_each(|_| work())?;
    Ok(started.elapsed().as_secs_f64() / f64::from(TIMES))
}
