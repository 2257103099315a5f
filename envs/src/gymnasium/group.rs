//! Environments that share a worker and take their steps together.

use serde::Deserialize;
use serde_json::Value;

use super::settings::Settings;
use super::worker::{Raised, Request, Worker};
use crate::env::{Action, Spec, Step, StepEnd};
use crate::error::EnvError;
use crate::space::Space;

/// Flags of a row.
const TERMINATED: u8 = 1;
const TRUNCATED: u8 = 2;
const FAILED: u8 = 4;

/// What a worker says of its environments.
#[derive(Deserialize)]
struct About {
    observation_space: Space,
    action_space: Space,
    max_episode_steps: Option<usize>,
    /// Gymnasium's own description, where it can write one.
    env_spec: Option<Value>,
    /// Of Python and the libraries.
    versions: String,
}

/// One environment among those of a worker.
#[derive(Default)]
struct Row {
    /// The action that was announced for its next step, as it is sent.
    announced: Option<Vec<u8>>,
    /// The step that was taken with the announced action, before anybody asked for it.
    taken: Option<(Vec<u8>, Outcome)>,
}

/// What became of a row in a request; the observation is in the row's place.
enum Outcome {
    Step(Step),
    Failed(EnvError),
}

/// Where the worker is.
enum Process {
    /// Nowhere yet: an environment may be made for its spec alone.
    Absent,
    /// Started, but it has not answered yet.
    Starting(Worker),
    Ready(Worker),
    /// It ended, and how that was told.
    Gone {
        worker: String,
        problem: String,
    },
}

/// The environments of one worker, which starts when the first episode begins.
pub(super) struct Group {
    settings: Settings,
    process: Process,
    rows: Vec<Row>,
    /// Rows whose environments the worker has made.
    made: usize,
    /// `[rows, observation width]`
    observations: Vec<f64>,
    /// Numbers of an observation.
    width: usize,
    answer: Vec<u8>,
}

impl Group {
    /// A group of one environment of a task that is known.
    pub(super) fn new(settings: Settings, spec: &Spec) -> Self {
        let width = spec.observation_space.width();
        let rows = vec![Row::default()];
        Self { settings, process: Process::Absent, rows, made: 0, observations: vec![0.0; width], width, answer: Vec::new() }
    }

    /// Starts a worker to learn what its task is, for us and, where it can be written, in Gymnasium's words.
    ///
    /// # Errors
    /// [`EnvError::Python`] for whatever keeps Python from making it, [`EnvError::Worker`] if the process ends.
    pub(super) fn learn(id: &str, settings: Settings) -> Result<(Self, Spec, Option<Value>), EnvError> {
        let mut worker = Worker::start(&settings)?;
        let (spec, env_spec) = greet(id, &mut worker)?;
        let mut group = Self::new(settings, &spec);
        (group.process, group.made) = (Process::Ready(worker), 1);
        Ok((group, spec, env_spec))
    }

    /// Begins to start the worker, if there is none.
    pub(super) fn prepare(&mut self) -> Result<(), EnvError> {
        if matches!(self.process, Process::Absent) {
            self.process = Process::Starting(Worker::start(&self.settings)?);
        }
        Ok(())
    }

    /// Takes in another environment, and gives its row.
    pub(super) fn add(&mut self) -> usize {
        self.rows.push(Row::default());
        self.observations.resize(self.rows.len() * self.width, 0.0);
        self.rows.len() - 1
    }

    /// Says which action the next step of a row will take.
    pub(super) fn announce(&mut self, row: usize, action: Action<'_>) {
        // A step that was taken already, and that nobody has asked for, is not taken again.
        if self.rows[row].taken.is_none() {
            self.rows[row].announced = Some(bytes_of(action));
        }
    }

