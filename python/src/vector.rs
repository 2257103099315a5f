//! Copies of a task that are stepped together, in threads where that pays.

use std::sync::Mutex;

use aaren_envs::{Action, Autoreset, Dtype, EnvError, Spec, StepEnd};
use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use rayon::ThreadPool;
use rayon::prelude::*;
use serde_json::json;

use crate::env::{dtype, options, warn_of_divergence};
use crate::error::{env_error, lock, reset_needed, wrong_value};
use crate::{arrays, fork};

/// Diagnostics by name: an array of `float64`, and one of `bool` that says which copies have it.
type Infos<'py> = Vec<(String, Bound<'py, PyByteArray>, Bound<'py, PyByteArray>)>;

/// Observations and diagnostics of all copies.
type Observed<'py> = (Bound<'py, PyByteArray>, Infos<'py>);

/// Rows whose episode ended in the same step: which, their last observations, and their last diagnostics.
type Finals<'py> = (Vec<usize>, Bound<'py, PyByteArray>, Infos<'py>);

/// Observations, rewards, both flags, diagnostics, and the ends of episodes.
type Stepped<'py> = (
    Bound<'py, PyByteArray>,
    Bound<'py, PyByteArray>,
    Bound<'py, PyByteArray>,
    Bound<'py, PyByteArray>,
    Infos<'py>,
    Option<Finals<'py>>,
);

/// Copies of one task.
#[pyclass(frozen, module = "aaren._aaren")]
pub(crate) struct VectorEnv {
    inner: Mutex<Inner>,
}

struct Inner {
    blocks: Vec<Block>,
    spec: Spec,
    dtype: Dtype,
    mode: Autoreset,
    copies: usize,
    /// Threads for all blocks but the first, and the process that they are of.
    pool: Option<(u32, ThreadPool)>,
}

/// Neighbouring copies, which one thread steps.
struct Block {
    env: aaren_envs::VectorEnv,
    /// The first copy's number.
    first: usize,
    rows: Vec<Row>,
}

/// What a copy's last step came to.
#[derive(Clone, Default)]
struct Row {
    reward: f64,
    end: StepEnd,
    /// Whether there is no episode to take a step in.
    needs_reset: bool,
    /// Whether that is because one ended, in a mode that begins the next one by itself.
    is_over: bool,
    /// Whether the simulation diverged in the last step.
    diverged: bool,
    /// The last observation of the episode that diverged, in same-step mode.
    final_observation: Vec<f64>,
}

/// Actions of all copies.
enum Actions {
    Discrete(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Actions {
    fn row(&self, row: usize, width: usize) -> Action<'_> {
        let range = row * width..(row + 1) * width;
        match self {
            Actions::Discrete(actions) => Action::Discrete(actions[row]),
            Actions::F32(actions) => Action::F32(&actions[range]),
            Actions::F64(actions) => Action::F64(&actions[range]),
        }
    }
}

#[pymethods]
impl VectorEnv {
    #[new]
    fn new(py: Python<'_>, id: &str, options_json: &str, copies: usize, threads: usize, autoreset: &str) -> PyResult<Self> {
        let mode = match autoreset {
            "NextStep" => Autoreset::NextStep,
            "SameStep" => Autoreset::SameStep,
            "Disabled" => Autoreset::Disabled,
            other => return Err(wrong_value(format!("autoreset_mode: {other}, expected NextStep, SameStep or Disabled"))),
        };
        if copies == 0 || threads == 0 {
            let (name, count) = if copies == 0 { ("num_envs", copies) } else { ("threads", threads) };
            return Err(wrong_value(format!("{name}: {count}, expected at least 1")));
        }
        let (options, threads) = (options(options_json)?, threads.min(copies));
        let made = py.detach(|| {
            let block = |block: usize| {
                let (first, next) = (block * copies / threads, (block + 1) * copies / threads);
                let env = aaren_envs::VectorEnv::make(id, &options, next - first, mode)?;
                let row = Row { needs_reset: true, ..Row::default() };
                Ok(Block { env, first, rows: vec![row; next - first] })
            };
            (0..threads).map(block).collect::<Result<Vec<Block>, EnvError>>()
        });
        let blocks = made.map_err(|error| env_error(py, error))?;
        let spec = blocks[0].env.spec().clone();
        let dtype = dtype(&spec.observation_space);
        Ok(Self { inner: Mutex::new(Inner { blocks, spec, dtype, mode, copies, pool: None }) })
    }

    /// The task's spec as JSON.
    fn spec(&self) -> String {
        json!(lock(&self.inner).spec).to_string()
    }

