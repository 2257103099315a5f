//! Rewards that are paid some steps after they were earned, or at the end of the episode.

use crate::error::EnvError;
use crate::task::{Outcome, whole};

/// When rewards are paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RewardDelay {
    /// After every so many steps of an episode, and at its end.
    Steps(u64),
    /// At the end of the episode.
    Episode,
}

/// Holds the rewards of a task back and pays them as one sum; in between the reward is 0. The sum over an episode does not change.
///
/// What is owed at the end of an episode is paid in its last step, whether that step is terminated or truncated, so paying takes
/// the time limit. An episode that has no limit and never terminates pays nothing with [`RewardDelay::Episode`].
///
/// # State
/// The sum that is owed, and the steps of the episode so far; they follow the task's own.
pub(crate) struct DelayedReward {
    delay: RewardDelay,
    owed: f64,
    steps: u64,
}

impl DelayedReward {
    /// Numbers of the state.
    pub(crate) const STATE_WIDTH: usize = 2;

    pub(crate) fn new(delay: RewardDelay) -> Self {
        Self { delay, owed: 0.0, steps: 0 }
    }

    /// The same for another environment.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.delay)
    }

    /// Begins an episode.
    pub(crate) fn begin(&mut self) {
        (self.owed, self.steps) = (0.0, 0);
    }

    /// The reward that is paid at a step.
    pub(crate) fn pay(&mut self, Outcome { reward, terminated }: Outcome, limit: Option<usize>) -> f64 {
        self.steps += 1;
        self.owed += reward;
        let is_payday = matches!(self.delay, RewardDelay::Steps(steps) if self.steps.is_multiple_of(steps));
        let is_paid = is_payday || terminated || limit.is_some_and(|limit| self.steps >= limit as u64);
        if is_paid { std::mem::take(&mut self.owed) } else { 0.0 }
    }

    pub(crate) fn state(&self) -> [f64; Self::STATE_WIDTH] {
        [self.owed, self.steps as f64]
    }

    /// The same in another state.
    ///
    /// # Errors
    /// [`EnvError::State`] for a number of steps that is none.
    pub(crate) fn with_state(&self, env: &str, state: &[f64]) -> Result<Self, EnvError> {
        let (owed, steps) = (state[0], state[1]);
        let problem = || format!("has {steps} steps behind it, expected an integer from 0 to {}", u32::MAX);
        let steps = whole(steps, 0, u32::MAX.into()).ok_or_else(|| EnvError::state(env, problem()))?;
        Ok(Self { delay: self.delay, owed, steps })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Action, EnvError, StepEnd, fixtures, make};
    use serde_json::{Value, json};

    /// Rewards and ends of one episode of some options: CartPole terminates, Pendulum is truncated.
    fn episode(id: &str, options: Value, action: &dyn Fn(usize) -> Vec<f32>) -> (Vec<f64>, Vec<StepEnd>) {
        let mut env = make(id, &fixtures::options(options)).unwrap();
        let mut observation = vec![0.0; env.spec().observation_space.width()];
        env.reset(Some(11), &mut observation).unwrap();
        let (mut rewards, mut ends) = (vec![], vec![]);
        while ends.last().is_none_or(|end: &StepEnd| !end.is_end()) {
            let value = action(rewards.len());
            let discrete = env.spec().action_space.is_discrete();
            let action = if discrete { Action::Discrete(value[0] as i64) } else { Action::F32(&value) };
            let step = env.step(action, &mut observation).unwrap();
            rewards.push(step.reward);
            ends.push(step.end);
        }
        (rewards, ends)
    }

    #[test]
    fn sums_are_kept_and_ends_stay_as_they_are() {
        for (id, limit, terminates) in
            [("CartPole-v1", 500, true), ("CartPole-v1", 7, false), ("Pendulum-v1", 200, false), ("Pendulum-v1", 23, false)]
        {
            let action = |t: usize| vec![if id == "CartPole-v1" { 1.0 } else { (t % 5) as f32 * 0.3 - 0.4 }];
            let (plain, ends) = episode(id, json!({ "max_episode_steps": limit }), &action);
            let last = ends[ends.len() - 1];
            assert_eq!((last.terminated, last.truncated), (terminates, !terminates), "{id}");
            assert!(terminates || plain.len() == limit);
            for (delay, every) in [(json!(1), 1), (json!(3), 3), (json!(1000), 1000), (json!("episode"), usize::MAX)] {
                let (delayed, same_ends) = episode(id, json!({"max_episode_steps": limit, "reward_delay": delay}), &action);
                assert_eq!(same_ends, ends, "{id}, {delay}");
                let mut owed = 0.0;
                for (t, (now, late)) in plain.iter().zip(&delayed).enumerate() {
                    owed += now;
                    let paid = (t + 1) % every == 0 || t + 1 == plain.len();
                    assert!((late - if paid { owed } else { 0.0 }).abs() < 1e-9, "{id}, {delay}, step {t}: {late}, owed {owed}");
                    owed = if paid { 0.0 } else { owed };
                }
            }
        }
    }

    #[test]
    fn a_state_carries_what_is_owed() {
        let options = fixtures::options(json!({"max_episode_steps": 9, "reward_delay": 4}));
        let [mut env, mut copy] = [(); 2].map(|()| make("Pendulum-v1", &options).unwrap());
        let (mut observation, mut seen) = ([0.0; 3], [0.0; 3]);
        env.reset(Some(2), &mut observation).unwrap();
        for _ in 0..6 {
            env.step(Action::F32(&[0.5]), &mut observation).unwrap();
        }
        let mut state = vec![];
        env.state(&mut state).unwrap();
        assert_eq!((state.len(), state[3]), (4, 6.0));
        assert!(state[2] < 0.0, "two rewards are owed: {state:?}");
        copy.set_state(&state, &mut seen).unwrap();
        assert_eq!(seen, observation);
        for step in 7..=9 {
            let (ours, theirs) =
                (env.step(Action::F32(&[0.5]), &mut observation).unwrap(), copy.step(Action::F32(&[0.5]), &mut seen).unwrap());
            assert_eq!((ours.reward, ours.reward != 0.0), (theirs.reward, step != 7), "step {step}");
            assert_eq!(ours.end.truncated, step == 9);
            // A state set by hand begins an episode as far as the limit goes.
            assert!(!theirs.end.truncated);
        }
        for wrong in [[0.0, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, -1.0]] {
            assert!(matches!(copy.set_state(&wrong, &mut seen), Err(EnvError::State { .. })), "{wrong:?}");
        }
        assert_eq!((env.qpos_width(), copy.spec().max_episode_steps), (None, Some(9)));
    }

    #[test]
    fn a_step_with_delayed_rewards_needs_a_reset_after_the_end() {
        let mut env =
            make("Pendulum-v1", &fixtures::options(json!({"max_episode_steps": 2, "reward_delay": "episode"}))).unwrap();
        let mut observation = [0.0; 3];
        for episode in 0..3 {
            env.reset((episode == 0).then_some(4), &mut observation).unwrap();
            assert_eq!(env.step(Action::F32(&[0.0]), &mut observation).unwrap().reward, 0.0);
            assert!(env.step(Action::F32(&[0.0]), &mut observation).unwrap().reward < 0.0);
            assert!(matches!(env.step(Action::F32(&[0.0]), &mut observation), Err(EnvError::ResetNeeded { .. })));
        }
    }

    #[cfg(feature = "mujoco")]
    #[test]
    fn a_robot_pays_at_its_fall() {
        let hop = |options| episode("Hopper-v5", options, &|_| vec![0.9, -0.7, 0.5]);
        let (plain, ends) = hop(json!({}));
        let (delayed, same_ends) = hop(json!({"reward_delay": "episode"}));
        assert_eq!(ends, same_ends);
        assert!(ends[ends.len() - 1].terminated && !ends[ends.len() - 1].truncated);
        assert!((plain.iter().sum::<f64>() - delayed[delayed.len() - 1]).abs() < 1e-9);
        assert!(delayed[..delayed.len() - 1].iter().all(|&reward| reward == 0.0));
    }
}