    /// Begins an episode in a row.
    ///
    /// # Errors
    /// [`EnvError::Python`] for an exception, [`EnvError::Worker`] if the process ended.
    pub(super) fn reset(&mut self, spec: &Spec, row: usize, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvError> {
        self.rows[row] = Row::default();
        let is_seeded = [u8::from(seed.is_some())];
        let seed = seed.unwrap_or(0) & (u64::MAX >> (u64::BITS - self.settings.seed_bits));
        self.request(spec, Request::Reset, &[row], &[&seed.to_le_bytes(), &is_seeded])?;
        match self.rows[row].taken.take() {
            Some((_, Outcome::Failed(error))) => return Err(error),
            _ => observation.copy_from_slice(self.observation(row)),
        }
        Ok(())
    }

    /// Takes a step in a row, and in every other whose action was announced.
    ///
    /// # Errors
    /// As [`Group::reset`]; [`EnvError::Contract`] if another action was announced.
    pub(super) fn step(
        &mut self,
        spec: &Spec,
        row: usize,
        action: Action<'_>,
        observation: &mut [f64],
    ) -> Result<Step, EnvError> {
        let action = bytes_of(action);
        if self.rows[row].taken.is_none() {
            self.rows[row].announced = Some(action.clone());
            let rows: Vec<usize> = (0..self.rows.len()).filter(|&row| self.rows[row].announced.is_some()).collect();
            let actions: Vec<u8> = rows.iter().flat_map(|&row| self.rows[row].announced.clone().unwrap_or_default()).collect();
            self.request(spec, Request::Step, &rows, &[&actions])?;
        }
        match self.rows[row].taken.take() {
            Some((announced, _)) if announced != action => {
                let problem = "another action than the one that was announced for the step".into();
                Err(EnvError::Contract { env: spec.id.clone(), problem })
            }
            Some((_, Outcome::Failed(error))) => Err(error),
            Some((_, Outcome::Step(step))) => {
                observation.copy_from_slice(self.observation(row));
                Ok(step)
            }
            None => unreachable!("every row of a request has an outcome"),
        }
    }

    fn observation(&self, row: usize) -> &[f64] {
        &self.observations[row * self.width..][..self.width]
    }

    /// Sends a request about some rows, waits for the answer, and gives each row its outcome.
    fn request(&mut self, spec: &Spec, request: Request, rows: &[usize], parts: &[&[u8]]) -> Result<(), EnvError> {
        let done = self.ready(spec).and_then(|()| {
            let Process::Ready(worker) = &mut self.process else { unreachable!("it has been made ready") };
            let numbers: Vec<u8> = rows.iter().flat_map(|&row| (row as u32).to_le_bytes()).collect();
            worker.send(request, &[&[&numbers[..]], parts].concat())?;
            worker.receive(&mut self.answer)
        });
        if let Err(error) = done {
            if let EnvError::Worker { worker, problem, .. } = &error {
                self.process = Process::Gone { worker: worker.clone(), problem: problem.clone() };
            }
            return Err(error);
        }
        self.give_out(spec, request, rows)
    }

    /// The answer to a request, row by row.
    fn give_out(&mut self, spec: &Spec, request: Request, rows: &[usize]) -> Result<(), EnvError> {
        let (count, width) = (rows.len(), self.width);
        let lengths = [8 * count * width, 8 * count, count];
        let Process::Ready(worker) = &self.process else { unreachable!("it has just answered") };
        if self.answer.len() < lengths.iter().sum() {
            return Err(worker.error(format!(
                "answered {} bytes, expected {}",
                self.answer.len(),
                lengths.iter().sum::<usize>()
            )));
        }
        let (observations, rest) = self.answer.split_at(lengths[0]);
        let (rewards, rest) = rest.split_at(lengths[1]);
        let (flags, failures) = rest.split_at(lengths[2]);
        let failures: Vec<Raised> = match failures {
            [] => Vec::new(),
            text => serde_json::from_slice(text).map_err(|error| worker.error(error.to_string()))?,
        };
        for (place, &row) in rows.iter().enumerate() {
            let seen = &mut self.observations[row * width..][..width];
            seen.iter_mut().zip(numbers(&observations[8 * place * width..])).for_each(|(seen, number)| *seen = number);
            let reward = numbers(&rewards[8 * place..]).next().unwrap_or(f64::NAN);
            let flags = flags[place];
            let what = if request == Request::Step { "step" } else { "reset" };
            let problem = if flags & FAILED != 0 {
                let raised = failures.iter().find(|raised| raised.row == place);
                Some(format!("{what} raised {}", raised.map_or("an exception".into(), Raised::told)))
            } else if let Some(component) = seen.iter().position(|number| !number.is_finite()) {
                Some(format!("{what} gave {} as number {component} of the observation", seen[component]))
            } else {
                (!reward.is_finite()).then(|| format!("{what} gave the reward {reward}"))
            };
            let end = StepEnd { terminated: flags & TERMINATED != 0, truncated: flags & TRUNCATED != 0 };
            let outcome = match problem {
                Some(problem) => Outcome::Failed(EnvError::Python { env: spec.id.clone(), problem }),
                None => Outcome::Step(Step { reward, end }),
            };
            let action = self.rows[row].announced.take().unwrap_or_default();
            self.rows[row].taken = Some((action, outcome));
        }
        Ok(())
    }

    /// Sees to it that the worker is there and has as many environments as there are rows.
    fn ready(&mut self, spec: &Spec) -> Result<(), EnvError> {
        self.prepare()?;
        if let Process::Starting(_) = self.process {
            let gone = Process::Gone { worker: "the worker".into(), problem: "could not be started".into() };
            let Process::Starting(mut worker) = std::mem::replace(&mut self.process, gone) else {
                unreachable!("it is starting")
            };
            let (found, _) = greet(&spec.id, &mut worker)?;
            if found != *spec {
                let problem = "its spaces or its time limit are not what they were when it was first made".into();
                return Err(EnvError::Contract { env: spec.id.clone(), problem });
            }
            (self.process, self.made) = (Process::Ready(worker), 1);
        }
        match &mut self.process {
            Process::Ready(worker) if self.made < self.rows.len() => {
                let missing = (self.rows.len() - self.made) as u32;
                worker.send(Request::Make, &[&missing.to_le_bytes()])?;
                worker.receive(&mut self.answer)?;
                self.made = self.rows.len();
                Ok(())
            }
            Process::Gone { worker, problem } => {
                let (env, worker, problem) = (spec.id.clone(), worker.clone(), problem.clone());
                Err(EnvError::Worker { env, worker, problem })
            }
            _ => Ok(()),
        }
    }
}

/// Waits until a worker has made its first environment, and gives its spec, for us and in Gymnasium's words.
fn greet(id: &str, worker: &mut Worker) -> Result<(Spec, Option<Value>), EnvError> {
    let mut answer = Vec::new();
    worker.receive(&mut answer)?;
    let about: About = serde_json::from_slice(&answer).map_err(|error| worker.error(error.to_string()))?;
    tracing::info!("{id}: {}", about.versions);
    let About { observation_space, action_space, max_episode_steps, env_spec, .. } = about;
    Ok((Spec { id: id.into(), observation_space, action_space, max_episode_steps, restorable: false }, env_spec))
}

/// An action as it is sent.
fn bytes_of(action: Action<'_>) -> Vec<u8> {
    match action {
        Action::Discrete(index) => index.to_le_bytes().into(),
        Action::F32(values) => values.iter().flat_map(|&value| f64::from(value).to_le_bytes()).collect(),
        Action::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

/// The 64-bit floats at the front of some bytes.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes))
}