    /// Starts an episode in every copy, or in those that `mask`, an array of `bool`, marks. `seeds` has one for every copy.
    fn reset<'py>(&self, py: Python<'py>, seeds: Vec<Option<u64>>, mask: Option<&[u8]>) -> PyResult<Observed<'py>> {
        let inner = &mut *lock_without_gil(py, &self.inner);
        let copies = inner.copies;
        if seeds.len() != copies {
            return Err(wrong_value(format!("seed: {} seeds for {copies} copies", seeds.len())));
        }
        let mask = match mask {
            Some(mask) => arrays::to_bool("reset_mask", mask, copies)?,
            None => vec![true; copies],
        };
        let outcome = py.detach(|| inner.each_block(|block| block.reset(&seeds, &mask)))?;
        outcome.map_err(|error| env_error(py, error))?;
        Ok((inner.observations(py)?, inner.infos(py, &mask)?))
    }

    /// Takes discrete actions, an array of `int64`.
    fn step_index<'py>(&self, py: Python<'py>, actions: &[u8]) -> PyResult<Stepped<'py>> {
        let inner = &mut *lock_without_gil(py, &self.inner);
        let actions = arrays::to_i64("actions", actions, inner.copies)?;
        inner.step(py, &Actions::Discrete(actions))
    }

    /// Takes actions of `float32`, `[copies, action width]`.
    fn step_f32<'py>(&self, py: Python<'py>, actions: &[u8]) -> PyResult<Stepped<'py>> {
        let inner = &mut *lock_without_gil(py, &self.inner);
        let actions = arrays::to_f32("actions", actions, inner.copies * inner.spec.action_space.width())?;
        inner.step(py, &Actions::F32(actions))
    }

    /// Takes actions of `float64`, `[copies, action width]`.
    fn step_f64<'py>(&self, py: Python<'py>, actions: &[u8]) -> PyResult<Stepped<'py>> {
        let inner = &mut *lock_without_gil(py, &self.inner);
        let actions = arrays::to_f64("actions", actions, inner.copies * inner.spec.action_space.width())?;
        inner.step(py, &Actions::F64(actions))
    }
}

/// A lock that another thread may hold for as long as a step takes, which that thread ends with the interpreter's lock.
fn lock_without_gil<'a, T: Send>(py: Python<'_>, mutex: &'a Mutex<T>) -> std::sync::MutexGuard<'a, T> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => py.detach(std::thread::yield_now),
        }
    }
}

impl Inner {
    /// Does something with every block, in threads where there are several.
    fn each_block(&mut self, work: impl Fn(&mut Block) -> Result<(), EnvError> + Send + Sync) -> PyResult<Result<(), EnvError>> {
        if let [block] = &mut self.blocks[..] {
            return Ok(work(block));
        }
        let this = std::process::id();
        if self.pool.as_ref().is_none_or(|(owner, _)| *owner != this) {
            // The threads of a pool that was forked are not here to be ended.
            std::mem::forget(self.pool.take());
            self.pool = Some((this, fork::own_pool(self.blocks.len())?));
        }
        let Some((_, pool)) = &self.pool else { unreachable!("it was made above") };
        let blocks = &mut self.blocks;
        let outcomes: Vec<_> = pool.install(|| blocks.par_iter_mut().with_max_len(1).map(work).collect());
        Ok(outcomes.into_iter().collect())
    }

    fn step<'py>(&mut self, py: Python<'py>, actions: &Actions) -> PyResult<Stepped<'py>> {
        self.check(py, actions)?;
        let (width, mode) = (self.spec.action_space.width(), self.mode);
        let outcome = py.detach(|| self.each_block(|block| block.step(actions, width, mode)))?;
        outcome.map_err(|error| env_error(py, error))?;
        let rows = || self.blocks.iter().flat_map(|block| &block.rows);
        let rewards: Vec<f64> = rows().map(|row| row.reward).collect();
        let terminated: Vec<bool> = rows().map(|row| row.end.terminated).collect();
        let truncated: Vec<bool> = rows().map(|row| row.end.truncated).collect();
        let infos = self.infos(py, &vec![true; self.copies])?;
        let finals = if mode == Autoreset::SameStep { self.finals(py)? } else { None };
        Ok((
            self.observations(py)?,
            arrays::of_f64(py, &rewards)?,
            arrays::of_bool(py, &terminated)?,
            arrays::of_bool(py, &truncated)?,
            infos,
            finals,
        ))
    }

    /// Whether a step can be taken in every copy, so that none is stepped where one cannot be.
    fn check(&self, py: Python<'_>, actions: &Actions) -> PyResult<()> {
        let (id, width) = (&self.spec.id, self.spec.action_space.width());
        // Every copy in turn, with its number.
        let rows = || (0..).zip(self.blocks.iter().flat_map(|block| &block.rows));
        if let Some((copy, _)) = rows().find(|(_, row)| row.needs_reset && !row.is_over) {
            return Err(reset_needed(py, format!("copy {copy}: {id}: step without an episode; call reset first")));
        }
        for (copy, _) in rows().filter(|(_, row)| !row.needs_reset) {
            if let Err(EnvError::Action { env, found, expected, .. }) = self.spec.check_action(actions.row(copy, width), 0) {
                return Err(wrong_value(format!("copy {copy}: {env}: action {found}, expected {expected}")));
            }
        }
        Ok(())
    }

    /// `[copies, observation width]`
    fn observations<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        let all: Vec<f64> = self.blocks.iter().flat_map(|block| block.env.observations()).copied().collect();
        arrays::of_dtype(py, &all, self.dtype)
    }

    /// Diagnostics of the copies that `mask` marks.
    fn infos<'py>(&self, py: Python<'py>, mask: &[bool]) -> PyResult<Infos<'py>> {
        let mut columns = Columns::new(self.copies);
        for block in &self.blocks {
            for (row, state) in block.rows.iter().enumerate().filter(|(row, _)| mask[block.first + row]) {
                let copy = block.first + row;
                if state.diverged && self.mode != Autoreset::SameStep {
                    columns.push(copy, "diverged", 1.0);
                } else {
                    block.env.env(row).info(&mut |name, value| columns.push(copy, name, value));
                }
            }
        }
        columns.into_arrays(py)
    }

    /// Episodes that ended in the last step, in same-step mode.
    fn finals<'py>(&self, py: Python<'py>) -> PyResult<Option<Finals<'py>>> {
        let (mut ended, mut observations, mut columns) = (Vec::new(), Vec::new(), Columns::new(self.copies));
        for block in &self.blocks {
            for (row, state) in block.rows.iter().enumerate().filter(|(_, state)| state.end.is_end()) {
                let copy = block.first + row;
                ended.push(copy);
                if state.diverged {
                    observations.extend_from_slice(&state.final_observation);
                    columns.push(copy, "diverged", 1.0);
                    continue;
                }
                observations.extend_from_slice(block.env.final_observation(row).unwrap_or_default());
                let infos = block.env.final_info(row).unwrap_or_default();
                infos.iter().for_each(|&(name, value)| columns.push(copy, name, value));
            }
        }
        if ended.is_empty() {
            return Ok(None);
        }
        Ok(Some((ended, arrays::of_dtype(py, &observations, self.dtype)?, columns.into_arrays(py)?)))
    }
}

