//! Any environment of Gymnasium, in Python processes: `gymnasium:LunarLander-v3`.
//!
//! Environments that are stepped together share a process, the worker, which needs nothing but numpy and gymnasium. The actions of a
//! vector step go there in one frame, and observations, rewards and flags come back in one (`worker.rs` has the format). Nothing of
//! Python is linked in: an environment that crashes ends its worker, and the job with one error that names it.

mod group;
mod settings;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use crate::delayed_reward::DelayedReward;
use crate::env::{Action, Env, Spec, Step};
use crate::error::EnvError;
use crate::options::OptionInfo;
use crate::task::Outcome;
use group::Group;
use settings::Settings;
pub use settings::set_interpreter;

/// Options of every `gymnasium:` environment, beside `max_episode_steps` (Gymnasium's own limit where absent) and `reward_delay`.
pub const GYMNASIUM_OPTIONS: &[OptionInfo] = settings::OPTIONS;

/// The name that Gymnasium has for an environment, if it is one of Gymnasium's: `gymnasium:CartPole-v1` is `CartPole-v1`.
pub fn gymnasium_name(id: &str) -> Option<&str> {
    id.strip_prefix(settings::PREFIX)
}

/// Checks the options of a `gymnasium:` environment, without Python.
///
/// # Errors
/// [`EnvError::Option`] for an unknown key or a value that it cannot have.
pub(crate) fn check(id: &str, options: &Map<String, Value>) -> Result<(), EnvError> {
    Settings::new(id, options).map(|_| ())
}

/// Environments that were made in this process, by their settings: most are made for their specs alone, and starting a worker takes
/// a second. The spec for us, and in Gymnasium's words.
type Known = HashMap<String, (Spec, Option<Value>)>;

static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

fn with_known<R>(of: impl FnOnce(&mut Known) -> R) -> R {
    of(KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// What Gymnasium itself writes of a `gymnasium:` environment (`EnvSpec.to_json`), with the arguments and wrappers that it has by
/// registration. `None` for any other task, one that was not yet made in this process, and one that Gymnasium cannot write.
pub fn gymnasium_spec(id: &str, options: &Map<String, Value>) -> Option<Value> {
    gymnasium_name(id)?;
    let key = serde_json::to_string(&Settings::new(id, options).ok()?).ok()?;
    with_known(|known| known.get(&key)?.1.clone())
}

/// Makes a `gymnasium:` environment. The first of its kind starts Python; others do when their first episode begins.
///
/// # Errors
/// [`EnvError::Option`], [`EnvError::Python`] with the exception's text, [`EnvError::Worker`] if the process ends.
pub(crate) fn make(id: &str, options: &Map<String, Value>) -> Result<Box<dyn Env>, EnvError> {
    let settings = Settings::new(id, options)?;
    let (delay, key) = (settings.reward_delay, serde_json::to_string(&settings).unwrap_or_default());
    let (group, spec) = match with_known(|known| known.get(&key).cloned()) {
        Some((spec, _)) => (Group::new(settings, &spec), spec),
        None => {
            let (group, spec, env_spec) = Group::learn(id, settings)?;
            with_known(|known| known.insert(key, (spec.clone(), env_spec)));
            (group, spec)
        }
    };
    let delay = delay.map(DelayedReward::new);
    Ok(Box::new(PythonEnv { spec, group: Arc::new(Mutex::new(group)), row: 0, elapsed: 0, running: false, delay }))
}

/// One environment of a group.
struct PythonEnv {
    spec: Spec,
    group: Arc<Mutex<Group>>,
    row: usize,
    /// Steps since the episode began.
    elapsed: usize,
    /// Between a reset and the end of its episode.
    running: bool,
    delay: Option<DelayedReward>,
}

impl PythonEnv {
    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Env for PythonEnv {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvError> {
        self.spec.check_observation(observation)?;
        self.running = false;
        self.group().reset(&self.spec, self.row, seed, observation)?;
        self.delay.iter_mut().for_each(DelayedReward::begin);
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
        let Step { reward, end } = self.group().step(&self.spec, self.row, action, observation)?;
        self.elapsed += 1;
        self.running = !end.is_end();
        // What ends the episode, in whatever way, is what its rewards are paid at.
        let outcome = Outcome { reward, terminated: end.is_end() };
        Ok(Step { reward: self.delay.as_mut().map_or(reward, |delay| delay.pay(outcome, None)), end })
    }

    fn announce(&mut self, action: Action<'_>) {
        if self.running && self.spec.check_action(action, self.elapsed + 1).is_ok() {
            self.group().announce(self.row, action);
        }
    }

    fn siblings(&mut self, count: usize) -> Result<Option<Vec<Box<dyn Env>>>, EnvError> {
        let mut group = self.group();
        group.prepare()?;
        let rows: Vec<usize> = (0..count).map(|_| group.add()).collect();
        drop(group);
        let sibling = |row| -> Box<dyn Env> {
            let delay = self.delay.as_ref().map(DelayedReward::anew);
            let (spec, group) = (self.spec.clone(), self.group.clone());
            Box::new(PythonEnv { spec, group, row, elapsed: 0, running: false, delay })
        };
        Ok(Some(rows.into_iter().map(sibling).collect()))
    }
}
