//! The wrapper around every task: order of calls, argument checks, the generator, and the time limit.

use crate::delayed_reward::DelayedReward;
use crate::env::{Action, Env, Spec, Step, StepEnd};
use crate::error::EnvError;
use crate::options::Options;
use crate::rng::Generator;
use crate::task::Task;

/// A [`Task`] as an [`Env`]: keeps the generator, refuses calls out of order or with wrong arguments, and truncates an episode
/// when its steps reach the limit (an already terminated one keeps that flag too).
pub struct TimeLimit<T> {
    spec: Spec,
    task: T,
    generator: Option<Generator>,
    /// Steps since the episode began.
    elapsed: usize,
    /// Between a reset and the end of its episode.
    running: bool,
    /// Holds rewards back, where an option says so. It changes neither flag.
    delay: Option<DelayedReward>,
}

impl<T: Task> TimeLimit<T> {
    /// Wraps `task` under the name `id`, with a limit in environment steps (`None`: no limit).
    ///
    /// # Errors
    /// [`EnvError::Option`] for a limit of 0.
    pub fn new(id: &str, task: T, max_episode_steps: Option<usize>) -> Result<Self, EnvError> {
        if max_episode_steps == Some(0) {
            return Err(EnvError::Option {
                env: id.into(),
                key: "max_episode_steps".into(),
                problem: "0 leaves no step; expected at least 1".into(),
            });
        }
        let spec = Spec {
            id: id.into(),
            observation_space: task.observation_space(),
            action_space: task.action_space(),
            max_episode_steps,
            restorable: task.state_width().is_some(),
        };
        Ok(Self { spec, task, generator: None, elapsed: 0, running: false, delay: None })
    }

    /// Wraps `task` under its own time limit, unless the options `max_episode_steps` and `reward_delay` say otherwise.
    ///
    /// # Errors
    /// [`EnvError::Option`] for a value of these two that is out of range.
    pub fn boxed(task: T, options: &Options) -> Result<Box<dyn Env>, EnvError>
    where
        T: 'static,
    {
        let (id, limit) = (options.env(), options.max_episode_steps(task.max_episode_steps())?);
        let delay = options.reward_delay()?.map(DelayedReward::new);
        Ok(Box::new(Self { delay, ..Self::new(id, task, limit)? }))
    }

    fn state_width(&self, what: &'static str) -> Result<usize, EnvError> {
        let width = self.task.state_width().ok_or_else(|| EnvError::Unsupported { env: self.spec.id.clone(), what })?;
        Ok(width + if self.delay.is_some() { DelayedReward::STATE_WIDTH } else { 0 })
    }
}

impl<T: Task> Env for TimeLimit<T> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvError> {
        self.spec.check_observation(observation)?;
        if let Some(seed) = seed {
            self.generator = Some(Generator::from_seed(seed));
        }
        self.running = false;
        self.delay.iter_mut().for_each(DelayedReward::begin);
        self.task.reset(self.generator.get_or_insert_with(Generator::from_os), observation)?;
        (self.elapsed, self.running) = (0, true);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Step, EnvError> {
        if !self.running {
            return Err(EnvError::ResetNeeded { env: self.spec.id.clone() });
        }
        self.spec.check_observation(observation)?;
        self.spec.check_action(action, self.elapsed + 1)?;
        // After an error the episode is over.
        self.running = false;
        let outcome = self.task.step(action, observation).map_err(|error| match error {
            EnvError::Simulation { env, warning, .. } => EnvError::Simulation { env, step: self.elapsed + 1, warning },
            other => other,
        })?;
        self.elapsed += 1;
        let limit = self.spec.max_episode_steps;
        let truncated = limit.is_some_and(|limit| self.elapsed >= limit);
        let end = StepEnd { terminated: outcome.terminated, truncated };
        self.running = !end.is_end();
        let reward = self.delay.as_mut().map_or(outcome.reward, |delay| delay.pay(outcome, limit));
        Ok(Step { reward, end })
    }

    fn info(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        self.task.info(visit)
    }

    fn qpos_width(&self) -> Option<usize> {
        // What is owed is no velocity.
        if self.delay.is_some() { None } else { self.task.qpos_width() }
    }