/// Diagnostics of many copies, by name.
struct Columns {
    copies: usize,
    columns: Vec<(String, Vec<f64>, Vec<bool>)>,
}

impl Columns {
    fn new(copies: usize) -> Self {
        Self { copies, columns: Vec::new() }
    }

    fn push(&mut self, copy: usize, name: &str, value: f64) {
        let place = self.columns.iter().position(|(known, ..)| known == name).unwrap_or_else(|| {
            self.columns.push((name.to_owned(), vec![0.0; self.copies], vec![false; self.copies]));
            self.columns.len() - 1
        });
        let (_, values, mask) = &mut self.columns[place];
        (values[copy], mask[copy]) = (value, true);
    }

    fn into_arrays(self, py: Python<'_>) -> PyResult<Infos<'_>> {
        let array = |(name, values, mask): (String, Vec<f64>, Vec<bool>)| {
            Ok((name, arrays::of_f64(py, &values)?, arrays::of_bool(py, &mask)?))
        };
        self.columns.into_iter().map(array).collect()
    }
}

impl Block {
    fn reset(&mut self, seeds: &[Option<u64>], mask: &[bool]) -> Result<(), EnvError> {
        let first = self.first;
        (0..self.rows.len()).filter(|row| mask[first + row]).try_for_each(|row| self.reset_row(row, seeds[first + row]))
    }

    fn reset_row(&mut self, row: usize, seed: Option<u64>) -> Result<(), EnvError> {
        self.env.reset_row(row, seed).map_err(|error| self.named(error))?;
        self.rows[row] = Row::default();
        Ok(())
    }

    /// An error with the number that the copy has among all.
    fn named(&self, error: EnvError) -> EnvError {
        match error {
            EnvError::Row { row, source } => EnvError::Row { row: self.first + row, source },
            other => other,
        }
    }

    fn step(&mut self, actions: &Actions, width: usize, mode: Autoreset) -> Result<(), EnvError> {
        for row in 0..self.rows.len() {
            if self.rows[row].is_over {
                // The same as the environment's own mode does, for an episode that diverged too.
                self.reset_row(row, None)?;
                continue;
            }
            match self.env.step_row(row, actions.row(self.first + row, width)) {
                Ok(()) => {
                    let (reward, end) = (self.env.rewards()[row], self.env.ends()[row]);
                    let needs_reset = end.is_end() && mode != Autoreset::SameStep;
                    let is_over = end.is_end() && mode == Autoreset::NextStep;
                    self.rows[row] = Row { reward, end, needs_reset, is_over, ..Row::default() };
                }
                Err(EnvError::Row { source, .. }) if source.is_divergence() => self.diverge(row, &source, mode)?,
                Err(error) => return Err(self.named(error)),
            }
        }
        Ok(())
    }

    /// The simulation of a copy diverged, which counts as truncated.
    fn diverge(&mut self, row: usize, error: &EnvError, mode: Autoreset) -> Result<(), EnvError> {
        warn_of_divergence(error);
        let final_observation = self.env.observation(row).to_vec();
        let is_same_step = mode == Autoreset::SameStep;
        if is_same_step {
            self.reset_row(row, None)?;
        }
        self.rows[row] = Row {
            reward: 0.0,
            end: StepEnd { terminated: false, truncated: true },
            needs_reset: !is_same_step,
            is_over: mode == Autoreset::NextStep,
            diverged: true,
            final_observation,
        };
        Ok(())
    }
}