    fn state(&self, state: &mut Vec<f64>) -> Result<(), EnvError> {
        self.state_width("reading its state")?;
        self.task.state(state);
        state.extend(self.delay.iter().flat_map(DelayedReward::state));
        Ok(())
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        let width = self.state_width("setting its state")?;
        EnvError::check_length(&self.spec.id, "state", state.len(), width)?;
        self.spec.check_observation(observation)?;
        if let Some(i) = state.iter().position(|value| !value.is_finite()) {
            return Err(EnvError::state(&self.spec.id, format!("has {} at number {i}", state[i])));
        }
        self.running = false;
        let (of_task, of_delay) = state.split_at(self.task.state_width().unwrap_or_default());
        let delay = self.delay.as_ref().map(|delay| delay.with_state(&self.spec.id, of_delay)).transpose()?;
        self.task.set_state(of_task, observation)?;
        self.delay = delay;
        (self.elapsed, self.running) = (0, true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Dtype, Space};
    use crate::task::Outcome;

    /// Counts its steps and terminates at the third.
    struct Three(f64);

    impl Task for Three {
        fn observation_space(&self) -> Space {
            Space::uniform_box(1, 0.0, 3.0, Dtype::Float64)
        }
        fn action_space(&self) -> Space {
            Space::Discrete { n: 2, start: -1 }
        }
        fn max_episode_steps(&self) -> Option<usize> {
            None
        }
        fn reset(&mut self, _: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
            self.0 = 0.0;
            observation[0] = self.0;
            Ok(())
        }
        fn step(&mut self, _: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
            self.0 += 1.0;
            observation[0] = self.0;
            Ok(Outcome { reward: 1.0, terminated: self.0 == 3.0 })
        }
    }

    fn ends(limit: Option<usize>) -> Vec<StepEnd> {
        let mut env = TimeLimit::new("Three-v0", Three(0.0), limit).unwrap();
        let mut observation = [0.0];
        env.reset(Some(1), &mut observation).unwrap();
        let mut ends = vec![];
        while ends.last().is_none_or(|end: &StepEnd| !end.is_end()) {
            ends.push(env.step(Action::Discrete(-1), &mut observation).unwrap().end);
        }
        assert!(matches!(env.step(Action::Discrete(-1), &mut observation), Err(EnvError::ResetNeeded { .. })));
        ends
    }

    #[test]
    fn the_limit_truncates_and_never_hides_a_termination() {
        let end = |terminated, truncated| StepEnd { terminated, truncated };
        let on = end(false, false);
        assert_eq!(ends(None), [on, on, end(true, false)]);
        assert_eq!(ends(Some(4)), [on, on, end(true, false)]);
        assert_eq!(ends(Some(3)), [on, on, end(true, true)]);
        assert_eq!(ends(Some(2)), [on, end(false, true)]);
        assert_eq!(ends(Some(1)), [end(false, true)]);
        assert!(matches!(TimeLimit::new("Three-v0", Three(0.0), Some(0)), Err(EnvError::Option { .. })));
    }

    #[test]
    fn a_discrete_action_is_counted_from_the_start_of_its_space() {
        let mut env = TimeLimit::new("Three-v0", Three(0.0), None).unwrap();
        let mut observation = [0.0];
        env.reset(Some(1), &mut observation).unwrap();
        for index in [-2, 1, i64::MIN, i64::MAX] {
            let error = env.step(Action::Discrete(index), &mut observation).unwrap_err();
            assert_eq!(error.to_string(), format!("Three-v0: step 1: action {index}, expected an index from -1 to 0"));
        }
        env.step(Action::Discrete(0), &mut observation).unwrap();
        let error = env.step(Action::F32(&[f32::NAN]), &mut observation).unwrap_err();
        assert_eq!(error.to_string(), "Three-v0: step 2: action of 1 floats, expected an index from -1 to 0");
    }

    #[test]
    fn a_task_without_a_state_says_so() {
        let mut env = TimeLimit::new("Three-v0", Three(0.0), None).unwrap();
        assert_eq!(env.state(&mut vec![]).unwrap_err().to_string(), "Three-v0 does not support reading its state");
        assert!(matches!(env.set_state(&[1.0], &mut [0.0]), Err(EnvError::Unsupported { .. })));
        assert!(!env.spec().restorable);
    }

    #[test]
    fn a_spec_that_says_nothing_of_storing_is_of_a_task_that_can_be_stored() {
        let spec = crate::make("CartPole-v1", &Default::default()).unwrap().spec().clone();
        let written = serde_json::to_value(&spec).unwrap();
        assert!(written.get("restorable").is_none(), "what is written of our tasks stays as it was");
        assert_eq!(serde_json::from_value::<Spec>(written).unwrap(), spec);
        let other = Spec { restorable: false, ..spec };
        assert_eq!(serde_json::from_value::<Spec>(serde_json::to_value(&other).unwrap()).unwrap(), other);
    }
}
